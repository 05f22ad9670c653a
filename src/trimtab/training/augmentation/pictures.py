"""Pictures of a batch, each changed at random as a policy says.

Shapes: N rows, B batch, M members, H W C height, width, channels, O operations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.training.augmentation.color import recolor
from trimtab.training.augmentation.cutout import cut_out, square_side
from trimtab.training.augmentation.geometry import crop, reach, rotation, shear, shift, warp
from trimtab.training.augmentation.policy import OPERATIONS, Policy

_MOVING = OPERATIONS.index("brightness")  # so many operations move pixels, the others change their colors
_COLORS = 3


def augment_pictures(
    inputs: NDArray[np.uint8],
    rows: NDArray[np.int64],
    members: NDArray[np.int64],
    *,
    policy: Policy,
    is_mirrored: NDArray[np.bool_],
    fill: NDArray[np.uint8],
    random: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return pictures of a batch, shifted, mirrored, changed and with a square cut out, each in its own way.

    Parameters
    ----------
    inputs
        uint8 [N, H, W, C].
    rows
        Of the whole batch, int64 [B].
    members
        Which of them are wanted: positions in ``rows``, int64 [M]. The others' pixels are not touched, but random
        numbers are drawn for all, so that a picture comes out the same whatever else is wanted.
    policy
        What is done, but for mirroring.
    is_mirrored
        Of the whole batch, [B].
    fill
        The color of squares that are cut out, uint8 [C].
    random
        Source of all randomness.

    Returns
    -------
    NDArray
        uint8 [M, H, W, C].
    """
    count, (height, width, channels) = len(rows), inputs.shape[1:]
    if policy.translation or is_mirrored.any():
        offsets = _draw_offsets(policy, count, height, width, random)
        pictures = shift(inputs, rows[members], offsets[members], is_mirrored[members])
    else:
        pictures = inputs[rows[members]]
    if policy.operations:
        amounts = draw_amounts(policy, count, channels, random)
        operate(pictures, amounts[members], random.uniform(-1, 1, (count, 2))[members])
    if policy.cutout:
        side = square_side(policy.cutout, height, width)
        corners = random.integers(0, [height - side + 1, width - side + 1], (count, 2))
        cut_out(pictures, corners[members], side, fill)
    return pictures


def _draw_offsets(
    policy: Policy, count: int, height: int, width: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return the pixels of each picture's shift, down and across: int64 [B, 2]."""
    reaches = (reach(side, policy.translation) for side in (height, width))
    return np.stack([random.integers(-most, most + 1, count) for most in reaches], axis=1)


def draw_amounts(policy: Policy, count: int, channels: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Choose operations for each picture, different ones, and draw their amounts.

    Returns
    -------
    NDArray
        float64 [B, O], in the order of `OPERATIONS` and the units of `Policy`; 0 where an operation is not chosen.
    """
    names = OPERATIONS if channels == _COLORS else OPERATIONS[:-1]
    ranks = random.random((count, len(names))).argsort(axis=1).argsort(axis=1)
    maxima = np.array([getattr(policy, name) for name in names])
    amounts = random.uniform(-maxima, maxima, ranks.shape) * (ranks < policy.operations)
    return np.pad(amounts, ((0, 0), (0, len(OPERATIONS) - len(names))))


def operate(pictures: NDArray[np.uint8], amounts: NDArray[np.float64], places: NDArray[np.float64]) -> None:
    """Do the chosen operations on pictures uint8 [M, H, W, C], in place.

    What moves pixels is one resampling, what changes colors is one matrix for each picture; one that needs only the
    one is spared the other.

    Parameters
    ----------
    pictures
        Changed.
    amounts
        As of `draw_amounts`, [M, O].
    places
        Of what crops keep, [M, 2], see `trimtab.training.augmentation.geometry.crop`.
    """
    height, width = pictures.shape[1:3]
    moved = np.flatnonzero(amounts[:, :_MOVING].any(axis=1))
    angles, slopes, cuts = amounts[moved, :_MOVING].T
    matrices = rotation(np.radians(angles)) @ shear(slopes)
    pictures[moved] = warp(pictures[moved], matrices @ crop(1 - np.abs(cuts), places[moved], height, width))
    recolored = np.flatnonzero(amounts[:, _MOVING:].any(axis=1))
    pictures[recolored] = recolor(pictures[recolored], *(1 + amounts[recolored, _MOVING:].T))
