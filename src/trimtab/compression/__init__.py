"""Making a trained model smaller, and deciding whether the smaller one is delivered."""

from trimtab.compression.guard import Decision, Measured, accept
from trimtab.compression.int8_artifact import int8_artifact
from trimtab.compression.quantize import quantize_int8

__all__ = ["Decision", "Measured", "accept", "int8_artifact", "quantize_int8"]
