"""Small data sets with what an audit looks for, and a bench on which networks of the NumPy engine are tried."""

import dataclasses
import math

import numpy as np
import pytest

from trimtab.data import Dataset, Table
from trimtab.generalization.material import Material, Setup
from trimtab.generalization.trials import Bench
from trimtab.training import Recipe
from trimtab.training.rows import Rows


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


RECIPE = Recipe(
    engine="numpy",
    steps=60,
    epochs_at_most=50,
    batch_size=32,
    optimizer="adamw",
    learning_rate=0.01,
    weight_decay=0.0,
    schedule="one-cycle",
    label_smoothing=0.0,
    augment="none",
    precision="float32",
    patience=0,
    threads=1,
    seed=0,
)
WIDTHS = {"hidden": [24]}


def make_rows(count: int, seed: int, *, flipped: float = 0.0) -> Rows:
    """Rows of 3 overlapping classes in 10 dimensions, some labels moved on by one."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    centers = 1.6 * np.random.default_rng(99).standard_normal((3, 10))
    inputs = (centers[labels] + 1.5 * random.standard_normal((count, 10))).astype(np.float32)
    moved = random.random(count) < flipped
    return Rows.of(inputs, np.where(moved, (labels + 1) % 3, labels), num_classes=3)


def setup_of(settings) -> Setup:
    """Settings are fields of the recipe, or ``hidden``."""
    kwargs = {"in_features": 10, "num_classes": 3, **WIDTHS, **{k: settings[k] for k in settings if k == "hidden"}}
    changed = {name: value for name, value in settings.items() if name != "hidden"}
    return Setup(builder="mlp", kwargs=kwargs, recipe=dataclasses.replace(RECIPE, **changed))


@pytest.fixture
def make_bench():
    def make(*, flipped=0.0, seconds_left=lambda: math.inf, seeds=(1, 2), groups=None, rows=(200, 120)):
        training, validation = make_rows(rows[0], 0, flipped=flipped), make_rows(rows[1], 1, flipped=flipped)
        material = Material.of(training, validation, seed=0, groups=groups)
        return Bench(
            material=material,
            setup_of=setup_of,
            seeds=seeds,
            mode=None,
            seconds_left=seconds_left,
            training_seconds=0.01,
        )

    return make
