"""What this process may use of the machine: processor threads, instructions, memory, and how to name it."""

from __future__ import annotations

import math
import os
import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = ("numpy", "torch", "onnx", "onnxruntime", "pillow", "pyarrow", "scikit-learn", "safetensors")


def available_threads() -> int:
    """Return the processor threads this process may use: its affinity, cut by a container's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, math.ceil(_quota())))


def has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 in hardware."""
    return any(flag in _cpuinfo("flags").split() for flag in ("avx512_bf16", "amx_bf16"))


def describe_machine() -> dict[str, str | int]:
    """Return processor, threads, system and Python version, for reports."""
    return {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "threads": available_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def package_versions() -> dict[str, str]:
    """Return the versions of trimtab and of the packages that can change a result, those that are installed."""
    versions = {}
    for package in ("trimtab", *_PACKAGES):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _quota() -> float:
    """Return the processors that the control group grants (version 2, then 1), or infinity."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text()
        period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError):
        return math.inf


def _cpuinfo(key: str) -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return ""
