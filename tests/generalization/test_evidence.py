"""A row has no say in what it judges; gaps and signals are there when they are, and not when they are not."""

import numpy as np
import pytest

from trimtab.generalization.evidence import best_epoch, gap_of, judge, judge_fixed, log_softmax, signal_of


def answers(rng, labels, *, epochs=4, classes=3, strength=1.0):
    """Logits [E, N, K] that know the labels a little better at each epoch."""
    own = np.eye(classes)[labels] * strength
    return np.stack(
        [rng.normal(size=(len(labels), classes)) + own * (epoch + 1) for epoch in range(epochs)]
    ).astype(np.float32)  # fmt: skip


@pytest.fixture
def labels():
    return np.arange(300) % 3


@pytest.fixture
def folds():
    return np.arange(300) // 60


def test_the_best_weights_are_chosen(labels, folds):
    judged = judge(answers(np.random.default_rng(0), labels), labels, folds)
    assert set(judged.epochs) == {3}
    assert judged.usual_epoch == 3
    assert best_epoch(answers(np.random.default_rng(0), labels), labels) == 3


def test_a_row_has_no_say_in_the_weights_that_it_judges(labels, folds):
    rng = np.random.default_rng(1)
    recorded = np.zeros((2, 300, 3), np.float32)
    recorded[0] = rng.normal(size=(300, 3))
    recorded[1] = recorded[0]
    recorded[1, folds == 0] = 20 * np.eye(3)[labels[folds == 0]]  # good for the first fold alone
    recorded[0, folds != 0] += 0.1 * np.eye(3)[labels[folds != 0]]
    judged = judge(recorded, labels, folds)
    assert set(judged.epochs[folds == 0]) == {0}


def test_without_anything_to_choose_the_judgment_is_no_better_than_chance(labels, folds):
    losses = []
    for seed in range(15):
        recorded = np.random.default_rng(seed).normal(size=(30, 300, 3)).astype(np.float32)
        losses.append(judge(recorded, labels, folds).losses.mean())
    assert np.mean(losses) > np.log(3)


def test_sureness_alone_changes_little(labels, folds):
    recorded = answers(np.random.default_rng(2), labels, epochs=1)
    plain, sure = judge(recorded, labels, folds), judge(4 * recorded, labels, folds)
    assert sure.raw_losses.mean() > 1.5 * plain.raw_losses.mean()
    assert sure.losses.mean() == pytest.approx(plain.losses.mean(), abs=0.01)


def test_weights_that_are_no_numbers_are_not_chosen(labels, folds):
    recorded = answers(np.random.default_rng(3), labels)
    recorded[3] = np.nan
    assert set(judge(recorded, labels, folds).epochs) == {2}


def test_losses_end_where_float32_does(labels, folds):
    recorded = np.zeros((1, 300, 3), np.float32)
    recorded[0, 0, 1] = 1e4
    assert judge(recorded, labels, folds).losses.max() < 16


def test_fixed_probabilities_are_judged_as_they_are(labels):
    logits = answers(np.random.default_rng(4), labels)[0]
    judged = judge_fixed(np.exp(log_softmax(logits)), labels)
    assert judged.losses == pytest.approx(-log_softmax(logits)[np.arange(300), labels])
    assert (judged.is_right == (logits.argmax(1) == labels)).all()


def test_a_gap_is_seen_where_training_rows_are_known_by_heart(labels, folds):
    rng = np.random.default_rng(5)
    judged = judge(answers(rng, labels), labels, folds)
    by_heart = gap_of([judged], [answers(rng, labels, strength=9.0)], labels)
    assert by_heart.is_there
    assert by_heart.share > 0.5
    alike = gap_of([judged], [answers(rng, labels)], labels)
    assert not alike.is_there


def test_signal_is_seen_where_it_is(labels):
    logits = answers(np.random.default_rng(6), labels)[0]
    signal = signal_of(log_softmax(logits), labels, rng=np.random.default_rng(0))
    assert signal.p_value < 0.001
    assert signal.estimate.low > 0


def test_without_signal_alarms_come_at_their_rate():
    rng = np.random.default_rng(7)
    p_values = []
    for _ in range(80):
        labels = rng.choice(3, 40, p=[0.7, 0.2, 0.1])
        biased = log_softmax(3 * rng.normal(size=(40, 3)) + [4.0, 0, 0])  # sure, and of one class most of all
        p_values.append(signal_of(biased, labels, rng=rng).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.12)


def test_rows_of_a_group_count_once(labels):
    logits = np.repeat(answers(np.random.default_rng(8), labels[:30], strength=0.2)[0], 10, axis=0)
    own, units = np.repeat(labels[:30], 10), np.repeat(np.arange(30), 10)
    rng = np.random.default_rng(0)
    alone = signal_of(log_softmax(logits), own, rng=rng)
    together = signal_of(log_softmax(logits), own, units=units, rng=rng)
    assert together.p_value > alone.p_value
    assert together.estimate.value == pytest.approx(alone.estimate.value)
