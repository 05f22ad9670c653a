"""The directory of a run: the names in it, who may write to it, and whether it is finished.

A directory is never overwritten. It belongs to the process that holds its lock; a directory whose process is gone
before the report was written is unfinished, and the same plan takes it up again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trimtab.errors import InputError, OutputError, TrimtabError, nearest
from trimtab.ledger import Ledger
from trimtab.plan import Plan
from trimtab.storage import write_text

_LOCK = ".lock"


@dataclass(frozen=True)
class RunDirectory:
    """Paths of a run; see the tree in the README."""

    path: Path

    @property
    def plan(self) -> Path:
        """The resolved plan."""
        return self.path / "plan.toml"

    @property
    def ledger(self) -> Path:
        """What was opened, spent and decided."""
        return self.path / "ledger.jsonl"

    @property
    def data(self) -> Path:
        """Schema, split, hashes, and a picture of the first batch."""
        return self.path / "data"

    @property
    def checkpoints(self) -> Path:
        """The newest state of training; gone when the run is finished."""
        return self.path / "checkpoints"

    @property
    def history(self) -> Path:
        """A row per epoch."""
        return self.path / "history.csv"

    @property
    def model(self) -> Path:
        """The trained artifact."""
        return self.path / "model"

    @property
    def evaluation(self) -> Path:
        """Metrics, predictions, plots."""
        return self.path / "evaluation"

    @property
    def compression(self) -> Path:
        """A folder per candidate, and the table that chose between them."""
        return self.path / "compression"

    @property
    def bundle(self) -> Path:
        """What is delivered."""
        return self.path / "bundle"

    @property
    def report(self) -> Path:
        """The page; written last, so its presence says that the run is finished."""
        return self.path / "report.html"

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return self.report.exists()

    def lock(self) -> int | None:
        """Take the directory for this process until it ends; ``None`` when another process has it."""
        descriptor = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A directory that this process may write to, and whether it continues an earlier attempt.

    ``seconds_spent`` is what the earlier attempts took, as far as they wrote it down.
    """

    directory: RunDirectory
    ledger: Ledger
    is_resumed: bool
    seconds_spent: float
    lock: int

    def release(self) -> None:
        """Give the lock back."""
        os.close(self.lock)


def claim(wanted: Path, plan: Plan, text: str) -> Claim:
    """Return ``wanted`` or the next free name after it (``-2``, ``-3``, ...), locked.

    Parameters
    ----------
    wanted
        Directory to make.
    plan, text
        The resolved plan, and its TOML to write into a new directory. An unfinished directory with an equal plan,
        that no living process holds, is taken up again.

    Raises
    ------
    OutputError
        If the directory cannot be made or written to.
    """
    for candidate in _names(wanted):
        directory = RunDirectory(candidate)
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            if not candidate.is_dir() or not _can_be_resumed(directory, plan):
                continue
        except OSError as error:
            raise _unwritable(candidate, error) from error
        lock = _lock(directory)
        if lock is None:
            continue
        ledger = Ledger(directory.ledger)
        is_resumed = directory.plan.exists()
        spent = _seconds_spent(directory, ledger) if is_resumed else 0.0
        if not is_resumed:
            write_text(directory.plan, text)
        return Claim(directory=directory, ledger=ledger, is_resumed=is_resumed, seconds_spent=spent, lock=lock)
    raise AssertionError("names do not end")


def find(path: str | Path) -> RunDirectory:
    """Return the run directory at a path.

    Raises
    ------
    InputError
        If there is none.
    """
    directory = RunDirectory(Path(path))
    if directory.plan.exists():
        return directory
    siblings = [entry.name for entry in directory.path.parent.glob("*") if RunDirectory(entry).plan.exists()]
    suggestion = nearest(directory.path.name, siblings)
    raise InputError(
        f"there is no run at {path}",
        "a directory that `trimtab run` made",
        f"{suggestion}look into {directory.path.parent} or start one with `trimtab run DATA`",
    )


def _names(wanted: Path) -> Iterator[Path]:
    yield wanted
    number = 2
    while True:
        yield wanted.with_name(f"{wanted.name}-{number}")
        number += 1


def _lock(directory: RunDirectory) -> int | None:
    try:
        return directory.lock()
    except OSError as error:
        raise _unwritable(directory.path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written to ({error.strerror})", "a directory for the run", "choose another with --out"
    )


def _can_be_resumed(directory: RunDirectory, plan: Plan) -> bool:
    if not directory.plan.exists():  # empty, or left by a process killed between two instructions
        return all(entry.name == _LOCK for entry in directory.path.iterdir())
    try:
        return not directory.is_finished and Plan.from_toml(directory.plan) == plan
    except TrimtabError:
        return False


def _seconds_spent(directory: RunDirectory, ledger: Ledger) -> float:
    """Add up the attempts: from each start to the last sign of life before the next."""
    events = ledger.events()
    starts = [index for index, event in enumerate(events) if event["event"] == "started"]
    spent = 0.0
    for start, following in zip(starts, [*starts[1:], len(events)], strict=True):
        spent += float(events[following - 1]["time"]) - float(events[start]["time"])
    if directory.history.exists() and events:
        spent += max(0.0, directory.history.stat().st_mtime - float(events[-1]["time"]))
    return spent
