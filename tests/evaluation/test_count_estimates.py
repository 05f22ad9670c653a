"""Matthews' correlation and Cohen's kappa: scikit-learn's values, intervals that hold them, and the edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import cohen_kappa_score, matthews_corrcoef

from trimtab.evaluation import count_metrics
from trimtab.evaluation.count_estimates import count_estimates
from trimtab.evaluation.counts import ClassCounts
from trimtab.evaluation.intervals import Estimate
from trimtab.evaluation.statistics import Statistics


def matthews_corrcoef_of(confusion: np.ndarray) -> np.ndarray:
    return count_metrics.matthews_corrcoef_of(ClassCounts.of(confusion))


def cohen_kappa_of(confusion: np.ndarray) -> np.ndarray:
    return count_metrics.cohen_kappa_of(ClassCounts.of(confusion))


def agreement_intervals(confusion: np.ndarray, *, level: float, seed: int) -> dict[str, Estimate]:
    names = tuple(str(k) for k in range(len(confusion)))
    statistics = Statistics(class_names=names, confusion=confusion, scores=None, rows=None)
    estimates = count_estimates(statistics, level=level, seed=seed)
    return {name: estimates[name] for name in NAMES}


NAMES = ("matthews_corrcoef", "cohen_kappa")
METRICS = {"matthews_corrcoef": matthews_corrcoef_of, "cohen_kappa": cohen_kappa_of}
square = (
    st.integers(2, 6)
    .flatmap(lambda k: hnp.arrays(np.int64, (k, k), elements=st.integers(0, 40)))
    .filter(lambda confusion: confusion.sum() > 0)
)


def rows_of(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, predictions = np.indices(confusion.shape)
    return np.repeat(labels.ravel(), confusion.ravel()), np.repeat(predictions.ravel(), confusion.ravel())


@given(square)
def test_values_equal_scikit_learn_where_it_defines_them(confusion: np.ndarray) -> None:
    labels, predictions = rows_of(confusion)
    one_label, one_prediction = len(np.unique(labels)) < 2, len(np.unique(predictions)) < 2
    correlation, kappa = float(matthews_corrcoef_of(confusion)), float(cohen_kappa_of(confusion))
    assert math.isnan(correlation) == (one_label or one_prediction)
    assert math.isnan(kappa) == (one_label and one_prediction and set(labels) == set(predictions))
    if not math.isnan(correlation):
        assert correlation == pytest.approx(matthews_corrcoef(labels, predictions), abs=1e-12)
    if not math.isnan(kappa):
        assert kappa == pytest.approx(cohen_kappa_score(labels, predictions), abs=1e-12)


@given(square)
def test_agreement_of_both_sides_is_that_of_the_sides_exchanged(confusion: np.ndarray) -> None:
    for metric in METRICS.values():
        np.testing.assert_allclose(metric(confusion), metric(confusion.T), atol=1e-12)


@pytest.mark.parametrize("metric", METRICS.values())
def test_leading_axes_are_one_matrix_each(metric: Callable[[np.ndarray], np.ndarray]) -> None:
    confusions = np.random.default_rng(0).integers(30, size=(2, 3, 4, 4))
    assert metric(confusions).shape == (2, 3)
    assert metric(confusions)[1, 2] == metric(confusions[1, 2])


def test_chance_is_zero_and_perfection_one() -> None:
    by_chance = np.outer([10, 30, 60], [20, 30, 50])
    for metric in METRICS.values():
        assert float(metric(by_chance)) == pytest.approx(0, abs=1e-15)
        assert float(metric(np.diag([3, 5, 9]))) == pytest.approx(1)


def test_every_bit_counts_at_ten_billion_rows() -> None:
    confusion = np.array([[9_999_999_000, 400], [100, 500]])
    shares = confusion / confusion.sum()
    assert float(matthews_corrcoef_of(confusion)) == pytest.approx(float(matthews_corrcoef_of(shares)), rel=1e-6)
    assert 0.5 < float(matthews_corrcoef_of(confusion)) < 0.8


@given(square, st.sampled_from([0.8, 0.95, 0.992]))
def test_intervals_hold_the_value_and_have_a_width(confusion: np.ndarray, level: float) -> None:
    estimates = agreement_intervals(confusion, level=level, seed=0)
    for name in NAMES:
        estimate = estimates[name]
        assert estimate.level == level
        if estimate.value is None:
            assert estimate.method.startswith("undefined: ")
        else:
            assert -1 <= estimate.low <= estimate.value + 1e-12
            assert estimate.value - 1e-12 <= estimate.high <= 1
            assert estimate.high - estimate.low > 1e-4


def test_undefined_values_say_why() -> None:
    constant = agreement_intervals(np.array([[9, 0], [3, 0]]), level=0.95, seed=0)
    assert constant["matthews_corrcoef"].method == "undefined: all labels, or all predictions, are of one class"
    assert constant["cohen_kappa"].value == 0
    alone = agreement_intervals(np.array([[9, 0], [0, 0]]), level=0.95, seed=0)
    assert alone["cohen_kappa"].method == "undefined: all labels and all predictions are of the same class"


def test_classes_without_rows_change_nothing() -> None:
    confusion = np.array([[30, 2, 0], [4, 20, 0], [0, 0, 0]])
    assert agreement_intervals(confusion, level=0.95, seed=3) == agreement_intervals(
        confusion[:2, :2], level=0.95, seed=3
    )


def test_without_an_error_the_bound_is_that_of_the_share_of_errors() -> None:
    estimate = agreement_intervals(np.diag([50, 50, 100]), level=0.95, seed=0)["cohen_kappa"]
    wrong_by_chance = 1 - (0.25**2 + 0.25**2 + 0.5**2)
    assert estimate.low == pytest.approx(1 - (1 - 0.05 ** (1 / 200)) / wrong_by_chance)
    assert (estimate.value, estimate.high) == (1.0, 1.0)


def test_delta_method_agrees_with_resampling(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    confusion = random.poisson(3, size=(6, 6)) + np.diag(random.integers(40, 90, size=6))
    resampled = agreement_intervals(confusion, level=0.95, seed=0)
    monkeypatch.setattr("trimtab.evaluation.resampling._LARGEST_RESAMPLED", 5)
    delta = agreement_intervals(confusion, level=0.95, seed=0)
    for name in NAMES:
        assert "delta" in delta[name].method
        assert width(delta[name]) == pytest.approx(width(resampled[name]), rel=0.1)


def width(estimate: Estimate) -> float:
    return estimate.high - estimate.low


@pytest.mark.parametrize(
    "shares",
    [
        [[0.85, 0.05], [0.02, 0.08]],
        [[0.985, 0.005], [0.005, 0.005]],
        [[0.28, 0.03, 0.02], [0.04, 0.3, 0.01], [0.01, 0.01, 0.3]],
    ],
)
def test_intervals_hold_the_true_value_as_often_as_they_say(shares: list[list[float]]) -> None:
    cells, repeats, rows = np.array(shares), 300, 300
    draws = np.random.default_rng(5).multinomial(rows, cells.ravel(), size=repeats).reshape(-1, *cells.shape)
    hits = dict.fromkeys(NAMES, 0)
    for seed, drawn in enumerate(draws):
        for name, estimate in agreement_intervals(drawn, level=0.95, seed=seed).items():
            truth = float(METRICS[name](cells))
            hits[name] += estimate.value is None or estimate.low <= truth <= estimate.high
    for name in NAMES:
        assert hits[name] / repeats == pytest.approx(0.95, abs=0.045), name
