import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.training import SCHEDULES, Correction, Timeline
from trimtab.training.schedules import learning_rate_factor


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(progress=st.floats(0, 1))
def test_the_learning_rate_stays_between_zero_and_its_peak(schedule, progress):
    assert 0 <= learning_rate_factor(schedule, progress) <= 1


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "constant"])
def test_the_learning_rate_is_zero_at_the_end(schedule):
    assert learning_rate_factor(schedule, 1.0) == 0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_learning_rate_reaches_its_peak(schedule):
    assert max(factors(schedule)) == 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_first_step_has_a_learning_rate(schedule):
    assert learning_rate_factor(schedule, 0.0) > 0


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "constant"])
def test_the_learning_rate_ends_in_a_slope_without_a_jump(schedule):
    steps = [before - after for before, after in itertools.pairwise(factors(schedule))]
    assert max(map(abs, steps)) < 0.03


def factors(schedule):
    return [learning_rate_factor(schedule, progress / 1000) for progress in range(1001)]


def test_one_cycle_has_its_peak_after_a_fifth_of_the_run():
    values = factors("one-cycle")
    assert values.index(1.0) == 200
    assert all(before < after for before, after in itertools.pairwise(values[:201]))
    assert all(before > after for before, after in itertools.pairwise(values[200:]))
    assert learning_rate_factor("one-cycle", 0.6) == pytest.approx(0.5)


def test_warm_up_stable_decay_is_flat_between_its_rise_and_a_linear_fall_over_the_last_fifth():
    values = factors("warm-up-stable-decay")
    assert all(before < after for before, after in itertools.pairwise(values[:51]))
    assert values[50:801] == pytest.approx([1.0] * 751)
    assert learning_rate_factor("warm-up-stable-decay", 0.9) == pytest.approx(0.5)
    assert learning_rate_factor("warm-up-stable-decay", 0.95) == pytest.approx(0.25)


def test_cosine_is_halfway_down_in_the_middle():
    assert learning_rate_factor("cosine", 0.5) == pytest.approx(0.5)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="there is no schedule 'step'; expected one of one-cycle, linear, cosine"):
        learning_rate_factor("step", 0.5)


def timeline(*pairs):
    return Timeline.of(Correction(step=step, total_steps=total, reason="") for step, total in pairs)


def test_without_corrections_progress_is_the_share_of_steps():
    assert [timeline((0, 4)).progress(step) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]


@given(st.integers(1, 500), st.lists(st.tuples(st.integers(1, 400), st.integers(1, 300)), max_size=5))
def test_progress_never_falls_and_ends_at_one(total, changes):
    corrections = [(0, total)]
    for step, more in sorted(changes):
        corrections.append((step, step + more))
    line = timeline(*corrections)
    values = [line.progress(step) for step in range(line.total_steps + 1)]
    assert all(before <= after + 1e-12 for before, after in itertools.pairwise(values))
    assert values[-1] == pytest.approx(1)


def test_progress_is_continuous_where_a_correction_falls():
    before, after = timeline((0, 100)), timeline((0, 100), (50, 60))
    assert before.progress(50) == after.progress(50) == 0.5
    assert after.progress(55) == 0.75


def test_a_run_never_ends_before_the_step_it_is_at():
    line = timeline((0, 100))
    line.correct(40, 10, "late")
    assert line.total_steps == 40
