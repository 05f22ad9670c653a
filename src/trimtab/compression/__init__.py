"""Making a trained model smaller, and deciding whether the smaller one is delivered."""

from trimtab.compression.guard import Decision, Measured, accept
from trimtab.compression.quantize import quantize_int8

__all__ = ["Decision", "Measured", "accept", "quantize_int8"]
