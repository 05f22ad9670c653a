"""Near copies among pictures: the same picture coded again, resized, or made a little lighter or darker.

Pictures whose hashes (`hashes.look_hashes`) differ in few bits are compared as thumbnails. They are copies when one is
the other in another brightness (a factor near one) and what then differs is small, both against the picture's
contrast (correlation) and in levels of grey. Mirrored, turned or cropped copies are not found, and of pictures with
hardly any contrast only exact copies are.

Legend: ``N`` pictures, ``H W C`` height, width, channels, ``P`` pairs, ``T`` sides of a thumbnail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.data.audits.hashes import Hashes, Pairs, blocks, close_pairs

RADIUS = 12  # bits
_SIDE = 8
_CORRELATION = 0.97
_LEVELS = 10.0  # root mean square of what differs
_GAINS = (0.8, 1.25)
_FLATTEST = 4.0  # standard deviation in levels, below which a look says nothing
_MOST_PAIRS = 3_000_000  # compared at most, so that thousands of pictures of one scene do not take an hour
_AT_ONCE = 2_048  # pairs


def near_pairs(images: NDArray[np.uint8], hashes: Hashes, rows: NDArray[np.int64]) -> tuple[Pairs, bool]:
    """Return pairs of near copies among some rows, int64 [P, 2], and whether all candidates were compared.

    Parameters
    ----------
    images
        uint8 [N, H, W, C].
    hashes
        [N] their `look_hashes`.
    rows
        Which rows to compare with each other.
    """
    found, compared = [np.empty((0, 2), dtype=np.int64)], 0
    for candidates in close_pairs(hashes[rows], radius=RADIUS):
        for start in range(0, len(candidates), _AT_ONCE):
            pairs = rows[candidates[start : start + _AT_ONCE]]
            found.append(pairs[are_copies(images, pairs)])
        compared += len(candidates)
        if compared > _MOST_PAIRS:
            return np.unique(np.concatenate(found), axis=0), False
    return np.unique(np.concatenate(found), axis=0), True


def are_copies(images: NDArray[np.uint8], pairs: Pairs) -> NDArray[np.bool_]:
    """Return [P] whether two pictures show the same thing pixel by pixel, in nearly the same brightness."""
    if not len(pairs):
        return np.zeros(0, dtype=bool)
    rows, places = np.unique(pairs, return_inverse=True)
    parts = (rows[block] for block in blocks(len(rows), images.shape[1:]))
    shown = np.concatenate([thumbnails(images[part]) for part in parts])
    shown -= shown.mean(axis=1, keepdims=True)
    first, second = shown[places.reshape(-1, 2).T]
    with np.errstate(divide="ignore", invalid="ignore"):
        own, other = (np.einsum("pt,pt->p", part, part) for part in (first, second))
        both = np.einsum("pt,pt->p", first, second)
        correlation, gain = both / np.sqrt(own * other), np.sqrt(other / own)
        unlike = np.sqrt(np.maximum(np.minimum(own, other) * (1 - correlation**2), 0) / shown.shape[1])
    has_contrast = np.minimum(own, other) > shown.shape[1] * _FLATTEST**2
    is_alike = (correlation >= _CORRELATION) & (unlike <= _LEVELS) & (gain >= _GAINS[0]) & (gain <= _GAINS[1])
    copies: NDArray[np.bool_] = has_contrast & is_alike
    return copies


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pictures [N, H, W, C] averaged over areas to at most 8 x 8, float32 [N, T * T * C] in 0..255."""
    height, width = images.shape[1:3]
    down, across = averages(height, min(_SIDE, height)), averages(width, min(_SIDE, width))
    rows = np.tensordot(np.asarray(images, dtype=np.float32), down, axes=(1, 1))  # [N, W, C, T]
    small: NDArray[np.float32] = np.tensordot(rows, across, axes=(1, 1)).reshape(len(images), -1)
    return small


def averages(pixels: int, out: int) -> NDArray[np.float32]:
    """Return [out, pixels]: the share of each pixel in the average that becomes a new one."""
    edges = np.arange(out + 1) * (pixels / out)
    low = np.maximum(edges[:-1, None], np.arange(pixels))
    high = np.minimum(edges[1:, None], np.arange(1, pixels + 1))
    shares: NDArray[np.float32] = (np.maximum(high - low, 0) * (out / pixels)).astype(np.float32)
    return shares
