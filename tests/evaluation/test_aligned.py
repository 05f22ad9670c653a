"""Predictions of two models: the same rows in the same order, or a sentence that says what differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from trimtab.errors import InputError
from trimtab.evaluation.aligned import read_aligned

NAMES = ("owl", "cat", "dog")


def write(path: Path, labels: np.ndarray, probabilities: np.ndarray, names: list[str] | None, **more: object) -> Path:
    columns = {f"p_{name}": probabilities[:, k] for k, name in enumerate(NAMES)}
    named = {} if names is None else {"name": names}
    parquet.write_table(pa.table({"label": [NAMES[k] for k in labels], **columns, **named, **more}), path)
    return path


def test_rows_are_matched_by_name_and_classes_by_theirs(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(50, 3)
    names = [f"{row}.png" for row in range(50)]
    first = write(tmp_path / "a.parquet", labels, probabilities, names)
    order = np.random.default_rng(0).permutation(50)
    other = write(tmp_path / "b.parquet", labels[order], probabilities[order], [names[row] for row in order])
    table = parquet.read_table(other)
    parquet.write_table(table.select(["p_dog", "name", "p_owl", "label", "p_cat"]), other)
    one, two = read_aligned([first, other])
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    assert two.class_names == NAMES


def test_predicted_classes_become_certain_probabilities(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(20, 3)
    first = write(tmp_path / "a.parquet", labels, probabilities, None)
    chosen = [NAMES[k] for k in probabilities.argmax(axis=1)]
    parquet.write_table(pa.table({"label": [NAMES[k] for k in labels], "prediction": chosen}), tmp_path / "b.parquet")
    _, two = read_aligned([first, tmp_path / "b.parquet"])
    np.testing.assert_array_equal(two.probabilities.argmax(axis=1), probabilities.argmax(axis=1))
    assert not two.has_probabilities


def test_files_about_other_rows_are_refused(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(30, 3)
    names = [str(row) for row in range(30)]
    first = write(tmp_path / "a.parquet", labels, probabilities, names)
    shorter = write(tmp_path / "b.parquet", labels[:20], probabilities[:20], names[:20])
    renamed = write(tmp_path / "c.parquet", labels, probabilities, [*names[:-1], "x"])
    relabelled = write(tmp_path / "d.parquet", (labels + 1) % 3, probabilities, names)
    for other, what in (
        (shorter, "have 30 and 20 rows"),
        (renamed, "name other rows (such as '29')"),
        (relabelled, "disagree on the label of 30 rows, first of row 1"),
    ):
        with pytest.raises(InputError) as caught:
            read_aligned([first, other])
        assert str(caught.value) == (
            f"{first} and {other} {what}; expected predictions of both models for the same rows; predict the same "
            "data with both, or evaluate each on its own."
        )


def test_other_classes_are_named(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(30, 3)
    first = write(tmp_path / "a.parquet", labels, probabilities, None)
    other = write(tmp_path / "b.parquet", labels, probabilities, None, p_emu=np.zeros(30))
    with pytest.raises(InputError, match="know other classes \\(emu in one of them only\\)"):
        read_aligned([first, other])
