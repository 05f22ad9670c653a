"""Two rows made into one, labels included: mixup and CutMix.

Each row of a batch is mixed with the one after it, the last with the first: which that is, is chance, as the rows
are shuffled, and a part of a batch needs but one row more. Shares are rounded to what the rows really are
made of, so that labels say exactly that.

Shapes: B batch, H W C height, width, channels, F features, K classes.

References
----------
Zhang et al., mixup: Beyond empirical risk minimization, ICLR 2018. Yun et al., CutMix: Regularization strategy to
train strong classifiers with localizable features, ICCV 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PARTS = 256  # of a row: how finely shares are told


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """How much of each row of a batch is its own.

    Attributes
    ----------
    shares
        Of the row itself, in its mixture with another: float32 [B].
    boxes
        For CutMix, what is pasted into each picture: int64 [B, 4], see `draw_boxes`. ``None`` for mixup.
    """

    shares: NDArray[np.float32]
    boxes: NDArray[np.int64] | None

    def take(self, members: NDArray[np.int64]) -> Mixture:
        """Return that of some rows."""
        return Mixture(shares=self.shares[members], boxes=None if self.boxes is None else self.boxes[members])

    def mix(self, own: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        """Return the rows mixed with the other ones."""
        return mixup(own, other, self.shares) if self.boxes is None else cutmix(own, other, self.boxes)

    def mix_labels(self, own: NDArray[Any], other: NDArray[Any], num_classes: int) -> NDArray[np.float32]:
        """Return the labels of both, int64 [B] or float32 [B, K], each at its share: float32 [B, K], rows sum to 1."""
        if own.ndim == 2:
            return mixup(own, other, self.shares)
        labels = np.zeros((len(own), num_classes), np.float32)
        every = np.arange(len(own))
        labels[every, own] = self.shares
        labels[every, other] += 1 - self.shares
        return labels


def draw_mixture(
    mixup_alpha: float, cutmix_alpha: float, count: int, shape: tuple[int, ...], random: np.random.Generator
) -> Mixture:
    """Return how a batch of ``count`` rows is mixed: by mixup, by CutMix, or where both are asked for by either.

    Parameters
    ----------
    mixup_alpha, cutmix_alpha
        Of Beta(alpha, alpha), which shares are drawn from, for each row anew; 0 is off. One of them is not.
    count
        B.
    shape
        Of the rows: (N, H, W, C) where there is CutMix.
    random
        Source of all randomness.
    """
    is_mixup = mixup_alpha > 0 and not (cutmix_alpha > 0 and random.random() < 0.5)
    if is_mixup:
        return Mixture(shares=draw_shares(mixup_alpha, count, random), boxes=None)
    boxes = draw_boxes(cutmix_alpha, count, shape[1], shape[2], random)
    return Mixture(shares=shares_outside(boxes, shape[1], shape[2]), boxes=boxes)


def draw_shares(alpha: float, count: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return shares from Beta(alpha, alpha), in whole 256ths: float32 [B]."""
    return (np.rint(_PARTS * random.beta(alpha, alpha, count)) / _PARTS).astype(np.float32)


def mixup(own: NDArray[Any], other: NDArray[Any], shares: NDArray[np.float32]) -> NDArray[Any]:
    """Return own * share + other * (1 - share).

    Parameters
    ----------
    own, other
        uint8 [B, H, W, C] or float32 [B, F].
    shares
        Whole 256ths, [B].

    Returns
    -------
    NDArray
        Of the type of ``own``; whole numbers are rounded.
    """
    if own.dtype != np.uint8:
        weights = shares.reshape(-1, *[1] * (own.ndim - 1))
        return own * weights + other * (1 - weights)
    parts = (shares * _PARTS).astype(np.uint16)[:, None]
    mixed = own.reshape(len(own), -1) * parts  # up to 255 * 256, which 16 bits hold with the half
    mixed += other.reshape(len(own), -1) * (_PARTS - parts)
    mixed += _PARTS // 2
    return (mixed // _PARTS).astype(np.uint8).reshape(own.shape)


def draw_boxes(alpha: float, count: int, height: int, width: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return the box of each picture that the other one is pasted into: int64 [B, 4], top, bottom, left, right.

    Its share of the area is from Beta(alpha, alpha), its shape the picture's, its middle anywhere; what reaches beyond
    the border is cut off. Bottom and right are the first line and column outside.
    """
    sides = np.sqrt(random.beta(alpha, alpha, count))
    edges = []
    for length in (height, width):
        middle, reach = random.integers(0, length, count), sides * length / 2
        edges += [np.rint(middle - reach), np.rint(middle + reach)]
    return np.stack(edges, axis=1).clip(0, [height, height, width, width]).astype(np.int64)


def cutmix(own: NDArray[np.uint8], other: NDArray[np.uint8], boxes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return own pictures uint8 [B, H, W, C] with boxes [B, 4], as `draw_boxes` gives them, from the other ones."""
    mixed = own.copy()
    for picture, pasted, (top, bottom, left, right) in zip(mixed, other, boxes.tolist(), strict=True):
        picture[top:bottom, left:right] = pasted[top:bottom, left:right]
    return mixed


def shares_outside(boxes: NDArray[np.int64], height: int, width: int) -> NDArray[np.float32]:
    """Return the share of each picture's area that lies outside its box: float32 [B]."""
    areas = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    return (1 - areas / (height * width)).astype(np.float32)
