"""What is shown is there: intervals and tests of gains that are paired by row and by seed."""

import math

import numpy as np
import pytest
from scipy import stats

from trimtab.generalization.gains import Gain, SeedNoise, judge_together, mean_gain


def drawn(rng, *, trials, seeds=3, rows=150, effect=0.0, of_seed=0.05, of_row=0.5, of_both=0.0):
    """Differences of some trials to one baseline, float64 [S, N] each, as trainings give them."""

    def trained():
        return rng.normal(0, of_seed, seeds)[:, None] + rng.normal(0, of_both, (seeds, rows))

    base = trained()
    return [effect + base + trained() + rng.normal(0, of_row, rows) for _ in range(trials)]


def shown(differences):
    noise = SeedNoise.of(differences)
    return judge_together([mean_gain(each, noise) for each in differences])


def test_without_seeds_it_is_the_paired_t_test():
    differences = np.random.default_rng(0).normal(0.1, 1, 40)
    gain = mean_gain(differences[None], None)
    expected = stats.ttest_1samp(differences, 0)
    assert gain.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    assert gain.value - gain.reach(0.95) == pytest.approx(expected.confidence_interval(0.95).low, abs=1e-4)


def test_units_of_one_row_are_rows_and_copies_of_rows_tell_nothing_new():
    differences = np.random.default_rng(1).normal(0.1, 1, (1, 40))
    alone = mean_gain(differences, None)
    assert mean_gain(differences, None, units=np.arange(40)).error == pytest.approx(alone.error)
    doubled = mean_gain(np.repeat(differences, 2, axis=1), None, units=np.repeat(np.arange(40), 2))
    assert doubled.error == pytest.approx(alone.error)


@pytest.mark.parametrize(
    "spreads",
    [
        {"of_seed": 0.05, "of_row": 0.5},
        {"of_seed": 0.2, "of_row": 0.1},
        {"of_seed": 0.0, "of_row": 0.2, "of_both": 0.5},
        {"of_seed": 0.05, "of_row": 0.2, "of_both": 0.5},
        {"of_seed": 0.05, "of_row": 0.0, "of_both": 0.3, "seeds": 2},
    ],
)
def test_hardly_ever_is_anything_shown_where_nothing_is_gained(spreads):
    rng = np.random.default_rng(2)
    alarms = [any(verdict.is_shown for verdict in shown(drawn(rng, trials=6, **spreads))) for _ in range(150)]
    assert np.mean(alarms) <= 0.05


def test_rows_alone_would_take_the_luck_of_seeds_for_a_gain():
    rng = np.random.default_rng(3)
    trials = [drawn(rng, trials=1, of_seed=0.2, of_row=0.1)[0] for _ in range(150)]
    assert np.mean([mean_gain(trial, None).p_value < 0.05 for trial in trials]) > 0.5


def test_the_error_is_that_of_the_mean_over_rows_and_seeds():
    rng = np.random.default_rng(4)
    spreads = {"of_seed": 0.05, "of_row": 0.2, "of_both": 0.6}
    families = [drawn(rng, trials=6, **spreads) for _ in range(150)]
    errors = [mean_gain(family[0], SeedNoise.of(family)).error for family in families]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(
        np.std([family[0].mean() for family in families]), rel=0.2
    )


def test_a_large_gain_is_shown():
    rng = np.random.default_rng(4)
    found = [shown(drawn(rng, trials=6, effect=0.4)) for _ in range(50)]
    assert np.mean([verdict.is_shown for verdicts in found for verdict in verdicts]) > 0.9


def test_the_noise_of_seeds_is_pooled_over_trials():
    rng = np.random.default_rng(5)
    found = [SeedNoise.of(drawn(rng, trials=8, rows=2, of_row=0.0)).variance for _ in range(200)]
    assert np.mean(found) == pytest.approx(2 * 0.05**2, rel=0.15)


def test_one_seed_says_nothing_about_seeds():
    noise = SeedNoise.of([np.zeros((1, 5))])
    assert math.isinf(noise.variance)
    assert mean_gain(np.ones((1, 5)), noise).p_value == 1
    assert judge_together([mean_gain(np.ones((1, 5)), noise)])[0].low is None


def test_a_gain_is_shown_exactly_when_its_interval_is_above_zero():
    rng = np.random.default_rng(6)
    for _ in range(200):
        gains = [Gain(value=rng.normal(0.2, 0.1), error=0.07, freedom=rng.integers(3, 200)) for _ in range(5)]
        for gain, verdict in zip(gains, judge_together(gains), strict=True):
            assert verdict.is_shown == (verdict.low > 0) == (verdict.p_value <= 0.05 and gain.value > 0)


def test_a_loss_is_never_shown_as_a_gain():
    verdict = judge_together([Gain(value=-1.0, error=0.01, freedom=100)])[0]
    assert not verdict.is_shown
    assert verdict.high < 0


def test_another_test_has_to_agree():
    gain = Gain(value=1.0, error=0.1, freedom=100)
    assert judge_together([gain])[0].is_shown
    doubtful = Gain(value=1.0, error=0.1, freedom=100, p_value_at_least=0.3)
    assert judge_together([doubtful])[0].low == 0
