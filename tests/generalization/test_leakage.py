import numpy as np
import pytest

from trimtab.data import open_source
from trimtab.generalization.leakage import leakage_finding, removed_mistakes
from trimtab.generalization.single_columns import bins, single_column_probabilities


def with_column(make_table, dataset, name, values):
    return make_table({**dataset.table.columns, name: values}, dataset.labels)


def test_a_copy_of_the_answer_is_critical(make_table, blobs):
    hard = blobs(800, distance=0.3)
    rng = np.random.default_rng(0)
    answer = hard.labels + 0.1 * rng.normal(size=800)
    finding = leakage_finding(with_column(make_table, hard, "refund", answer))
    assert (finding.state, finding.severity) == ("found", "critical")
    assert finding.evidence["suspicious"] == ["refund"]
    assert finding.value > 0.95
    assert finding.summary.endswith("points more than all other columns together.")
    assert finding.low > 0.8


def test_an_answer_in_two_columns_is_found_too(make_table, blobs):
    hard = blobs(800, distance=0.3)
    twice = with_column(make_table, hard, "one", hard.labels * 3.0)
    twice = with_column(make_table, twice, "two", np.where(hard.labels == 1, "x", "y").astype(object))
    assert set(leakage_finding(twice).evidence["suspicious"]) == {"one", "two"}


def test_a_column_empty_until_the_answer_is_known_leaks(make_table, blobs):
    hard = blobs(800, distance=0.3)
    reason = np.where(hard.labels == 1, np.random.default_rng(0).normal(size=800), np.nan)
    assert leakage_finding(with_column(make_table, hard, "reason", reason)).severity == "critical"


@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_easy_problems_do_not_leak(name):
    assert leakage_finding(open_source(name).load()).state == "not found"


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.5, 4.0])
def test_clean_columns_do_not_leak(blobs, distance):
    for seed in range(5):
        assert leakage_finding(blobs(600, distance=distance, seed=seed)).state == "not found"


def test_where_several_columns_predict_everything_none_is_named(blobs):
    finding = leakage_finding(blobs(600, distance=8.0))
    assert finding.summary.endswith("the others together do as well without it.")


@pytest.mark.parametrize(("name", "is_found"), [("patient_id", True), ("userId", True), ("valid", False)])
def test_an_identifier_that_tells_the_classes_apart_is_a_warning(make_table, blobs, name, is_found):
    hard = blobs(800, distance=0.5)
    values = np.sort(np.random.default_rng(0).integers(0, 300, 800)).astype(float)
    order = np.argsort(hard.labels + 0.9 * np.random.default_rng(1).random(800) * 2)
    numbers = np.empty(800)
    numbers[order] = values
    finding = leakage_finding(with_column(make_table, hard, name, numbers))
    assert (finding.state == "found") == is_found
    if is_found:
        assert finding.severity == "warning"
        assert finding.evidence["identifiers"] == [name]


def test_an_identifier_that_tells_nothing_is_no_finding(make_table, blobs):
    hard = blobs(800, distance=0.5)
    numbers = np.random.default_rng(5).integers(0, 300, 800).astype(float)
    assert leakage_finding(with_column(make_table, hard, "patient_id", numbers)).state == "not found"


def test_pictures_have_no_columns():
    assert leakage_finding(open_source("digits").load()).state == "not applicable"


def test_bins_hold_equal_numbers_and_missing_values_have_their_own():
    values = np.random.default_rng(0).normal(size=6300)
    values[:300] = np.nan
    found = bins(values)
    assert np.bincount(found)[-1] == 300
    assert np.bincount(found)[:-2].max() < 1.5 * np.bincount(found)[:-2].min()


def test_rare_categories_share_a_bin():
    values = np.array([f"v{row}" for row in range(200)] + ["v0"] * 50, dtype=object)
    found = bins(values)
    assert found.max() == 63
    assert (found[200:] == 0).all()


def test_probabilities_of_one_column_sum_to_one_and_miss_the_own_row(blobs):
    dataset = blobs(60)
    for found in single_column_probabilities(dataset.table, dataset.labels, 2).values():
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert (found < 1).all()


def test_guessing_removes_no_mistakes():
    labels = np.repeat([0, 1], [70, 30])
    found = removed_mistakes(labels, np.tile([0.7, 0.3], (100, 1)))
    assert found.value == pytest.approx(0)
    assert found.low < 0 < found.high
