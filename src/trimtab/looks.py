"""What is compared by ``trimtab compare``: files of predictions, or runs, whose test rows are thereby looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trimtab.console import Console, describe_look
from trimtab.data.seal import count_looks
from trimtab.directory import RunDirectory
from trimtab.errors import InputError
from trimtab.evaluation.opening import level_of_look
from trimtab.ledger import Ledger
from trimtab.opened import open_run


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What to compare.

    Attributes
    ----------
    files
        Of predictions, in the order given.
    level
        Of the intervals.
    sentence
        What to say about the rows; empty for files.
    """

    files: tuple[Path, ...]
    level: float
    sentence: str = ""


def open_for_comparison(given: Sequence[str], *, level: float) -> Looked:
    """Return the files of predictions of runs and files; the runs' ledgers say afterwards that they were looked at.

    Parameters
    ----------
    given
        Run directories or files of predictions.
    level
        Of the intervals of all looks together.

    Raises
    ------
    InputError
        If there is no such run or it is not finished, or the runs have other test rows.
    IntegrityError
        If a run's ledger, figures or predictions were altered.
    """
    runs = {path: RunDirectory(Path(path)) for path in given if Path(path).is_dir()}
    files = tuple(runs[path].evaluation / "predictions.csv" if path in runs else Path(path) for path in given)
    if not runs:
        return Looked(files=files, level=level)
    for path in runs:
        open_run(path)  # finished, and nothing altered
    ledgers = {path: Ledger(run.ledger) for path, run in runs.items()}
    measured = {path: _measured(ledger) for path, ledger in ledgers.items()}
    (first, (test_hash, _)), *others = measured.items()
    for path, (other_hash, _) in others:
        if other_hash != test_hash:
            raise InputError(
                f"{first} and {path} were measured on other test rows",
                "runs on the same data with the same seed and fractions, which set the same rows apart",
                "run one of them again with the other's --seed, or predict one set of rows with both and compare files",
            )
    models = sorted({model for _, found in measured.values() for model in found})
    own = {run.ledger.resolve() for run in runs.values()}
    neighbours = {path for run in runs.values() for path in run.neighbours()} - own
    paths = [ledger.path for ledger in ledgers.values()]
    look = count_looks(paths, sorted(neighbours), test_hash=test_hash, models=models)
    for text in look.warnings:
        Console().warn(text)
    for ledger in ledgers.values():
        ledger.append(
            "test_opened",
            caller="trimtab compare",
            models=models,
            opening=look.number,
            level=level_of_look(look.number, level=level),
            others=list(look.others),
            test_hash=test_hash,
        )
    sentence = f"; {describe_look(look.number, look.others)}" if look.number > 1 else ""
    return Looked(files=files, level=level_of_look(look.number, level=level), sentence=sentence)


def _measured(ledger: Ledger) -> tuple[str, list[str]]:
    """Return which test rows a run was measured on, and the hashes of the models."""
    events = [event for event in ledger.events("test_opened") if event["caller"] != "trimtab compare"]
    return str(events[-1]["test_hash"]), list(events[-1].get("models", [events[-1].get("artifact", "")]))
