"""What a cross-validation writes about its folds is read back as it was, and alterations are noticed."""

import json

import numpy as np
import pytest

from trimtab.errors import IntegrityError
from trimtab.evaluation.evaluate_files import evaluate_files
from trimtab.generalization.fold_files import (
    FoldFiles,
    OutOfFold,
    load_folds,
    load_out_of_fold,
    save_folds,
    save_out_of_fold,
)
from trimtab.generalization.folds import Fold, Folding


def rows(*numbers: int):
    return np.array(numbers, dtype=np.int64)


FOLDS = [
    Fold(number=1, repeat=1, train=rows(0, 2, 5), selection=rows(2), test=rows(1, 4)),
    Fold(number=2, repeat=1, train=rows(1, 4, 5), selection=rows(5), test=rows(0, 2)),
]


def test_folds_are_read_back_as_they_were_written(tmp_path):
    save_folds(tmp_path, Folding(kind="stratified", folds=2), FOLDS)
    found = load_folds(tmp_path)
    assert [(fold.number, fold.repeat) for fold in found] == [(1, 1), (2, 1)]
    for one, two in zip(found, FOLDS, strict=True):
        for part in ("train", "selection", "test"):
            np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
    content = json.loads((tmp_path / "data" / "folds.json").read_text())
    assert (content["format"], content["kind"], content["repeats"]) == ("trimtab-folds/1", "stratified", 1)
    first = content["folds"][0]
    assert (first["number"], first["repeat"], first["train_rows"], first["test_rows"]) == (1, 1, 3, 2)
    with np.load(tmp_path / "data" / "folds" / "01.npz", allow_pickle=False) as arrays:
        assert arrays["train"].dtype == np.int64
        assert arrays["test"].tolist() == [1, 4]


def test_altered_rows_are_noticed(tmp_path):
    save_folds(tmp_path, Folding(folds=2), FOLDS)
    np.savez(FoldFiles(tmp_path).rows(2), train=rows(1, 4), selection=rows(5), test=rows(0, 2))
    with pytest.raises(IntegrityError) as caught:
        load_folds(tmp_path)
    assert str(caught.value) == (
        f"the folds in {tmp_path / 'data'} are not those that were written; expected folds.json and folds/NN.npz as "
        "they were saved; restore these files, or cross-validate anew."
    )


def test_missing_rows_are_noticed(tmp_path):
    save_folds(tmp_path, Folding(folds=2), FOLDS)
    FoldFiles(tmp_path).rows(1).unlink()
    with pytest.raises(IntegrityError, match="are not those that were written"):
        load_folds(tmp_path)


@pytest.fixture
def predictions():
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], 6).astype(np.float32)
    return OutOfFold(
        rows=rows(0, 2, 3, 5, 8, 9),
        folds=rows(1, 1, 2, 2, 1, 2),
        labels=rows(2, 0, 1, 1, 0, 2),
        probabilities=probabilities,
        class_names=("ant", "bee", "10"),
        names=[f"row {number}" for number in (1, 3, 4, 6, 9, 10)],
    )


def test_predictions_are_read_back_as_they_were_written(predictions, tmp_path):
    save_out_of_fold(predictions, tmp_path / "out.parquet")
    found = load_out_of_fold(tmp_path / "out.parquet")
    for name in ("rows", "folds", "labels", "probabilities"):
        np.testing.assert_array_equal(getattr(found, name), getattr(predictions, name))
    assert found.labels.dtype == found.rows.dtype == np.int64
    assert (found.class_names, found.names) == (predictions.class_names, predictions.names)


def test_predictions_are_an_ordinary_file_of_predictions(predictions, tmp_path):
    save_out_of_fold(predictions, tmp_path / "out.parquet")
    found = evaluate_files([tmp_path / "out.parquet"])
    right = (predictions.probabilities.argmax(1) == predictions.labels).mean()
    assert (found.rows, found.metrics["accuracy"].value) == (6, pytest.approx(right))


def test_another_file_is_refused(tmp_path):
    (tmp_path / "out.parquet").write_text("nothing of the kind")
    with pytest.raises(IntegrityError) as caught:
        load_out_of_fold(tmp_path / "out.parquet")
    assert str(caught.value) == (
        f"{tmp_path / 'out.parquet'} holds no out-of-fold predictions; expected the columns row, fold, name, label and "
        "p_<class>; restore it, or cross-validate anew."
    )
