"""Temperature scaling: the fit is the optimum, the choice keeps what helps new rows and refuses what is not shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import t as student

from trimtab.evaluation import log_loss
from trimtab.evaluation.temperature import (
    HIGHEST,
    LOWEST,
    TemperatureChoice,
    apply_temperature,
    choose_temperature,
    fit_temperature,
)


def make_logits(rows: int, *, classes: int = 4, sharpness: float = 1.0, seed: int = 0):
    """Labels drawn from the softmax of logits, and those logits times ``sharpness``: the true temperature."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((rows, classes))
    labels = (softmax(logits, axis=1).cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return logits * sharpness, labels


def make_probabilities(rows: int, **options):
    logits, labels = make_logits(rows, **options)
    return softmax(logits, axis=1).astype(np.float32), labels


def loss_at(inverse: float, logits, labels) -> float:
    return -log_softmax(logits * inverse, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 1.7, 4.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_the_fitted_temperature_has_the_smallest_loss(sharpness, classes):
    logits, labels = make_logits(400, classes=classes, sharpness=sharpness)
    best = minimize_scalar(loss_at, args=(logits, labels), bounds=(0.1, 10), method="bounded", options={"xatol": 1e-12})
    assert fit_temperature(logits, labels) == pytest.approx(1 / best.x, rel=1e-6)


@pytest.mark.parametrize("start", [LOWEST, 0.5, 9.0])
def test_the_start_does_not_matter(start):
    logits, labels = make_logits(300, sharpness=2.0)
    assert fit_temperature(logits, labels, start=start) == pytest.approx(fit_temperature(logits, labels), rel=1e-8)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_true_temperature_is_found(sharpness):
    logits, labels = make_logits(40_000, sharpness=sharpness)
    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.03)


def test_log_probabilities_serve_as_logits():
    logits, labels = make_logits(300)
    shifted = log_softmax(logits, axis=1)
    assert fit_temperature(shifted, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-9)


def test_rows_without_a_mistake_lead_to_the_lower_bound_and_useless_ones_to_the_upper():
    logits, _ = make_logits(50)
    assert fit_temperature(logits, logits.argmax(axis=1)) == LOWEST
    assert fit_temperature(logits, logits.argmin(axis=1)) == HIGHEST


def test_logits_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match=r"^the logits hold NaN or infinity, or no row; expected finite float"):
        fit_temperature(np.array([[0.0, np.nan]]), np.array([0]))


