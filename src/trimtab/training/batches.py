"""Rows held in memory as they are stored (uint8 pictures, float32 tables), and batches made from them.

Every batch is a function of (seed, step), the same for both engines: nothing has to be remembered to continue a run
exactly.

Shapes: N rows, B batch, H W C height, width, channels, F features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.training.recipe import Recipe

Inputs = NDArray[Any]  # uint8 [N, H, W, C] pictures, or float32 [N, F] encoded table rows

_CHUNK = 512  # rows per forward pass outside training
_GATHERED = 16  # pictures gathered at a time, so that the indices of their pixels take little memory
_COUNTED = 256  # pictures whose pixels are counted at a time


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Examples of one part of the data.

    Attributes
    ----------
    inputs
        Pictures uint8 [N, H, W, C], or encoded table rows float32 [N, F]; contiguous in memory.
    labels
        int64 [N].
    mean, std
        Per channel, float32 [C], for pictures: the network sees (uint8 / 255 - mean) / std. ``None`` for tables.
    """

    inputs: Inputs
    labels: NDArray[np.int64]
    mean: NDArray[np.float32] | None = None
    std: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        inputs: Inputs,
        labels: NDArray[np.int64],
        *,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ) -> Rows:
        """Return the rows; the arrays are shared, not copied, when they are contiguous."""
        return cls(
            inputs=np.ascontiguousarray(inputs),
            labels=np.ascontiguousarray(labels),
            mean=None if mean is None else np.array(mean, np.float32),
            std=None if std is None else np.array(std, np.float32),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Rows:
        """Return the first rows, at most ``count``, sharing their memory."""
        return replace(self, inputs=self.inputs[:count], labels=self.labels[:count])

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
        for start in range(0, len(self), _CHUNK):
            yield self.normalize(self.inputs[start : start + _CHUNK])


class Batches:
    """The batch of each step of a run: shuffled, augmented, normalized."""

    def __init__(self, rows: Rows, recipe: Recipe) -> None:
        self._rows, self._recipe = rows, recipe
        self._order = Order(len(rows), recipe.batch_size, recipe.seed)

    def at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return what the network sees in that step, as of `Rows.normalize`, and the labels int64 [B]."""
        inputs, labels = self.stored(step)
        return self._rows.normalize(inputs), labels

    def stored(self, step: int) -> tuple[Inputs, NDArray[np.int64]]:
        """Return the same before normalization: uint8 [B, H, W, C] or float32 [B, F], and the labels int64 [B]."""
        # The 1 sets these random numbers apart from the dropout of the step, which has its seed alone.
        random = np.random.default_rng((step_seed(self._recipe.seed, step), 1))
        numbers = self._order.at(step)
        return augmented(self._rows.inputs, numbers, self._recipe.augment, random), self._rows.labels[numbers]


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the number of batches in one pass; the rows of a short last batch wait for another pass."""
    return max(1, rows // batch_size)


class Order:
    """The shuffled order of rows: one permutation per pass, from (seed, pass)."""

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self._rows, self._batch_size, self._seed = rows, min(batch_size, rows), seed
        self._epoch = -1
        self._permutation: NDArray[np.int64] = np.empty(0, np.int64)

    def at(self, step: int) -> NDArray[np.int64]:
        """Return the row numbers of the batch of that step: int64 [B]."""
        epoch, position = divmod(step, steps_per_epoch(self._rows, self._batch_size))
        if epoch != self._epoch:
            self._permutation = np.random.default_rng((self._seed, epoch)).permutation(self._rows)
            self._epoch = epoch
        start = position * self._batch_size
        return self._permutation[start : start + self._batch_size]


def augmented(inputs: Inputs, rows: NDArray[np.int64], augment: str, random: np.random.Generator) -> Inputs:
    """Return the rows of a batch, pictures shifted and mirrored at random, each on its own.

    One gather of pixels does the selection, the shift by up to an eighth of the side (at most 4 pixels, at least 1;
    pixels beyond the border are reflected) and, for ``"flip+shift"``, the left-right mirror image of every other row.
    Tables pass unchanged.

    Parameters
    ----------
    inputs
        uint8 [N, H, W, C], contiguous, or float32 [N, F].
    rows
        int64 [B].
    augment
        One of `trimtab.training.AUGMENTATIONS`.
    random
        Source of all randomness.

    Returns
    -------
    NDArray
        uint8 [B, H, W, C] or float32 [B, F].
    """
    if augment == "none" or inputs.ndim != 4:
        return inputs[rows]
    _, height, width, channels = inputs.shape
    down = _shifted(height, len(rows), random)
    across = _shifted(width, len(rows), random)
    if augment == "flip+shift":
        is_mirrored = random.random(len(rows)) < 0.5
        across = np.where(is_mirrored[:, None], across[:, ::-1], across)
    lines = (rows[:, None] * height + down) * width  # [B, H]: where each line starts in the flat array of pixels
    flat = inputs.reshape(-1, channels)
    batch = np.empty((len(rows), height, width, channels), inputs.dtype)
    for start in range(0, len(rows), _GATHERED):
        part = slice(start, start + _GATHERED)
        pixels = lines[part, :, None] + across[part, None, :]  # [_GATHERED, H, W]
        flat.take(pixels, axis=0, out=batch[part], mode="clip")  # none is outside; "raise" would copy
    return batch


def _shifted(side: int, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return positions [count, side], shifted per row and reflected at the border."""
    reach = min(4, math.ceil(side / 8), side - 1)
    position = np.abs(np.arange(side) + random.integers(-reach, reach + 1, (count, 1)))
    reflected: NDArray[np.int64] = np.minimum(position, 2 * (side - 1) - position)
    return reflected


def first_batch(rows: Rows, recipe: Recipe) -> NDArray[np.uint8]:
    """Return the pictures of step 0 as the network sees them before normalization: uint8 [B, H, W, C]."""
    return Batches(rows, recipe).stored(0)[0]


def step_seed(seed: int, step: int) -> int:
    """Return the seed of everything random in one step; -1 is the step before the first, that makes the weights."""
    return int(np.random.SeedSequence((seed, step + 1)).generate_state(1, np.uint64)[0] >> 1)


def channel_statistics(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel of uint8 [N, H, W, C], as fractions of 255.

    Counted exactly, from how often each of the 256 values occurs. A channel without any variation gets 1.
    """
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[3]):
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(images), _COUNTED):
            counts += np.bincount(images[start : start + _COUNTED, ..., channel].ravel(), minlength=256)
        mean = float(counts @ levels / counts.sum())
        deviation = math.sqrt(max(0.0, float(counts @ (levels - mean) ** 2 / counts.sum())))
        means.append(mean)
        deviations.append(deviation if deviation > 1e-6 else 1.0)
    return means, deviations
