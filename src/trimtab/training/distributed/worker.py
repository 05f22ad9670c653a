"""Which of the workers this process is, as torchrun's environment says, and what becomes of it alone. No torch here."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab.errors import TrimtabError

if TYPE_CHECKING:
    from trimtab.training.distributed.team import Team
    from trimtab.training.recipe import Recipe

LAUNCH_FOLDER = "TRIMTAB_LAUNCH_FOLDER"  # where workers on one machine leave their exit code for `trimtab.launching`
_WATCH_SECONDS = 0.5
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

_teams: list[Team] = []  # at most one: torch has one default process group in a process


class WorkerLost(TrimtabError):
    """Another worker does not answer any more; started again, all go on from the newest checkpoint."""

    exit_code = 75  # EX_TEMPFAIL: the same command will do


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One process of several that train together.

    Attributes
    ----------
    rank, world_size
        Its number, from 0, and how many there are.
    local_rank, local_world_size
        The same among those on this machine.
    machine
        The number of the machine, from 0.
    attempt
        How often the workers were started again.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    machine: int
    attempt: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Worker | None:
        """Return what the variables of torchrun say; ``None`` when they say that this process is alone."""
        if any(name not in environment for name in _NEEDED) or int(environment["WORLD_SIZE"]) < 2:
            return None
        return cls(
            rank=int(environment["RANK"]),
            world_size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment.get("LOCAL_RANK", environment["RANK"])),
            local_world_size=int(environment.get("LOCAL_WORLD_SIZE", environment["WORLD_SIZE"])),
            machine=int(environment.get("GROUP_RANK", 0)),
            attempt=int(environment.get("TORCHELASTIC_RESTART_COUNT", 0)),
        )


def current_team() -> Team | None:
    """Return the workers that this process has joined, if it has."""
    return _teams[-1] if _teams else None


def set_current_team(team: Team | None) -> None:
    """Say which workers this process has joined."""
    _teams[:] = [] if team is None else [team]


def is_started_again(environment: Mapping[str, str]) -> bool:
    """Return whether whoever started this process starts it again when it fails, as torchrun does."""
    return "TORCHELASTIC_RUN_ID" in environment


def threads_of_a_worker(recipe: Recipe, worker: Worker | None) -> int:
    """Return a worker's share of the recipe's threads; one where the weights must not depend on it."""
    if recipe.shards:
        return 1
    return max(1, recipe.threads // (worker.local_world_size if worker else 1))


def end_with_parent() -> None:
    """End this process within a second after the one that started it is gone, whatever it is doing."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="trimtab-parent", daemon=True).start()
