"""Small data sets with what an audit looks for."""

import numpy as np
import pytest

from trimtab.data import Dataset, Table


@pytest.fixture(scope="session")
def make_table():
    """Build a table from columns and labels: ``make_table({"x": ...}, labels, parts=...)``."""

    def make(columns, labels, **fields):
        kinds = {name: "number" if values.dtype.kind == "f" else "category" for name, values in columns.items()}
        labels = np.asarray(labels, dtype=np.int64)
        return Dataset(
            name="rows",
            kind="table",
            labels=labels,
            class_names=tuple("abcdef"[: int(labels.max()) + 1]),
            content_hash="c" * 64,
            row_names=[f"row {row + 1}" for row in range(len(labels))],
            table=Table(columns=columns, kinds=kinds),
            **fields,
        )

    return make


@pytest.fixture(scope="session")
def blobs(make_table):
    """Four columns of which two tell the classes apart: ``blobs(rows, distance)``."""

    def make(rows=600, distance=2.0, classes=2, seed=0, **fields):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, classes, rows)
        columns = {name: rng.normal(size=rows) for name in ("p", "q", "r", "s")}
        columns["p"] += distance * labels
        columns["q"] -= distance * labels
        return make_table(columns, labels, **fields)

    return make
