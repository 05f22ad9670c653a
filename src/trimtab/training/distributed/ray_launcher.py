"""Workers in Ray's actors instead of torchrun's processes: the same command line, wherever the cluster has room.

The driver starts an actor per worker, waits, and starts all again when one, or its machine, is lost; with fewer where
there is no room for as many any more. Nothing is reported to Ray while training goes on: progress is in the checkpoints
of rank 0, which must lie where every machine that rank 0 may move to can read them.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from trimtab.errors import InputError
from trimtab.training.distributed.worker import WorkerLost

_RESTARTS = 1000
_ROOM_SECONDS = 10.0  # how long actors may take to find their places before these are counted again

Carry = Callable[[Sequence[str]], int]


def run_actors(arguments: Sequence[str], workers: int, environment: Mapping[str, str], carry_out: Carry) -> int:
    """Run a command in so many actors and return its exit code.

    Joins the cluster that ``RAY_ADDRESS`` names or that runs on this machine; without one, Ray starts here alone.

    Parameters
    ----------
    arguments
        What stands after ``trimtab``.
    workers
        How many, if there is a processor core for each.
    environment
        Variables that every worker needs when it starts.
    carry_out
        What a worker does with ``arguments``: returns the exit code, or that of `WorkerLost`.

    Raises
    ------
    InputError
        If Ray is not installed.
    WorkerLost
        If the workers are lost again and again.
    """
    os.environ["RAY_usage_stats_enabled"] = "0"  # noqa: SIM112 - the name that Ray reads
    if find_spec("ray") is None:
        raise InputError("ray is not installed", "it for --launcher ray", "pip install 'trimtab[ray]'")
    import ray

    ray.init(ignore_reinit_error=True, include_dashboard=False, logging_level="error")
    for attempt in range(_RESTARTS):
        code = _attempt(arguments, workers, {**environment, "TORCHELASTIC_RESTART_COUNT": str(attempt)}, carry_out)
        if code != WorkerLost.exit_code:
            return code
    raise WorkerLost(
        f"a worker was lost {_RESTARTS} times", "machines that last", "look at their logs, then run it again"
    )


def _attempt(arguments: Sequence[str], workers: int, environment: Mapping[str, str], carry_out: Carry) -> int:
    import ray
    from ray.util.placement_group import remove_placement_group

    group, cores = _reserve(workers)
    try:
        actors = _start(group, cores, {**environment, "OMP_NUM_THREADS": str(cores)})
        roles = _roles(ray.get([actor.place.remote() for actor in actors]))
        running = [
            actor.carry_out.remote(carry_out, role, os.getcwd(), list(arguments))
            for actor, role in zip(actors, roles, strict=True)
        ]
        leader = running[[role["RANK"] for role in roles].index("0")]
        return _wait(running, leader)
    except ray.exceptions.RayError:  # an actor, or its machine, is gone
        return WorkerLost.exit_code
    finally:
        remove_placement_group(group)  # ends the actors in it


def _wait(running: list[Any], leader: Any) -> int:
    """Return rank 0's exit code when all have ended, or at once that of a worker that lost another."""
    import ray

    code, waiting = 0, running
    while waiting:
        done, waiting = ray.wait(waiting)
        found: int = ray.get(done[0])
        if found == WorkerLost.exit_code:
            return found
        code = found if done[0] == leader else code
    return code


def _reserve(workers: int) -> tuple[Any, int]:
    """Wait for room; return the reserved places, with a core at least for each worker, and the cores of one."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    while True:
        free = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        cores = cores_of_a_worker(free, workers)
        count = min(workers, sum(each // cores for each in free))
        group = placement_group([{"CPU": cores}] * max(1, count), strategy="SPREAD")
        if group.wait(_ROOM_SECONDS):
            return group, cores
        remove_placement_group(group)


def cores_of_a_worker(cores: Sequence[int], workers: int) -> int:
    """Return the most cores that each of so many workers can have on machines with so many; at least 1."""
    for each in range(max(cores, default=1), 1, -1):
        if sum(count // each for count in cores) >= workers:
            return each
    return 1


def _start(group: Any, cores: int, environment: dict[str, str]) -> list[Any]:
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    actor = ray.remote(max_restarts=0, num_cpus=cores)(_Actor)
    options = {"runtime_env": {"env_vars": environment}}
    return [
        actor.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, index), **options).remote()
        for index in range(group.bundle_count)
    ]


def _roles(places: Sequence[tuple[str, str, int]]) -> list[dict[str, str]]:
    """Return torchrun's variables for workers at these places: node, address and a free port of each.

    Ranks are given machine by machine, as torchrun does.
    """
    nodes = list(dict.fromkeys(node for node, _, _ in places))
    counts = Counter(node for node, _, _ in places)
    order = sorted(range(len(places)), key=lambda index: nodes.index(places[index][0]))
    _, address, port = places[order[0]]
    roles: list[dict[str, str]] = [{} for _ in places]
    seen: Counter[str] = Counter()
    for rank, index in enumerate(order):
        node = places[index][0]
        roles[index] = {
            "RANK": str(rank),
            "WORLD_SIZE": str(len(places)),
            "LOCAL_RANK": str(seen[node]),
            "LOCAL_WORLD_SIZE": str(counts[node]),
            "GROUP_RANK": str(nodes.index(node)),
            "MASTER_ADDR": address,
            "MASTER_PORT": str(port),
        }
        seen[node] += 1
    return roles


class _Actor:
    """The process of one worker."""

    def place(self) -> tuple[str, str, int]:
        """Return the node, its address, and a port that is free there."""
        import ray

        with socket.socket() as server:
            server.bind(("", 0))
            port: int = server.getsockname()[1]
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address(), port

    def carry_out(self, carry_out: Carry, role: Mapping[str, str], folder: str, arguments: Sequence[str]) -> int:
        """Take a role and do what it asks for; return the exit code."""
        os.environ.update(role)
        os.chdir(folder)
        return carry_out(arguments)
