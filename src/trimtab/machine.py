"""What this process may use of the machine: processor threads, instructions, memory, and how to name it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from trimtab import __version__

_PACKAGES = ("numpy", "torch", "onnx", "onnxruntime", "pillow", "pyarrow", "scikit-learn", "safetensors")


def available_threads(*, root: Path = Path("/")) -> int:
    """Return how many cores this process may use: its affinity, within the quota of its control group.

    Libraries that count the cores of the host oversubscribe the few that a container is granted.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are mounted.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [int(quota) for quota in (*_quotas_v2(root), *_quotas_v1(root))]
    return max(1, min([cores, *quotas]))


def has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 in hardware."""
    return any(flag in _cpuinfo("flags").split() for flag in ("avx512_bf16", "amx_bf16"))


def has_matrix_units() -> bool:
    """Return whether the processor has units that multiply matrices of bfloat16 (AMX)."""
    return "amx_bf16" in _cpuinfo("flags").split()


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
    versions = {"trimtab": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _quotas_v2(root: Path) -> list[float]:
    """Return the cores granted by this process's control group and by each of those around it."""
    group = ""
    for line in _read(root / "proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            group = line.removeprefix("0::").strip().lstrip("/")
    mounted = root / "sys/fs/cgroup"
    folders = [mounted / group, *(mounted / group).parents]
    contents = [_read(folder / "cpu.max").split() for folder in folders if folder.is_relative_to(mounted)]
    return [int(words[0]) / int(words[1]) for words in contents if len(words) == 2 and all(map(str.isdigit, words))]


def _quotas_v1(root: Path) -> list[float]:
    folder = root / "sys/fs/cgroup/cpu"
    quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return [int(quota) / int(period)] if quota.isdigit() and period.isdigit() else []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _cpuinfo(key: str) -> str:
    """Return the first value of a key in the processor's description, or nothing."""
    lines = (line for line in _read(Path("/proc/cpuinfo")).splitlines() if line.startswith(key))
    return next(lines, ":").split(":", 1)[1].strip()