@given(st.floats(0.1, 10), st.integers(2, 6), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_applying_is_the_softmax_of_the_divided_logits(temperature, classes, seed):
    logits, _ = make_logits(20, classes=classes, seed=seed)
    applied = apply_temperature(softmax(logits, axis=1), temperature)
    np.testing.assert_allclose(applied, softmax(logits / temperature, axis=1), rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(applied.argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(apply_temperature(applied, 1 / temperature), softmax(logits, axis=1), rtol=1e-6)


def test_applying_keeps_the_dtype_zeros_and_at_one_every_bit():
    probabilities = np.array([[0.0, 0.25, 0.75], [0.0, 0.0, 1.0]], np.float32)
    softer = apply_temperature(probabilities, 2.0)
    assert softer.dtype == np.float32
    np.testing.assert_allclose(softer, [[0, 1 / (1 + 3**0.5), 3**0.5 / (1 + 3**0.5)], [0, 0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(apply_temperature(probabilities, 1.0), probabilities)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.inf, np.nan])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(ValueError, match=r"^the temperature is .*; expected a number above 0; 1 changes nothing\.$"):
        apply_temperature(np.array([[0.5, 0.5]]), temperature)


@pytest.mark.parametrize("sharpness", [0.5, 2.5])
def test_a_temperature_that_helps_is_kept_and_helps_new_rows(sharpness):
    choice = choose_temperature(*make_probabilities(1000, sharpness=sharpness), seed=0)
    assert choice.is_kept
    assert choice.temperature == choice.fitted_temperature == pytest.approx(sharpness, rel=0.2)
    assert choice.high < 0
    assert choice.p_value < 0.05
    assert choice.log_loss_after - choice.log_loss_before == pytest.approx(choice.difference)
    assert choice.reason.startswith("log loss on held-out validation rows ")
    new, labels = make_probabilities(20_000, sharpness=sharpness, seed=1)
    assert log_loss(labels, apply_temperature(new, choice.temperature)) < log_loss(labels, new)


def test_a_calibrated_model_is_left_alone():
    """The share of needless temperatures stays below the one-sided size of the test."""
    kept = [choose_temperature(*make_probabilities(300, seed=seed), seed=seed) for seed in range(120)]
    assert sum(choice.is_kept for choice in kept) <= 5
    assert all(choice.temperature == 1 and choice.reason.startswith("no significant gain, ") for choice in kept[:3])
    assert all(0.5 < choice.fitted_temperature < 2 for choice in kept)


def test_the_figures_are_those_of_a_plain_loop():
    probabilities, labels = make_probabilities(200, sharpness=1.4)
    choice = choose_temperature(probabilities, labels, seed=3)
    assert choice.log_loss_before == pytest.approx(log_loss(labels, probabilities), rel=1e-6)
    error = (choice.high - choice.low) / 2 / student.ppf(0.975, 199)
    assert choice.p_value == pytest.approx(2 * student.sf(abs(choice.difference) / error, 199), rel=1e-3)
    assert choice.difference == pytest.approx((choice.high + choice.low) / 2)


def test_no_row_judges_a_temperature_that_it_fitted():
    """Held-out losses are above those of the fit on all rows, which is the best that one temperature can do."""
    probabilities, labels = make_probabilities(400)
    choice = choose_temperature(probabilities, labels, seed=0)
    fitted_on_all = log_loss(labels, apply_temperature(probabilities, choice.fitted_temperature))
    assert choice.log_loss_after > fitted_on_all


def test_copies_of_rows_add_no_evidence_when_they_are_grouped():
    probabilities, labels = make_probabilities(150, sharpness=1.6)
    single = choose_temperature(probabilities, labels, seed=0)
    copies, names = (np.repeat(array, 8, axis=0) for array in (probabilities, labels))
    groups = np.repeat(np.arange(150) * 7 - 3, 8)  # any integers
    grouped = choose_temperature(copies, names, groups=groups, seed=0)
    alone = choose_temperature(copies, names, seed=0)
    assert grouped.high - grouped.low == pytest.approx(single.high - single.low, rel=0.1)
    assert alone.high - alone.low < 0.5 * (grouped.high - grouped.low)
    assert grouped.method == "paired t test over 150 groups, 5 folds"


@pytest.mark.parametrize(
    ("rows", "groups", "reason"),
    [
        (99, None, "99 validation rows are too few, at least 100 are needed"),
        (200, 4, "4 groups of validation rows are too few, at least 10 are needed"),
    ],
)
def test_too_little_evidence_is_refused(rows, groups, reason):
    probabilities, labels = make_probabilities(rows, sharpness=3.0)
    groups = None if groups is None else np.arange(rows) % groups
    choice = choose_temperature(probabilities, labels, groups=groups, seed=0)
    assert (choice.temperature, choice.is_kept, choice.reason) == (1.0, False, reason)
    assert choice.fitted_temperature is choice.p_value is choice.log_loss_after is None
    assert choice.log_loss_before > 0


def test_few_mistakes_are_no_evidence():
    probabilities, _ = make_probabilities(500)
    labels = probabilities.argmax(axis=1)
    labels[:19] = (labels[:19] + 1) % 4
    choice = choose_temperature(probabilities, labels, seed=0)
    assert choice.reason == "19 validation rows predicted wrong are too few, at least 20 are needed"
    assert choice.temperature == 1


def test_a_temperature_at_the_bound_is_not_used():
    probabilities, _ = make_probabilities(300)
    choice = choose_temperature(probabilities, probabilities.argmin(axis=1), seed=0)
    assert (choice.temperature, choice.fitted_temperature) == (1.0, HIGHEST)
    assert choice.reason == "it lies at the bound of the search: the validation rows do not determine it"


def test_a_rare_class_and_probabilities_of_zero_and_one_are_no_obstacle():
    probabilities, labels = make_probabilities(400, sharpness=3.0)
    wider = np.concatenate([probabilities, np.zeros((400, 2), np.float32)], axis=1)
    wider[:5] = np.eye(6, dtype=np.float32)[[0, 1, 2, 3, 4]]
    labels[:5] = [4, 1, 2, 0, 4]
    choice = choose_temperature(wider, labels, seed=0)
    assert choice.is_kept
    assert np.isfinite([choice.difference, choice.low, choice.high, choice.log_loss_after]).all()


def test_the_same_seed_gives_the_same_choice_and_it_survives_a_dict():
    data = make_probabilities(300, sharpness=2.0)
    choice = choose_temperature(*data, seed=5)
    assert choose_temperature(*data, seed=5) == choice
    assert choose_temperature(*data, seed=6).log_loss_after != choice.log_loss_after
    assert TemperatureChoice.from_dict({**choice.to_dict(), "event": "calibrated"}) == choice


def test_groups_of_another_length_are_refused():
    with pytest.raises(
        ValueError, match=r"^groups have shape \(3,\); expected \(200,\); give the group of each row\.$"
    ):
        choose_temperature(*make_probabilities(200), groups=np.arange(3), seed=0)
