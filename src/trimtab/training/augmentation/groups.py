"""A batch in groups of a few pictures: what is needed for each stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

_PIXELS = 16_384  # in a group, about; found by trying, on pictures of 32 x 32


def groups(count: int, pixels: int) -> Iterator[slice]:
    """Yield slices over ``count`` pictures of so many pixels each."""
    size = max(1, _PIXELS // pixels)
    for start in range(0, count, size):
        yield slice(start, start + size)
