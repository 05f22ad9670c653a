"""Whether a network fits a worker's memory whole, by estimate."""

from __future__ import annotations

from pathlib import Path

from trimtab.training.recipe import Recipe

_STATES = {"adamw": 2, "muon": 2, "sgd": 1}  # arrays the size of the weights that an optimizer keeps, at most


def does_fit(parameters: int, recipe: Recipe, local_workers: int, *, root: Path = Path("/")) -> bool:
    """Return whether weights, gradients and what the optimizer keeps fit into each worker's share of the free memory.

    Activations are not counted: they are the same however the weights are kept, and ``accumulate`` makes them small.

    Parameters
    ----------
    parameters
        Numbers in the network, float32.
    recipe
        Its optimizer, shards and average need room too.
    local_workers
        How many share this machine's memory.
    root
        Where ``proc`` and ``sys`` are mounted.
    """
    copies = 2 + _STATES[recipe.optimizer]  # weights and gradients
    copies += 2 * recipe.shards or 1  # outcomes of the shards, sent and received; or one sum on its way
    return 4 * parameters * copies <= free_bytes(root=root) / local_workers


def free_bytes(*, root: Path = Path("/")) -> float:
    """Return the memory that new processes may take: of the machine, within the limit of the control group."""
    return min(_machine_bytes(root), _group_bytes(root))


def _machine_bytes(root: Path) -> float:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return float("inf")


def _group_bytes(root: Path) -> float:
    """Return what the control group has left; files in the cache can be dropped."""
    group = root / "sys/fs/cgroup"
    limit, used = _lines(group / "memory.max"), _lines(group / "memory.current")
    if not limit or not used or not limit[0].isdigit():
        return float("inf")
    cached = [int(line.split()[1]) for line in _lines(group / "memory.stat") if line.startswith("inactive_file ")]
    return float(max(0, int(limit[0]) - int(used[0]) + sum(cached)))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
