"""Rows divided into training, validation and a sealed test part.

The division is stratified by class, keeps groups and copies together and respects a split that the data came with: a
missing part is taken from training, and the test part is never used as anything else: it is sealed
(`trimtab.data.seal`), and each opening is written to the ledger.

How rows are chosen is the work of `carving`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trimtab.data.carving import carve
from trimtab.data.dataset import Dataset
from trimtab.data.seal import Look, Seal, count_looks, one_at_a_time
from trimtab.errors import InputError, IntegrityError
from trimtab.storage import sha256_bytes, write_bytes, write_json

if TYPE_CHECKING:
    from trimtab.ledger import Ledger

Rows = NDArray[np.int64]
_FORMAT = "trimtab-split/1"
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Row numbers of each part, increasing; those of the test part only through `open_test`.

    Attributes
    ----------
    train, validation
        Row numbers.
    data_hash
        Content hash of the dataset that was divided; also the salt of the hash of the test part's row numbers.
    seal
        Of what the test rows hold; ``None`` in splits that were saved before there were seals.
    """

    train: Rows
    validation: Rows
    data_hash: str
    seal: Seal | None = None
    _test: Rows = field(repr=False)

    @property
    def test_count(self) -> int:
        """Rows of the test part."""
        return len(self._test)

    @property
    def test_hash(self) -> str:
        """A hash that is the same for the same test examples: of their names and classes.

        In a split from before there were seals: of the row numbers and the data, so also of how these were decoded.
        """
        return _hash_rows(self._test, self.data_hash) if self.seal is None else self.seal.examples

    def open_test(
        self,
        dataset: Dataset,
        ledger: Ledger,
        *,
        caller: str,
        model: str,
        level_of: Callable[[int], float],
        neighbours: Iterable[Path] = (),
    ) -> tuple[Rows, Look]:
        """Return the row numbers of the test part and which look at them this is, after checks and a note of it.

        The event ``test_opened`` in the ledger has ``caller``, ``models``, ``opening`` (the number of the look),
        ``level``, ``others``, ``rows`` and ``test_hash``.

        Parameters
        ----------
        dataset
            That was divided; its test rows are compared with the seal.
        ledger
            Of the run.
        caller
            Who opens.
        model
            Hash of the model whose answers will be seen.
        level_of
            From the number of the look to the level of its intervals.
        neighbours
            Ledgers of the runs beside this one.

        Raises
        ------
        IntegrityError
            If the rows, or their seal, are not what was sealed.
        """
        self.check_sealed(ledger)
        self._check_rows(dataset)
        with one_at_a_time(ledger.path.parent.resolve().parent):
            look = count_looks([ledger.path], neighbours, test_hash=self.test_hash, models=[model])
            ledger.append(
                "test_opened",
                caller=caller,
                models=[model],
                opening=look.number,
                level=level_of(look.number),
                others=list(look.others),
                rows=self.test_count,
                test_hash=self.test_hash,
            )
        return self._test.copy(), look

    def _check_rows(self, dataset: Dataset) -> None:
        if self.seal is not None:
            self.seal.check(dataset, self._test)
        elif dataset.content_hash != self.data_hash:  # from before there were seals: only the data as a whole
            raise IntegrityError(
                f"{dataset.name} is not what it was when its {self.test_count:,} test rows were set apart",
                "the same content",
                "restore the data from a copy, or start a new run",
            )

    def note_seal(self, ledger: Ledger) -> None:
        """Write the event ``sealed`` to the ledger, once: later openings must find the same rows and the same seal."""
        if self.seal is not None and not ledger.events("sealed"):
            ledger.append("sealed", rows=self.test_count, **self._sealed())

    def check_sealed(self, ledger: Ledger) -> None:
        """Compare the test part and its seal with what the ledger noted; an old ledger noted nothing.

        Raises
        ------
        IntegrityError
            If they are others, or the seal is missing.
        """
        for event in ledger.events("sealed"):
            if {name: event[name] for name in self._sealed()} != self._sealed():
                raise IntegrityError(
                    f"the test part of {ledger.path.parent} or its seal is not the one that its ledger noted",
                    f"the seal {event['seal'][:12]} of {event['rows']:,} rows",
                    "restore the split from a copy, or start a new run",
                )

    def _sealed(self) -> dict[str, str | None]:
        """Return what the ledger notes; ``part`` covers row numbers and salt without showing them."""
        seal = None if self.seal is None else self.seal.to_dict()
        part = sha256_bytes(json.dumps([_hash_rows(self._test, self.data_hash), seal]).encode())
        return {"test_hash": self.test_hash, "part": part, "seal": None if seal is None else seal["sha256"]}

    def save(self, directory: Path) -> None:
        """Write ``train.npy``, ``validation.npy``, ``test.npy`` and, last, ``split.json`` with their hashes."""
        parts = dict(zip(_PARTS, (self.train, self.validation, self._test), strict=True))
        for name, rows in parts.items():
            buffer = io.BytesIO()
            np.save(buffer, rows, allow_pickle=False)
            write_bytes(directory / f"{name}.npy", buffer.getvalue())
        facts = {name: {"rows": len(rows), "sha256": _hash_rows(rows, self.data_hash)} for name, rows in parts.items()}
        seal = None if self.seal is None else self.seal.to_dict()
        content = {"format": _FORMAT, "data_hash": self.data_hash, "parts": facts, "seal": seal}
        write_json(directory / "split.json", content)

    @classmethod
    def load(cls, directory: Path) -> Split:
        """Return the split that `save` wrote.

        Raises
        ------
        IntegrityError
            If a file is missing or is not the one that was written.
        """
        try:
            facts = json.loads((directory / "split.json").read_text())
            loaded = [np.load(directory / f"{name}.npy", allow_pickle=False) for name in _PARTS]
            hashes = [_hash_rows(rows, facts["data_hash"]) for rows in loaded]
            seal = None if facts.get("seal") is None else Seal(**facts["seal"])
            parts = zip(_PARTS, hashes, strict=True)
            altered = [f"{name}.npy" for name, found in parts if facts["parts"][name]["sha256"] != found]
            is_known = facts["format"] == _FORMAT
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise _altered(directory) from error
        if altered or not is_known:
            raise _altered(directory, altered)
        train, validation, test = loaded
        return cls(train=train, validation=validation, data_hash=facts["data_hash"], seal=seal, _test=test)


