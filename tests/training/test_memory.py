"""Memory kept between steps: what is allocated again is not asked of the system again."""

import platform
import resource

import numpy as np
import pytest

from trimtab.training.memory import keeping_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's C library can be told")

_ROUNDS, _MEGABYTES = 20, 8


def _page_faults() -> int:
    """Return the page faults of taking and leaving the same memory some times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(_ROUNDS):
        np.empty(_MEGABYTES * 2**20, np.uint8)[::4096] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_within_the_context_freed_memory_is_used_again():
    with keeping_memory():
        _page_faults()
        kept = _page_faults()
    assert kept < _ROUNDS


def test_after_the_context_freed_memory_goes_back_to_the_system():
    with keeping_memory():
        _page_faults()
    before = _resident()
    with keeping_memory():
        array = np.ones(64 * 2**20, np.uint8)
        assert _resident() > before + 32 * 2**20
        del array
        kept = _resident()
    assert kept > before + 32 * 2**20
    assert _resident() < before + 32 * 2**20


def _resident() -> int:
    """Return the bytes of memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
