import numpy as np
import pytest

from trimtab.data import open_source
from trimtab.generalization.quick_model import QuickInputs, fold_numbers, out_of_fold, picture_features, quick_inputs


def test_folds_are_alike_in_size_and_classes():
    labels = np.repeat([0, 1, 2], [500, 50, 5])
    number = fold_numbers(labels, 5, seed=0)
    assert np.bincount(number).tolist() == [111] * 5
    assert np.bincount(number[labels == 1]).tolist() == [10] * 5
    assert np.bincount(number[labels == 2]).tolist() == [1] * 5


def test_rows_of_a_unit_are_in_one_fold():
    units = np.random.default_rng(0).integers(0, 40, 300)
    number = fold_numbers(units % 2, 5, seed=0, units=units)
    assert all(len(np.unique(number[units == unit])) == 1 for unit in range(40))


def test_the_quick_model_knows_the_digits():
    digits = open_source("digits").load()
    found = out_of_fold(quick_inputs(digits), digits.labels, 10)
    assert (found.argmax(axis=1) == digits.labels).mean() > 0.93
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("fewest", [10_000, 300])
def test_small_tables_get_logistic_regression_and_others_trees(blobs, monkeypatch, fewest):
    monkeypatch.setattr("trimtab.generalization.quick_model._FEWEST_FOR_TREES", fewest)
    dataset = blobs(500, distance=1.5)
    inputs = quick_inputs(dataset)
    assert inputs.is_linear == (fewest > 500)
    assert (out_of_fold(inputs, dataset.labels, 2).argmax(axis=1) == dataset.labels).mean() > 0.8


@pytest.mark.parametrize("fewest", [10_000, 300])
def test_missing_values_and_categories_are_read(make_table, monkeypatch, fewest):
    monkeypatch.setattr("trimtab.generalization.quick_model._FEWEST_FOR_TREES", fewest)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    columns = {"p": rng.normal(size=400), "q": np.where(labels == 1, "x", "y").astype(object)}
    columns["p"][::3] = np.nan
    dataset = make_table(columns, labels)
    assert (out_of_fold(quick_inputs(dataset), labels, 2).argmax(axis=1) == labels).all()


def test_a_row_is_never_trained_on_for_its_own_probability():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    inputs = QuickInputs(features=rng.normal(size=(300, 100)).astype(np.float32), is_linear=True)
    assert (out_of_fold(inputs, labels, 2).argmax(axis=1) == labels).mean() < 0.62


def test_without_columns_the_shares_of_the_classes_remain(blobs):
    dataset = blobs(100)
    found = out_of_fold(quick_inputs(dataset, without=["p", "q", "r", "s"]), dataset.labels, 2)
    assert found[0, 0] == pytest.approx((dataset.labels == 0).mean(), abs=0.05)


def test_features_of_pictures_do_not_depend_on_how_they_are_cut_into_blocks(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 40, 24, 3), dtype=np.uint8)
    whole = picture_features(images)
    monkeypatch.setattr("trimtab.data.audits.hashes._VALUES", 7 * 40 * 24 * 3)
    np.testing.assert_allclose(picture_features(images), whole, atol=1e-6)
    assert whole.shape == (20, 8 * 8 * 3 + 4 * 4 * 8)
