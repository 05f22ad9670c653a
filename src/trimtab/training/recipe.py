"""How to train: every setting of the loop, resolved; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

AUGMENTATIONS = ("none", "light", "strong")
LOGICAL_SHARDS = 4  # of a deterministic batch
ENGINES = ("torch", "numpy")
OPTIMIZERS = ("adamw", "muon", "sgd")
PRECISIONS = ("float32", "bfloat16")
SCHEDULES = ("one-cycle", "linear", "cosine", "warm-up-stable-decay", "constant")


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
        Decoupled L2, whatever the optimizer: each step first takes this share of the weights, times the learning
        rate, away from them. Biases and normalization are spared.
    l1, l2
        Coupled penalties: l1 * sum |w|, whose steps set small weights to exactly zero, and l2 / 2 * sum w^2, which
        is part of the gradient that the optimizer sees. Like weight decay they spare biases and normalization.
        A step of L1 is the learning rate times l1 long, whatever the optimizer: AdamW and Muon, whose own steps are
        about as long as the learning rate, need a larger l1 than SGD to come to zeros.
    ema
        Decay of the exponential moving average of the weights, which then is what validates and is delivered; 0 off.
    label_smoothing
        Share of the target probability that is spread over all classes, in [0, 1).
    flip
        Whether augmentation may mirror pictures left and right.
    mixup, cutmix
        Parameter alpha of the Beta distribution that mixing two rows (or pasting a part of one) draws from; 0 off.
    patience
        Validations without a better loss after which the learning rate is brought down to zero early; 0 never.
    threads
        Processor threads; part of the recipe because sums depend on it in the last bit.
    seed
        Of the weights, the order, the augmentation and dropout.
    accumulate
        Parts that a batch is computed in, one after the other, to save memory. Batch normalization then takes its
        statistics from each part.
    shards
        Parts that a batch is computed in, each apart from the others (also for batch normalization), whose gradients
        are summed in a fixed order: the weights do not depend on how many workers share them. 0 off.
    distill_weight, distill_temperature
        Share of the target that is the teacher's, for rows that have one, and the temperature of its probabilities;
        see `trimtab.training.soft_targets`. Without a teacher they mean nothing.
    rounding
        Whether the network computes with numbers rounded as in int8, in training and validation; torch only.
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
    l1: float = 0.0
    l2: float = 0.0
    ema: float = 0.0
    flip: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    accumulate: int = 1
    shards: int = 0
    distill_weight: float = 0.0
    distill_temperature: float = 1.0
    rounding: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"there is no optimizer '{self.optimizer}'; expected one of {', '.join(OPTIMIZERS)}; pick one."
            )
