"""What is said of a cause follows from what its trials have shown."""

import dataclasses

import pytest

from trimtab.evaluation.intervals import Estimate
from trimtab.findings import Trial
from trimtab.generalization.conclusions import Concluded
from trimtab.generalization.diagnosis import (
    Lack,
    find_label_noise,
    find_overfit,
    find_uncalibrated,
    find_underfit,
)
from trimtab.generalization.evidence import Gap, Signal
from trimtab.generalization.observations import find_no_signal, find_test_too_small
from trimtab.generalization.remedies import Remedy

GAP = Gap(training=0.1, held_out=0.5, estimate=Estimate(value=0.4, low=0.3, high=0.5, method="Welch's t"))


def concluded(name, gain, low, *, cause="OVERFIT", training_gain=0.1, accuracy_gain=0.01):
    trial = Trial(
        remedy=name,
        settings={"dropout": 0.4},
        metric="log loss",
        gain=gain,
        low=low,
        high=2 * gain - low,
        p_value=0.01,
        has_helped=low > 0,
        seconds=1.0,
    )
    remedy = Remedy(cause=cause, name=name, settings=trial.settings)
    return Concluded(remedy=remedy, trial=trial, training_gain=training_gain, accuracy_gain=accuracy_gain)


def test_overfitting_is_found_where_a_remedy_helps():
    found = find_overfit([concluded("L1", 0.01, -0.02), concluded("dropout 0.4", 0.05, 0.02)], GAP, untried=1)
    assert (found.state, found.severity) == ("found", "warning")
    assert found.summary == (
        "log loss is 0.1 on training rows and 0.5 on held-out rows, which dropout 0.4 improves on by 0.05 "
        "(0.02 to 0.08); 1 of 2 remedies helps. There was no time for 1 more."
    )
    assert found.remedy == "Train with dropout 0.4."
    assert (found.value, found.low, found.high) == (0.05, 0.02, pytest.approx(0.08))
    assert [trial.remedy for trial in found.trials] == ["L1", "dropout 0.4"]


def test_overfitting_is_not_found_where_none_helps_however_large_the_gap():
    found = find_overfit([concluded("L1", 0.01, -0.02)], GAP, untried=0)
    assert found.state == "not found"
    assert found.summary.endswith("of 1 remedy none is shown to help, the best, L1, by 0.01 (-0.02 to 0.04).")
    assert found.trials


def test_a_small_gap_needs_no_trial():
    assert find_overfit([], GAP, untried=0).state == "not found"
    assert find_overfit([], GAP, untried=3).state == "not checked"


@pytest.mark.parametrize(("gain", "severity"), [(0.01, "note"), (0.1, "warning"), (0.3, "critical")])
def test_the_more_a_remedy_helps_the_more_severe(gain, severity):
    assert find_overfit([concluded("L1", gain, gain / 2)], GAP, untried=0).severity == severity


def test_underfitting_means_that_training_rows_are_learned_better_too():
    helps = concluded("twice the steps", 0.1, 0.05, cause="UNDERFIT")
    assert find_underfit([helps], GAP, untried=0).state == "found"
    other = dataclasses.replace(helps, training_gain=-0.1)
    assert find_underfit([other], GAP, untried=0).state == "not found"
    assert find_underfit([], GAP, untried=0).state == "not found"


def test_label_noise_has_to_help_trusted_rows_and_all():
    arguments = {"suspects": 60, "rows": 400, "listed": "They are listed in s.csv."}
    helps = concluded("likelier labels for suspects", 0.05, 0.02, cause="LABEL_NOISE")
    found = find_label_noise([helps], **arguments)
    assert (found.state, found.severity) == ("found", "critical")
    assert found.remedy.endswith("They are listed in s.csv.")
    assert "60 of 400 training rows (15.0%)" in found.summary
    only_easy_ones = dataclasses.replace(helps, accuracy_gain=-0.01)
    assert find_label_noise([only_easy_ones], **arguments).state == "not found"
    assert find_label_noise([], **arguments).state == "not found"
    lack = Lack("not checked", "there was no time.")
    assert find_label_noise([], **arguments, lack=lack).state == "not checked"


def test_calibration_is_found_where_a_temperature_helps():
    error = Estimate(value=0.1, low=0.05, high=0.15, method="m")
    trial = concluded("temperature 2", 0.05, 0.02, cause="UNCALIBRATED")
    found = find_uncalibrated([trial], error, reason="no gain", without_trial="not found")
    assert found.state == "found"
    assert found.evidence["test_smooth_ece"]["value"] == 0.1
    none = find_uncalibrated([], error, reason="too few rows", without_trial="not applicable")
    assert (none.state, none.summary) == ("not applicable", "too few rows.")


def signal(p_value):
    estimate = Estimate(value=0.02, low=-0.01, high=0.05, method="t")
    return Signal(estimate=estimate, p_value=p_value, method="permutations")


def test_no_signal_is_found_where_none_is_shown():
    found = find_no_signal(signal(0.4), rows=80, answers_of="the run")
    assert (found.state, found.severity) == ("found", "critical")
    assert found.summary == (
        "on 80 held-out rows the true class is not shown to be likelier than one of a random row: 0.02 nats "
        "(-0.01 to 0.05), p = 0.400."
    )
    assert find_no_signal(signal(0.01), rows=80, answers_of="the run").state == "not found"


def test_the_number_of_rows_that_would_do_is_said():
    accuracy = Estimate(value=0.9, low=0.86, high=0.94, method="Wilson")
    found = find_test_too_small(accuracy, rows=200, wanted=0.02)
    assert found.state == "found"
    assert found.evidence["enough_rows"] == 800
    assert found.remedy.startswith("Collect about 600 more rows")
    assert find_test_too_small(accuracy, rows=200, wanted=0.05).state == "not found"
    undefined = Estimate(value=None, low=None, high=None, method="undefined: there are no rows")
    assert find_test_too_small(undefined, rows=0, wanted=0.02).state == "not applicable"
