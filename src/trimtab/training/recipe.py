"""How to train: every setting of the loop, resolved; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

AUGMENTATIONS = ("none", "shift", "flip+shift")
ENGINES = ("torch", "numpy")
OPTIMIZERS = ("adamw", "sgd")
PRECISIONS = ("float32", "bfloat16")
SCHEDULES = ("one-cycle", "linear", "cosine", "constant")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one training run; with the data, the model and the corrections they fix the weights bit for bit.

    Attributes
    ----------
    steps
        Number of optimizer steps; ``None`` lets a probe fill the seconds that are left.
    epochs_at_most
        Passes over the training rows that a timed run will not exceed.
    batch_size
        Rows per step.
    engine, optimizer, schedule, augment, precision
        One of `ENGINES`, `OPTIMIZERS`, `SCHEDULES`, `AUGMENTATIONS`, `PRECISIONS`; NumPy computes in float32.
    learning_rate
        The peak of the schedule.
    weight_decay
        Decoupled L2 for `adamw`, coupled for `sgd`; spares biases and normalization.
    label_smoothing
        Share of the target probability that is spread over all classes, in [0, 1).
    patience
        Validations without a better loss after which the learning rate is brought down to zero early; 0 never.
    threads
        Processor threads; part of the recipe because sums depend on it in the last bit.
    seed
        Of the weights, the order, the augmentation and dropout.
    """

    engine: str
    steps: int | None
    epochs_at_most: int
    batch_size: int
    optimizer: str
    learning_rate: float
    weight_decay: float
    schedule: str
    label_smoothing: float
    augment: str
    precision: str
    patience: int
    threads: int
    seed: int
