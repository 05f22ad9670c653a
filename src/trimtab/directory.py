"""The directory of a run: the names in it, who may write to it, and whether it is finished.

A directory is never overwritten. It belongs to the process that holds its lock; a directory whose process is gone
before the report was written is unfinished, and the same plan takes it up again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trimtab.errors import InputError, OutputError, TrimtabError, nearest
from trimtab.ledger import Ledger
from trimtab.plan import Plan, hash_plan
from trimtab.storage import write_text

_LOCK = ".lock"
_BEAT_SECONDS = 1.0

_Origin = tuple[str | None, str | None]  # the run that is repeated, and the purpose


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

    def neighbours(self) -> list[Path]:
        """Return the ledgers of the runs beside this one."""
        others = self.path.resolve().parent.glob("*/ledger.jsonl")
        return sorted(path for path in others if path.parent != self.path.resolve())

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


@contextmanager
def held(directory: RunDirectory) -> Iterator[RunDirectory]:
    """Keep other processes from writing to a directory.

    Raises
    ------
    InputError
        If another process has it.
    """
    lock = directory.lock()
    if lock is None:
        raise InputError(f"another process writes to {directory.path}", "to be the only one", "try again later")
    try:
        yield directory
    finally:
        os.close(lock)


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

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Touch the lock file every second, as a sign of life for `_seconds_spent`; give the lock back at the end."""
        stopped = threading.Event()
        path = self.directory.path / _LOCK

        def beat() -> None:
            while not stopped.wait(_BEAT_SECONDS):
                path.touch()

        thread = threading.Thread(target=beat, name="trimtab-alive", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
            self.release()

    def release(self) -> None:
        """Give the lock back."""
        os.close(self.lock)


def claim(
    wanted: Path,
    plan: Plan,
    text: str,
    *,
    replay_of: str | None = None,
    purpose: str | None = None,
    counted_until: float | None = None,
) -> Claim:
    """Return ``wanted`` or the next free name after it (``-2``, ``-3``, ...), locked.

    Parameters
    ----------
    wanted
        Directory to make.
    plan, text
        The resolved plan, and its TOML to write into a new directory. An unfinished directory with an equal plan,
        that no living process holds, is taken up again.
    replay_of
        The run that is to be repeated; a directory that repeats another run, or none, is not taken up.
    purpose
        What the directory is for, where that is no run; one that is for something else is not taken up.
    counted_until
        Seconds since the epoch until which the clock of an earlier attempt went on; its last sign of life unless
        given.

    Raises
    ------
    OutputError
        If the directory cannot be made or written to.
    """
    origin = replay_of, purpose
    for candidate in _names(wanted.resolve() if wanted.name in ("", "..") else wanted):
        directory = RunDirectory(candidate)
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            if not candidate.is_dir() or not _can_be_resumed(directory, plan, origin):
                continue
        except OSError as error:
            raise _unwritable(candidate, error) from error
        claimed = _take(directory, plan, text, origin, counted_until)
        if claimed is not None:
            return claimed
    raise AssertionError("names do not end")


def _take(directory: RunDirectory, plan: Plan, text: str, origin: _Origin, counted_until: float | None) -> Claim | None:
    """Lock a directory and make it ready; ``None`` when another process has it, or had it until just now."""
    try:
        lock = directory.lock()
    except OSError as error:
        raise _unwritable(directory.path, error) from error
    if lock is None:
        return None
    try:
        if not _can_be_resumed(directory, plan, origin):  # it may have been finished since we looked
            os.close(lock)
            return None
        for leftover in directory.path.rglob(".*.tmp"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        ledger = Ledger(directory.ledger)
        is_resumed = directory.plan.exists()
        if not is_resumed:
            write_text(directory.plan, text)
        spent = _seconds_spent(directory, ledger, counted_until)
        return Claim(directory=directory, ledger=ledger, is_resumed=is_resumed, seconds_spent=spent, lock=lock)
    except BaseException:
        os.close(lock)
        raise


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


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written to ({error.strerror})", "a directory for the run", "choose another with --out"
    )


def _can_be_resumed(directory: RunDirectory, plan: Plan, origin: _Origin) -> bool:
    if not directory.plan.exists():  # empty, or left by a process killed between two instructions
        return all(entry.name == _LOCK or entry.suffix == ".tmp" for entry in directory.path.iterdir())
    try:
        ledger = Ledger(directory.ledger)
        if directory.is_finished or not _is_plan_of(directory, ledger, plan):
            return False
        started = ledger.events("started")
    except TrimtabError:
        return False
    return not started or (started[-1].get("replay_of"), started[-1].get("purpose")) == origin


def _is_plan_of(directory: RunDirectory, ledger: Ledger, plan: Plan) -> bool:
    """Return whether this is the plan in a directory, or the one that was there before the run changed it itself."""
    there = Plan.from_toml(directory.plan)
    changes = [(event["plan_sha256_before"], event["plan_sha256"]) for event in ledger.events("remedies")]
    return there == plan or (hash_plan(plan), hash_plan(there)) in changes


def _seconds_spent(directory: RunDirectory, ledger: Ledger, counted_until: float | None) -> float:
    """Return the seconds of earlier attempts: what the last one started with, and until then or its last sign."""
    started = ledger.events("started")
    if not started:
        return 0.0
    last_sign = counted_until or max(float(ledger.events()[-1]["time"]), (directory.path / _LOCK).stat().st_mtime)
    return float(started[-1].get("seconds_before", 0.0)) + max(0.0, last_sign - float(started[-1]["time"]))
