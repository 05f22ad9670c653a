"""Rows as they are stored: uint8 pictures, float32 tables, in memory or in a file that is mapped into it.

A part of the data is the numbers of its rows in the array of all: nothing is copied, and of pictures on disk only
those that are looked at are read. Making batches of them is the business of `trimtab.training.batches`.

Shapes: N rows, A rows of the whole array, B batch, H W C height, width, channels, F features, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Inputs = NDArray[Any]  # uint8 [N, H, W, C] pictures, or float32 [N, F] encoded table rows

_ROWS_AT_ONCE = 512  # per forward pass outside training
_VALUES_AT_ONCE = 64 * 128 * 128 * 3  # fewer rows where each is larger: memory is bounded whatever the pictures' size
_COUNTED = 256  # pictures whose pixels are counted at a time
_SAMPLED, _SAMPLED_VALUES = 1024, 2**22  # at least so many rows are in a sample, unless each holds many values


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Examples of one part of the data.

    Attributes
    ----------
    inputs
        Pictures uint8 [A, H, W, C], or encoded table rows float32 [A, F]: these rows and maybe others.
    numbers
        Which of them these are, int64 [N].
    labels
        int64 [N].
    num_classes
        K: how many classes there are, whether or not each has a row here.
    mean, std
        Per channel, float32 [C], for pictures: the network sees (uint8 / 255 - mean) / std. ``None`` for tables.
    targets
        What a teacher says of these rows: probabilities, float32 [N, K]. ``None`` without one. Training mixes them
        with the labels, see `trimtab.training.soft_targets`; validation goes by the labels alone.
    """

    inputs: Inputs
    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    num_classes: int
    mean: NDArray[np.float32] | None = None
    std: NDArray[np.float32] | None = None
    targets: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        inputs: Inputs,
        labels: NDArray[np.int64],
        *,
        numbers: NDArray[np.int64] | None = None,
        num_classes: int | None = None,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ) -> Rows:
        """Return the rows; an array that is contiguous is shared, not copied.

        Without ``numbers`` these are all rows, without ``num_classes`` the labels tell how many there are.
        """
        return cls(
            inputs=np.ascontiguousarray(inputs),
            numbers=np.arange(len(labels)) if numbers is None else np.ascontiguousarray(numbers),
            labels=np.ascontiguousarray(labels),
            num_classes=int(labels.max(initial=-1)) + 1 if num_classes is None else num_classes,
            mean=None if mean is None else np.array(mean, np.float32),
            std=None if std is None else np.array(std, np.float32),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def are_pictures(self) -> bool:
        """Whether the inputs are uint8 [A, H, W, C]."""
        return self.inputs.ndim == 4 and self.inputs.dtype == np.uint8

    @property
    def mean_color(self) -> NDArray[np.uint8]:
        """What the network sees as zero, to a whole number: uint8 [C]."""
        if self.mean is None:
            return np.zeros(self.inputs.shape[3], np.uint8)
        return np.rint(255 * self.mean).astype(np.uint8)

    @property
    def rows_at_once(self) -> int:
        """How many rows go through the network in one pass outside training."""
        return max(1, min(_ROWS_AT_ONCE, _VALUES_AT_ONCE // math.prod(self.inputs.shape[1:])))

    def first(self, count: int) -> Rows:
        """Return the first rows, at most ``count``, sharing their memory."""
        targets = None if self.targets is None else self.targets[:count]
        return replace(self, numbers=self.numbers[:count], labels=self.labels[:count], targets=targets)

    def sample(self) -> NDArray[np.float32]:
        """Return some thousand rows, or fewer large ones, spread over all of them, as the network sees them."""
        count = max(1, min(_SAMPLED, _SAMPLED_VALUES // math.prod(self.inputs.shape[1:])))
        return self.normalize(self.inputs[self.numbers[:: max(1, len(self) // count)]])

    def mirrored(self) -> Rows:
        """Return the pictures' left-right mirror images, sharing their memory.

        Raises
        ------
        ValueError
            If the rows are no pictures.
        """
        if not self.are_pictures:
            raise ValueError(
                f"inputs are {self.inputs.dtype} {list(self.inputs.shape)}; expected pictures, uint8 [N, H, W, C]; "
                "a table has no mirror image."
            )
        return replace(self, inputs=self.inputs[:, :, ::-1])

    def normalize(self, batch: Inputs) -> NDArray[np.float32]:
        """Return what the network sees: float32 [B, C, H, W] (channels last in memory) or [B, F]."""
        if self.mean is None or self.std is None:
            return batch.astype(np.float32, copy=False)
        count, height, width, _ = batch.shape
        scaled = batch.reshape(count, -1).astype(np.float32)  # [B, H * W * C]: long rows, which NumPy is fast on
        scaled -= np.tile(self.mean * 255, height * width)
        scaled /= np.tile(self.std * 255, height * width)
        return scaled.reshape(batch.shape).transpose(0, 3, 1, 2)

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """Yield the network's input over all rows in order, a bounded number at a time."""
        for start in range(0, len(self), self.rows_at_once):
            yield self.normalize(self.inputs[self.numbers[start : start + self.rows_at_once]])


def channel_statistics(
    images: NDArray[np.uint8], numbers: NDArray[np.int64] | None = None
) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel of uint8 [A, H, W, C], as fractions of 255.

    Counted exactly, from how often each of the 256 values occurs. A channel without any variation gets 1.
    ``numbers``, int64 [N], picks the rows that count.
    """
    levels = np.arange(256) / 255
    means, deviations = [], []
    for counts in _count_values(images, np.arange(len(images)) if numbers is None else numbers):
        mean = float(counts @ levels / counts.sum())
        deviation = math.sqrt(max(0.0, float(counts @ (levels - mean) ** 2 / counts.sum())))
        means.append(mean)
        deviations.append(deviation if deviation > 1e-6 else 1.0)
    return means, deviations


def _count_values(images: NDArray[np.uint8], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often each value occurs in each channel of these rows: int64 [C, 256]."""
    counts = np.zeros((images.shape[3], 256), np.int64)
    for start in range(0, len(numbers), _COUNTED):
        part = images[numbers[start : start + _COUNTED]]
        for channel, count in enumerate(counts):
            count += np.bincount(part[..., channel].ravel(), minlength=256)
    return counts
