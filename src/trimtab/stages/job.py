"""What the stages of a run share: the job, what repeats an earlier run, what the network reads."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trimtab.console import Console
from trimtab.data import Dataset, Source, Table
from trimtab.directory import RunDirectory
from trimtab.ledger import Ledger
from trimtab.plan import Plan, hash_plan
from trimtab.planning import Facts
from trimtab.training import Correction
from trimtab.training.mode import Mode

if TYPE_CHECKING:
    from trimtab.training.batches import Rows


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What repeats an earlier run bit for bit: its corrections and its mode, for data with this hash."""

    run: str
    corrections: list[Correction]
    mode: Mode
    content_hash: str
    weights_sha256: str

    @classmethod
    def of(cls, directory: RunDirectory, plan: Plan) -> Replay | None:
        """Return what repeats the run in a directory, or what the unfinished run in it is repeating.

        ``None`` when there is no such thing, or when ``plan`` is not the plan that was carried out there.
        """
        ledger = Ledger(directory.ledger)
        started = ledger.events("started")
        if not started or started[-1].get("purpose") or _latest_plan(ledger) != hash_plan(plan):
            return None
        if not directory.is_finished:
            recorded = started[-1].get("replay")
            return None if recorded is None else cls.from_dict(recorded)
        trained = ledger.events("trained")[-1]
        return cls(
            run=str(directory.path.resolve()),
            corrections=[Correction(**entry) for entry in trained["corrections"]],
            mode=mode_of(trained),
            content_hash=ledger.events("data")[-1]["content_hash"],
            weights_sha256=trained["weights_sha256"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the ledger."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Replay:
        """Return what `to_dict` gave."""
        corrections = [Correction(**entry) for entry in fields["corrections"]]
        others = {name: fields[name] for name in ("run", "content_hash", "weights_sha256")}
        return cls(**others, corrections=corrections, mode=mode_of(fields))


def _latest_plan(ledger: Ledger) -> str | None:
    """Return the hash of the plan that was carried out last: as it was started, or with a remedy taken over."""
    hashes = [event.get("plan_sha256") for event in ledger.events() if event["event"] in ("started", "remedies")]
    return hashes[-1] if hashes else None


def mode_of(fields: dict[str, Any]) -> Mode:
    """Return the mode in an entry of the ledger; earlier versions noted the precision and had no choice in the rest."""
    if "mode" in fields:
        return Mode(**fields["mode"])
    return Mode(precision=fields["precision"], memory_format="channels_last")


@dataclass(kw_only=True)
class Job:
    """One run: what is to be done, where it is written, when it started, and what the reader should be told.

    ``purpose`` says what its directory is for, where that is something else than a run; ``copies`` has the numbers of
    the clusters of copies, [N], once they were looked for.
    """

    plan: Plan
    reasons: dict[str, str]
    facts: Facts
    source: Source
    directory: RunDirectory
    ledger: Ledger
    console: Console
    started: float
    is_resumed: bool
    replay: Replay | None
    command: str
    purpose: str | None = None
    copies: NDArray[np.int64] | None = None
    warnings: list[str] = field(default_factory=list)

    def seconds(self) -> float:
        """Return the seconds of the run so far, earlier attempts included."""
        return time.monotonic() - self.started

    def seconds_left(self) -> float:
        """Return the seconds until the budget is spent."""
        return math.inf if self.plan.minutes is None else 60 * self.plan.minutes - self.seconds()

    def warn(self, text: str) -> None:
        """Tell the user now, and the reader of the report later."""
        self.warnings.append(text)
        self.console.warn(text)
        self.ledger.append("warning", text=text)


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the network reads: the rows of two parts as arrays, and the preprocessing that made them."""

    training: Rows
    validation: Rows
    training_rows: NDArray[np.int64]
    validation_rows: NDArray[np.int64]
    meta: dict[str, Any]
    kwargs: dict[str, Any]


def describe_data(job: Job) -> str:
    """Return how much data of what kind there is, in a few words."""
    facts, size = job.facts, job.source.median_size
    if size is None:
        return f"{facts.rows:,} rows of {facts.columns} columns, {facts.classes} classes"
    usual = "" if facts.is_one_size else "median "
    return f"{facts.rows:,} pictures ({usual}{size[1]} x {size[0]}), {facts.classes} classes"


def raw_inputs(dataset: Dataset, rows: NDArray[np.int64]) -> Any:
    """Return rows as a predictor takes them: pictures uint8 [H, W, C] that are read when looked at, or a `Table`."""
    if dataset.images is None:
        return table_of(dataset).take(rows)
    images = np.asarray(dataset.images)  # not a memory map any more to NumPy, whose views cost more
    return [images[row] for row in rows]


def raw_row(dataset: Dataset, row: int) -> dict[str, Any]:
    """Return a table row as a mapping from column to plain value."""
    columns = table_of(dataset).take(np.array([row])).columns
    return {name: values.item() if values.dtype.kind == "f" else values[0] for name, values in columns.items()}


def original_of(dataset: Dataset, row: int) -> Any:
    """Return a row as a user has it: the encoded file or the raw row, where there is one."""
    if dataset.read_original is not None:
        return dataset.read_original(row)
    return dataset.images[row] if dataset.images is not None else raw_row(dataset, row)


def table_of(dataset: Dataset) -> Table:
    """Return the table of a dataset that has one."""
    assert dataset.table is not None  # noqa: S101 - a Dataset has images or a table
    return dataset.table
