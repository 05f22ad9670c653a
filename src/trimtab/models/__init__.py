"""Builders of networks, each written once over an ``nn`` namespace; imports no framework."""

from trimtab.models.builders import MODELS, accepts, build, cnn, mlp, separable_cnn
from trimtab.models.costs import Size, measure_size
from trimtab.models.initialization import dirac, initial_arrays, whitening
from trimtab.models.resnet import resnet
from trimtab.models.vit import vit

__all__ = [
    "MODELS",
    "Size",
    "accepts",
    "build",
    "cnn",
    "dirac",
    "initial_arrays",
    "measure_size",
    "mlp",
    "resnet",
    "separable_cnn",
    "vit",
    "whitening",
]
