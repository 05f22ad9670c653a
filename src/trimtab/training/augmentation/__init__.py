"""Augmentation: rows of a batch changed at random, in NumPy, before a network sees them.

Pictures are changed as they are stored, uint8. What is random about each row is drawn for the whole batch, so that a
part of it comes out the same whatever else is made, and costs only its own work. Which rows make a batch, and when,
is not decided here.
"""

from trimtab.training.augmentation.policy import LEVELS, OPERATIONS, Policy, policy_of

__all__ = ["LEVELS", "OPERATIONS", "Policy", "policy_of"]
