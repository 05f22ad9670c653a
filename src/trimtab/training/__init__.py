"""Training that follows the clock: the loop, schedules, augmentation, checkpoints. The one room that needs torch."""

from trimtab.training.recipe import AUGMENTATIONS, OPTIMIZERS, PRECISIONS, SCHEDULES, Recipe
from trimtab.training.schedules import Correction, Timeline

__all__ = [
    "AUGMENTATIONS",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "Correction",
    "Recipe",
    "Timeline",
]
