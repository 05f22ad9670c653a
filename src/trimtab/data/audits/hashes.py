"""Hashes of rows: of their exact content, and of how a picture looks; and pairs of hashes that differ in few bits.

The hash of a look is 64 signs: of the 64 lowest frequencies of the grey picture (discrete cosine transform, without
its mean). Brightness, contrast, resizing and coding leave nearly all of them as they are. Hashes are compared each
with each, which is exact; of very many rows only those are compared that agree in all bits of one of a few random
samples of 16, which finds most of the pairs.

Legend: ``N`` rows, ``H W C`` height, width, channels, ``P`` pairs.

References
----------
Zauner (2010), "Implementation and Benchmarking of Perceptual Image Hash Functions", section 3.2. Gionis, Indyk,
Motwani (1999), "Similarity Search in High Dimensions via Hashing", section 3.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]

BITS = 64
_FREQUENCIES = 9  # along each side; the 64 lowest of their pairs are used
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_VALUES = 2_000_000  # of pictures in memory at once, as float32
_BLOCK, _STRIP = 128, 2_048  # hashes compared at once, a few megabytes that stay in the cache
_SAMPLES, _SAMPLE_BITS = 16, 16
_FEWEST_MANY = 150_000  # rows from which on not all are compared with all


def content_hashes(images: NDArray[np.uint8]) -> Hashes:
    """Return [N] 64 bits of a cryptographic hash of each picture; equal ones are equal for all practical purposes."""
    contents = (hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(contents), dtype=np.uint64)


def look_hashes(images: NDArray[np.uint8]) -> Hashes:
    """Return [N] the hash of how each picture, uint8 [N, H, W, C], looks in grey."""
    found = np.empty(len(images), dtype=np.uint64)
    down, across = _cosines(images.shape[1]), _cosines(images.shape[2])
    for block in blocks(len(images), images.shape[1:]):
        gray = to_gray(images[block])
        strengths = down @ gray @ across.T  # [N, frequencies, frequencies]
        found[block] = _packed(strengths.reshape(len(gray), -1)[:, _lowest()] > 0)
    return found


def blocks(count: int, shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of so many pictures of a shape (H, W, C), each few enough to be in memory as float32."""
    step = max(1, _VALUES // math.prod(shape))
    yield from (slice(start, start + step) for start in range(0, count, step))


def _packed(signs: NDArray[np.bool_]) -> Hashes:
    packed: Hashes = np.ascontiguousarray(np.packbits(signs, axis=1)).view(np.uint64)[:, 0]
    return packed


def to_gray(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the brightness of pictures [N, H, W, C] in 0..255, float32 [N, H, W]."""
    values = np.asarray(images, dtype=np.float32)
    gray: NDArray[np.float32] = values @ _LUMA if values.shape[-1] == 3 else values[..., 0]
    return gray


def close_pairs(hashes: Hashes, *, radius: int, seed: int = 0) -> Iterator[Pairs]:
    """Yield pairs of rows (the lower first), int64 [P, 2], whose hashes differ in at most ``radius`` bits.

    All such pairs below 150,000 rows, each once; above, most of them, some more than once.
    """
    if len(hashes) < _FEWEST_MANY:
        yield from (_pairs_from(hashes, start, radius) for start in range(0, len(hashes), _BLOCK))
        return
    rng = np.random.default_rng(seed)
    for _ in range(_SAMPLES):
        mask = sum(1 << int(bit) for bit in rng.permutation(BITS)[:_SAMPLE_BITS])
        yield from _pairs_alike(hashes, hashes & np.uint64(mask), radius)


def _pairs_from(hashes: Hashes, start: int, radius: int) -> Pairs:
    """Return the pairs of a block of rows with each other and with those after it."""
    block, found = hashes[start : start + _BLOCK, None], []
    for column in range(start, len(hashes), _STRIP):
        distance = np.bitwise_count(block ^ hashes[None, column : column + _STRIP])
        positions = np.flatnonzero(distance <= radius)
        first, second = np.divmod(positions, distance.shape[1])
        found.append(np.stack([first + start, second + column], axis=1))
    pairs = np.concatenate(found)
    return pairs[pairs[:, 0] < pairs[:, 1]]


def _pairs_alike(hashes: Hashes, samples: Hashes, radius: int) -> Iterator[Pairs]:
    """Yield the close pairs among rows with the same sample of bits: neighbors at every distance in sorted order."""
    order = np.argsort(samples, kind="stable")
    ordered, kept = samples[order], np.arange(len(order))
    step = 1
    while len(kept):
        kept = kept[kept + step < len(order)]
        kept = kept[ordered[kept] == ordered[kept + step]]
        first, second = order[kept], order[kept + step]
        is_close = np.bitwise_count(hashes[first] ^ hashes[second]) <= radius
        yield np.sort(np.stack([first[is_close], second[is_close]], axis=1), axis=1)
        step += 1


def _cosines(pixels: int) -> NDArray[np.float32]:
    """Return [frequencies, pixels]: the waves of the discrete cosine transform."""
    places = (np.arange(pixels) + 0.5) / pixels
    return np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * places).astype(np.float32)


def _lowest() -> NDArray[np.int64]:
    """Return the 64 lowest pairs of frequencies but the mean, as positions in the square of both."""
    down, across = np.divmod(np.arange(_FREQUENCIES**2), _FREQUENCIES)
    return np.argsort(down**2 + across**2, kind="stable")[1 : BITS + 1]
