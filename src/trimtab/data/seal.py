"""The seal on the test rows, and the count of the looks at them.

The seal is a salted hash of what the rows hold, taken when they were set apart and noted in the ledger: a row that is
changed, added or taken away afterwards is noticed before a figure is made from it. A look is the set of models whose
answers on the rows were seen; each different look is a chance to pick what happens to do well on these very rows, so
looks are counted, over the ledgers of all runs beside each other that use the same rows.

This shows what happened; it cannot prevent anything. It does not see rows that are looked at outside trimtab, runs in
another folder or deleted with all that came after them, other test parts that share some of the rows (another seed
draws another part), or ledger and seal rewritten together from the first line on.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data.dataset import Dataset, hash_array, hash_dataset, hash_rows, hash_table
from trimtab.errors import IntegrityError
from trimtab.ledger import Ledger
from trimtab.storage import sha256_bytes


@dataclass(frozen=True, kw_only=True)
class Seal:
    """What the test rows held when they were set apart.

    Attributes
    ----------
    salt
        Random, so that equal rows of two projects do not show by equal hashes.
    sha256
        Of salt, features, labels, class names and groups.
    rows
        How many.
    examples
        SHA-256 of the rows' names and classes: the same for the same examples, however they were decoded.
    """

    salt: str
    sha256: str
    rows: int
    examples: str

    @classmethod
    def of(cls, dataset: Dataset, rows: NDArray[np.int64], *, salt: str | None = None) -> Seal:
        """Return the seal of these rows; a new salt unless one is given."""
        salt = secrets.token_hex(16) if salt is None else salt
        content = hash_dataset(_hash_features(dataset, rows), dataset.labels[rows], dataset.class_names)
        groups = "" if dataset.groups is None else hash_array(dataset.groups[rows])
        sha256 = sha256_bytes(f"{salt} {content} {groups}".encode())
        return cls(salt=salt, sha256=sha256, rows=len(rows), examples=_hash_examples(dataset, rows))

    def check(self, dataset: Dataset, rows: NDArray[np.int64]) -> None:
        """Compare the rows with the seal.

        Raises
        ------
        IntegrityError
            If they are not what was sealed.
        """
        are_there = len(rows) == self.rows and rows.max() < len(dataset)
        if not are_there or Seal.of(dataset, rows, salt=self.salt).sha256 != self.sha256:
            raise IntegrityError(
                f"the {len(rows):,} sealed test rows of {dataset.name} are not those that were set apart",
                f"the features and labels of the {self.rows:,} rows that the seal was made of",
                "restore the data from a copy, or start a new run",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look among all at the same test rows.

    Attributes
    ----------
    number
        1 for the first set of models whose answers were seen, 2 for the next different set, ...
    others
        The directories of other runs that looked at the same rows before, by name.
    warnings
        Ledgers that could not be counted, a sentence each.
    """

    number: int
    others: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """An opening that a ledger holds; ``number`` is 0 where it was not written down."""

    time: float
    models: frozenset[str]
    number: int
    run: Path


def count_looks(ledgers: Sequence[Path], neighbours: Iterable[Path], *, test_hash: str, models: Sequence[str]) -> Look:
    """Return the number of a look that is about to be taken.

    A number once written down is kept, and none below it is given again, so that a run deleted later takes nothing
    back as long as one that came after it is there.

    Parameters
    ----------
    ledgers
        Of the runs that look.
    neighbours
        Ledgers of the runs beside them.
    test_hash
        Which rows; see `Split.test_hash`.
    models
        Hashes of the models whose answers will be seen. Seeing the same ones again spends nothing and keeps the
        number.

    Raises
    ------
    IntegrityError
        If one of ``ledgers`` was altered; a neighbour's is only warned of.
    """
    seen = [look for path in ledgers for look in _looks_in(path, test_hash)]
    warnings = []
    for path in neighbours:
        try:
            seen += _looks_in(path, test_hash)
        except (IntegrityError, OSError) as error:
            warnings.append(f"looks at the test rows by another run are not counted: {error}")
    seen.sort(key=lambda look: (look.time, sorted(look.models)))
    own = {path.parent.resolve() for path in ledgers}
    wanted = frozenset(models)
    others = {look.run.name for look in seen if look.run.resolve() not in own and look.models != wanted}
    return Look(number=_number(seen, wanted), others=tuple(sorted(others)), warnings=tuple(warnings))


def _number(seen: Sequence[_Seen], wanted: frozenset[str]) -> int:
    """Return the number that these models have, or the next one; ``seen`` is in order of time."""
    sets = list(dict.fromkeys(look.models for look in seen))
    if wanted not in sets:
        return 1 + max([len(sets), *(look.number for look in seen)])
    written = [look.number for look in seen if look.models == wanted and look.number]
    return written[0] if written else 1 + sets.index(wanted)


def _looks_in(path: Path, test_hash: str) -> list[_Seen]:
    return [
        _Seen(
            time=float(event["time"]),
            models=frozenset(event.get("models", [event.get("artifact", "")])),
            number=int(event["opening"]) if "level" in event else 0,
            run=path.parent,
        )
        for event in Ledger(path).events("test_opened")
        if event.get("test_hash") == test_hash
    ]


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Keep other runs in a folder from taking a number until the block ends; where files cannot be locked, go on."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _hash_features(dataset: Dataset, rows: NDArray[np.int64]) -> str:
    if dataset.images is not None:
        return hash_rows(dataset.images, rows)
    assert dataset.table is not None  # noqa: S101 - a Dataset has images or a table
    return hash_table(dataset.table.take(rows))


def _hash_examples(dataset: Dataset, rows: NDArray[np.int64]) -> str:
    names = "\n".join(dataset.row_names[int(row)] for row in rows)
    return hash_dataset(sha256_bytes(names.encode(errors="surrogateescape")), dataset.labels[rows], dataset.class_names)
