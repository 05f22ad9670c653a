"""Training that follows the clock, by torch or by NumPy: the loop, schedules, augmentation, checkpoints.

The loop handles NumPy arrays and a `trimtab.training.stepper.Stepper`; importing this room needs no torch.
"""

from trimtab.training.recipe import AUGMENTATIONS, ENGINES, LOGICAL_SHARDS, OPTIMIZERS, PRECISIONS, SCHEDULES, Recipe
from trimtab.training.schedules import Correction, Timeline

__all__ = [
    "AUGMENTATIONS",
    "ENGINES",
    "LOGICAL_SHARDS",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "Correction",
    "Recipe",
    "Timeline",
]
