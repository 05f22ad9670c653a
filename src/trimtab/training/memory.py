"""Memory that one step frees is the next step's, instead of going back to the system and being asked for again.

Activations of a batch are tens of megabytes each. The C library maps and unmaps each of them anew, and the system
clears every page on the way: about a tenth of the processor time of a training step (`benchmarks/resnet_step.py`).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Parameters of mallopt, from <malloc.h> of the GNU C library, and the values that they have there by default.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER_TRIM = -1
_USUAL_TRIM_BYTES, _USUAL_MAPPINGS = 128 * 1024, 65_536


@contextmanager
def keeping_memory() -> Iterator[None]:
    """Within this context large arrays come from memory that this process keeps; afterwards it is given back.

    Does nothing where the C library is not GNU's.
    """
    library = _gnu_library()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _USUAL_MAPPINGS)
        library.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM_BYTES)
        library.malloc_trim(0)


@functools.cache
def _gnu_library() -> Any:
    """Return the C library of this process, or ``None`` where it is another than GNU's."""
    try:
        library = ctypes.CDLL(None)
        return library if all(hasattr(library, name) for name in ("gnu_get_libc_version", "mallopt")) else None
    except (OSError, TypeError):  # TypeError: Windows, where a library needs a name
        return None
