"""Rows held in memory as they are stored (uint8 pictures, float32 tables), and batches made from them.

Every batch is a function of (seed, step): nothing has to be remembered to continue a run exactly.

Shapes: N rows, B batch, H W C height, width, channels, F features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trimtab.training.recipe import Recipe

_CHUNK = 512  # rows per forward pass outside training
_COUNTED = 256  # pictures whose pixels are counted at a time


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Examples of one part of the data.

    Attributes
    ----------
    inputs
        Pictures uint8 [N, H, W, C], or encoded table rows float32 [N, F].
    labels
        int64 [N].
    mean, std
        Per channel, float32 [C], for pictures: the network sees (uint8 / 255 - mean) / std. ``None`` for tables.
    """

    inputs: Tensor
    labels: Tensor
    mean: Tensor | None = None
    std: Tensor | None = None

    @classmethod
    def of(
        cls,
        inputs: NDArray[np.uint8] | NDArray[np.float32],
        labels: NDArray[np.int64],
        *,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ) -> Rows:
        """Return the rows as tensors; the arrays are shared, not copied, when they are writable."""
        return cls(
            inputs=torch.from_numpy(np.require(inputs, requirements=["C", "W"])),
            labels=torch.from_numpy(np.require(labels, requirements=["C", "W"])),
            mean=None if mean is None else torch.tensor(mean),
            std=None if std is None else torch.tensor(std),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Rows:
        """Return the first rows, at most ``count``, sharing their memory."""
        return replace(self, inputs=self.inputs[:count], labels=self.labels[:count])

    def normalize(self, batch: Tensor) -> Tensor:
        """Return what the network sees: float32 [B, C, H, W] (channels last in memory) or [B, F]."""
        if self.mean is None or self.std is None:
            return batch
        scaled = batch.to(torch.float32).sub_(self.mean * 255).div_(self.std * 255)
        return scaled.permute(0, 3, 1, 2)

    def chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (network input, labels) over all rows in order, a bounded number at a time."""
        for start in range(0, len(self), _CHUNK):
            stop = start + _CHUNK
            yield self.normalize(self.inputs[start:stop]), self.labels[start:stop]


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the number of batches in one pass; the rows of a short last batch wait for another pass."""
    return max(1, rows // batch_size)


class Order:
    """The shuffled order of rows: one permutation per pass, from (seed, pass)."""

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self._rows, self._batch_size, self._seed = rows, min(batch_size, rows), seed
        self._epoch = -1
        self._permutation: NDArray[np.int64] = np.empty(0, np.int64)

    def at(self, step: int) -> Tensor:
        """Return the row numbers of the batch of that step: int64 [B]."""
        epoch, position = divmod(step, steps_per_epoch(self._rows, self._batch_size))
        if epoch != self._epoch:
            self._permutation = np.random.default_rng((self._seed, epoch)).permutation(self._rows)
            self._epoch = epoch
        start = position * self._batch_size
        return torch.from_numpy(self._permutation[start : start + self._batch_size])


def augmented(inputs: Tensor, rows: Tensor, augment: str, random: torch.Generator) -> Tensor:
    """Return the rows of a batch, pictures shifted and mirrored at random, each on its own.

    One gather does the selection, the shift by up to an eighth of the side (at most 4 pixels, at least 1; pixels
    beyond the border are reflected) and, for ``"flip+shift"``, the left-right mirror image of every other row.
    Tables pass unchanged.

    Parameters
    ----------
    inputs
        uint8 [N, H, W, C] or float32 [N, F].
    rows
        int64 [B].
    augment
        One of `trimtab.training.AUGMENTATIONS`.
    random
        Source of all randomness.

    Returns
    -------
    Tensor
        uint8 [B, H, W, C] or float32 [B, F].
    """
    if augment == "none" or inputs.ndim != 4:
        return inputs[rows]
    count, height, width = len(rows), inputs.shape[1], inputs.shape[2]
    down = _shifted(height, count, random)
    across = _shifted(width, count, random)
    if augment == "flip+shift":
        mirror = torch.rand(count, generator=random) < 0.5
        across = torch.where(mirror[:, None], across.flip(1), across)
    return inputs[rows[:, None, None], down[:, :, None], across[:, None, :]]


def _shifted(side: int, count: int, random: torch.Generator) -> Tensor:
    """Return positions [count, side], shifted per row and reflected at the border."""
    reach = min(4, math.ceil(side / 8), side - 1)
    offset = torch.randint(-reach, reach + 1, (count, 1), generator=random)
    position = (torch.arange(side) + offset).abs()
    return torch.where(position >= side, 2 * (side - 1) - position, position)


def first_batch(rows: Rows, recipe: Recipe) -> NDArray[np.uint8]:
    """Return the pictures of step 0 as the network sees them before normalization: uint8 [B, H, W, C]."""
    random = torch.Generator().manual_seed(step_seed(recipe.seed, 0))
    order = Order(len(rows), recipe.batch_size, recipe.seed).at(0)
    batch: NDArray[np.uint8] = augmented(rows.inputs, order, recipe.augment, random).numpy()
    return batch


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