def make_split(
    dataset: Dataset, *, validation_fraction: float, test_fraction: float, seed: int, copies: Rows | None = None
) -> Split:
    """Return the division of a dataset: every row in exactly one part, every class in every part.

    Parameters
    ----------
    dataset
        Its ``parts`` are kept as they are; only what is missing is taken from the rows for training.
    validation_fraction, test_fraction
        Of the rows that did not come with a part, or came for training. Unused for a part that is given.
    seed
        Same data, fractions, copies and seed: same split.
    copies
        [N] a number for each row, equal for copies of each other (`trimtab.data.audits`): they come into one part as
        far as classes and a given part allow. Without any the split is what it is without this argument.

    Raises
    ------
    ValueError
        If a fraction is not above 0, or their sum not below 1.
    InputError
        If groups cannot be divided so that every part has every class, or a given split divides a group.
    """
    if not (validation_fraction > 0 and test_fraction > 0 and validation_fraction + test_fraction < 1):
        raise ValueError(
            f"the fractions are {validation_fraction} for validation and {test_fraction} for test; "
            "expected both above 0 and a sum below 1."
        )
    parts = np.zeros(len(dataset), dtype=np.int8) if dataset.parts is None else np.maximum(dataset.parts, 0)
    _check_given(dataset, parts)
    rng = np.random.default_rng(seed)
    wanted = {2: test_fraction, 1: validation_fraction}
    sizes = {part: fraction for part, fraction in wanted.items() if not (parts == part).any()}
    pool = np.flatnonzero(parts == 0)
    total = len(pool)
    for part, fraction in sizes.items():
        later = len(sizes) - 1 if part == 2 else 0  # parts still to be taken after this one
        carved = carve(dataset, pool, fraction * total / len(pool), rng, left=1 + later, copies=copies)
        parts = parts.copy()
        parts[carved] = part
        pool = np.flatnonzero(parts == 0)
    train, validation, test = (np.flatnonzero(parts == part).astype(np.int64) for part in range(3))
    seal = Seal.of(dataset, test)
    return Split(train=train, validation=validation, data_hash=dataset.content_hash, seal=seal, _test=test)


def _check_given(dataset: Dataset, parts: NDArray[np.int8]) -> None:
    """Refuse a given split that has rows of one group on both sides."""
    if dataset.groups is None or dataset.parts is None:
        return
    pairs = np.unique(np.stack([dataset.groups, parts]), axis=1)
    divided = len(pairs[0]) - len(np.unique(pairs[0]))
    if divided:
        raise InputError(
            f"the split that {dataset.name} came with divides {divided} groups",
            "each group in one part",
            "move them, or leave --group out",
        )


def _hash_rows(rows: Rows, salt: str) -> str:
    return sha256_bytes(salt.encode() + np.ascontiguousarray(rows, dtype="<i8").tobytes())


def _altered(directory: Path, files: Sequence[str] = ()) -> IntegrityError:
    """Name the files that differ from their hashes in split.json; when all do, that one is the likelier culprit."""
    named = f" ({' and '.join(files)} differs from its hash)" if 0 < len(files) < len(_PARTS) else ""
    return IntegrityError(
        f"the split in {directory} is not the one that was written{named}",
        "train.npy, validation.npy, test.npy and split.json as they were saved",
        "restore these files or start a new run",
    )
