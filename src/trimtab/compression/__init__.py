"""Making a trained model smaller, and choosing among the smaller ones."""

from trimtab.compression.int8_artifact import int8_artifact
from trimtab.compression.quantize import quantize_int8

__all__ = ["int8_artifact", "quantize_int8"]
