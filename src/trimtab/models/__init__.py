"""Builders of networks, each written once over an ``nn`` namespace; imports no framework."""

from trimtab.models.builders import MODELS, build, cnn, mlp, separable_cnn
from trimtab.models.costs import Size, measure_size

__all__ = ["MODELS", "Size", "build", "cnn", "measure_size", "mlp", "separable_cnn"]
