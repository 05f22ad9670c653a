import re

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from trimtab.artifact import Artifact
from trimtab.errors import InputError, IntegrityError
from trimtab.generalization.candidates import on_common_rows, read_candidates

CLASSES = ("cat", "dog", "emu")


def written(directory, folds):
    """Write folds, given as {number: (repeat, rows held out)}, with artifacts and predictions that say their fold."""
    (directory / "data" / "folds").mkdir(parents=True)
    (directory / "evaluation").mkdir()
    columns = {name: [] for name in ("row", "fold", "label", *(f"p_{name}" for name in CLASSES))}
    for number, (_, held_out) in folds.items():
        Artifact(
            builder="mlp",
            kwargs={},
            arrays={"weight": np.full(250_000 // len(folds), number, np.float32)},
            meta={"class_names": list(CLASSES)},
        ).save(directory / "folds" / f"{number:02d}" / "model")
        np.savez(directory / "data" / "folds" / f"{number:02d}.npz", train=[], test=held_out)
        for row in reversed(held_out):
            values = (row, number, CLASSES[row % 3], 0.5, number / 100, 0.5 - number / 100)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    entries = [{"number": number, "repeat": repeat} for number, (repeat, _) in folds.items()]
    text = str({"format": "trimtab-folds/1", "kind": "stratified", "folds": entries}).replace("'", '"')
    (directory / "data" / "folds.json").write_text(text)
    parquet.write_table(pa.table(columns), directory / "evaluation" / "out_of_fold.parquet")
    return directory


@pytest.fixture
def twice(tmp_path):
    """Two repeats of two folds over the rows 0 to 5."""
    folds = {1: (1, [0, 2, 4]), 2: (1, [1, 3, 5]), 3: (2, [0, 1, 2]), 4: (2, [3, 4, 5])}
    return written(tmp_path / "photos-cv", folds)


def test_each_repeat_is_a_candidate_with_the_answers_of_its_folds(twice):
    first, second = read_candidates(twice)
    assert (first.name, second.name) == ("photos-cv repeat 1", "photos-cv repeat 2")
    assert [model.parent.name for model in first.models] == ["01", "02"]
    assert [model.parent.name for model in second.models] == ["03", "04"]
    np.testing.assert_array_equal(first.rows, np.arange(6))
    np.testing.assert_array_equal(first.labels, np.arange(6) % 3)
    np.testing.assert_allclose(first.probabilities[:, 1], [0.01, 0.02] * 3)
    np.testing.assert_allclose(second.probabilities[:, 1], [0.03] * 3 + [0.04] * 3)
    assert first.probabilities.dtype == np.float32
    assert first.class_names == CLASSES


def test_a_candidate_is_as_large_as_all_its_models(twice):
    first, second = read_candidates(twice)
    assert first.megabytes == second.megabytes == pytest.approx(0.5, rel=0.01)


def test_candidates_know_whether_their_folds_hold_out_the_same_rows(twice, tmp_path):
    first, second = read_candidates(twice)
    (other,) = read_candidates(written(tmp_path / "other-cv", {1: (1, [0, 2, 4]), 2: (1, [1, 3, 5])}))
    assert other.name == "other-cv"
    assert first.has_folds_of(other)
    assert not second.has_folds_of(other)


def test_averages_of_weights_that_every_fold_kept_are_candidates_without_answers(tmp_path):
    directory = written(tmp_path / "cv", {1: (1, [0, 1]), 2: (1, [2, 3])})
    for number in ("01", "02"):
        Artifact.load(directory / "folds" / number / "model").save(directory / "folds" / number / "ema")
    Artifact.load(directory / "folds" / "01" / "model").save(directory / "folds" / "01" / "odd")
    names = [(each.name, each.probabilities is None) for each in read_candidates(directory)]
    assert names == [("cv", False), ("cv ema", True)]


def test_predictions_of_other_rows_than_the_folds_are_refused(twice):
    np.savez(twice / "data" / "folds" / "01.npz", train=[], test=[0, 2, 9])
    with pytest.raises(IntegrityError, match="the out-of-fold predictions are of other rows than the folds"):
        read_candidates(twice)


def test_a_missing_file_is_named(twice):
    (twice / "data" / "folds" / "03.npz").unlink()
    with pytest.raises(IntegrityError, match=r"is not whole \(.*03\.npz.*expected folds, their models and the out-of"):
        read_candidates(twice)


def test_only_rows_that_all_answered_are_compared(tmp_path):
    (first,) = read_candidates(written(tmp_path / "a-cv", {1: (1, [0, 2]), 2: (1, [1, 3])}))
    (second,) = read_candidates(written(tmp_path / "b-cv", {1: (1, [5, 3]), 2: (1, [2])}))
    one, other = on_common_rows([first, second])
    np.testing.assert_array_equal(one.rows, [2, 3])
    np.testing.assert_array_equal(other.labels, [2, 0])
    np.testing.assert_allclose(one.probabilities[:, 1], [0.01, 0.02])
    np.testing.assert_allclose(other.probabilities[:, 1], [0.02, 0.01])


def test_cross_validations_without_a_common_row_are_refused(tmp_path):
    (first,) = read_candidates(written(tmp_path / "a-cv", {1: (1, [0])}))
    (second,) = read_candidates(written(tmp_path / "b-cv", {1: (1, [1])}))
    words = (
        "a-cv and the others hold out no row in common; expected cross-validations over the same rows; "
        "run them on the same data with the same seed."
    )
    with pytest.raises(InputError, match=re.escape(words)):
        on_common_rows([first, second])
