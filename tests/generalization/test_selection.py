import re
import time

import numpy as np
import pytest

from trimtab.evaluation import log_loss
from trimtab.generalization.selection import Selection, select_members, true_class_column

CLASSES = 5


def candidates(count: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [M, N, K] of models of different quality, each wrong in a way of its own, and the labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, rows)
    signal = 2.0 * np.eye(CLASSES)[labels]
    logits = random.uniform(0.3, 1.2, (count, 1, 1)) * signal + random.standard_normal((count, rows, CLASSES))
    powers = np.exp(logits)
    return powers / powers.sum(axis=2, keepdims=True), labels


def columns_of(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([true_class_column(each, labels) for each in probabilities])


def plain_selection(probabilities: np.ndarray, labels: np.ndarray, rounds: int) -> tuple[list[int], list[float]]:
    """Caruana's algorithm as it is written down: average all classes, take the log loss of each trial."""
    total, members, losses = np.zeros(probabilities.shape[1:]), [], []
    for size in range(1, rounds + 1):
        found = [log_loss(labels, (total + each) / size) for each in probabilities]
        best = int(np.argmin(found))
        total += probabilities[best]
        members.append(best)
        losses.append(found[best])
    kept = next(number for number, loss in enumerate(losses, 1) if loss <= min(losses) + 1e-12)
    return members[:kept], losses[:kept]


@pytest.mark.parametrize("seed", range(8))
def test_members_and_losses_are_those_of_the_plain_algorithm(seed):
    probabilities, labels = candidates(9, 333, seed)
    members, losses = plain_selection(probabilities, labels, 7)
    found = select_members(columns_of(probabilities, labels), num_classes=CLASSES, members=7)
    assert list(found.members) == members
    np.testing.assert_allclose(found.losses, losses, rtol=1e-12)


def test_a_candidate_may_be_taken_twice_and_then_weighs_twice():
    columns = np.array([[0.9] * 30 + [0.1] * 10, [0.2] * 30 + [0.95] * 10])
    found = select_members(columns, num_classes=2, members=3)
    assert found.members == (0, 1, 0)
    assert found.weights == {0: pytest.approx(2 / 3), 1: pytest.approx(1 / 3)}


def test_rounds_that_make_it_worse_are_undone():
    columns = np.array([[0.9] * 40, [0.1] * 40])
    assert select_members(columns, num_classes=2, members=6) == Selection(
        members=(0,), losses=(pytest.approx(-np.log(0.9)),)
    )


def test_the_average_of_two_that_err_apart_beats_both():
    columns = np.array([[0.9, 0.4] * 20, [0.4, 0.9] * 20, [0.55, 0.55] * 20])
    found = select_members(columns, num_classes=2, members=2)
    assert found.members == (0, 1)
    assert found.losses == (pytest.approx(-np.log(0.36) / 2), pytest.approx(-np.log(0.65)))


def test_impossible_answers_cost_what_the_log_loss_says():
    probabilities, labels = candidates(3, 50, 1)
    probabilities[0] = np.eye(CLASSES)[(labels + (np.arange(50) < 5)) % CLASSES]  # certain, and wrong five times
    columns = columns_of(probabilities[:1], labels)
    expected = log_loss(labels, probabilities[0])
    assert select_members(columns, num_classes=CLASSES, members=1).loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 50])
def test_any_number_of_rows_will_do(rows):
    probabilities, labels = candidates(4, rows, 2)
    found = select_members(columns_of(probabilities, labels), num_classes=CLASSES, members=3)
    assert list(found.members) == plain_selection(probabilities, labels, 3)[0]


def test_what_is_selected_stays_within_the_limit():
    probabilities, labels = candidates(9, 300, 3)
    columns = columns_of(probabilities, labels)
    costs = [1.0, 4.0, 2.0, 3.0, 1.0, 5.0, 2.0, 1.0, 3.0]
    for limit in (1.0, 3.0, 6.5, 100.0):
        found = select_members(columns, num_classes=CLASSES, members=6, costs=costs, limit=limit)
        assert found.cost == sum(costs[number] for number in set(found.members)) <= limit


def test_a_limit_that_all_fit_in_changes_nothing_for_the_worse():
    probabilities, labels = candidates(6, 300, 4)
    columns = columns_of(probabilities, labels)
    free = select_members(columns, num_classes=CLASSES)
    priced = select_members(columns, num_classes=CLASSES, costs=[1.0] * 6, limit=100.0)
    assert priced.loss <= free.loss


def test_two_cheap_members_are_taken_instead_of_one_dear_one():
    """The dear one is best alone; for the same money the two cheap ones together are better."""
    dear, first, second = [0.7] * 40, [0.95, 0.5] * 20, [0.5, 0.95] * 20
    columns, costs = np.array([dear, first, second]), [2.0, 1.0, 1.0]
    found = select_members(columns, num_classes=2, members=2, costs=costs, limit=2.0)
    assert sorted(found.members) == [1, 2]


def test_what_is_already_a_member_costs_nothing_more():
    columns = np.array([[0.9] * 10 + [0.5] * 10, [0.6] * 20])
    found = select_members(columns, num_classes=2, members=4, costs=[3.0, 3.0], limit=3.0)
    assert set(found.members) == {0}
    assert found.cost == 3.0


def test_a_limit_below_the_cheapest_is_refused():
    words = "the cheapest candidate costs 2; expected at most 1; raise the limit."
    with pytest.raises(ValueError, match=re.escape(words)):
        select_members(np.full((2, 4), 0.5), num_classes=2, costs=[2.0, 3.0], limit=1.0)


@pytest.mark.parametrize(
    ("columns", "fields", "sentence"),
    [
        (np.full(4, 0.5), {}, "the columns are [4]; expected probabilities of the true class"),
        (np.full((2, 4), 1.5), {}, "the columns are [2, 4]; expected probabilities"),
        (np.full((2, 4), np.nan), {}, "the columns are [2, 4]; expected probabilities"),
        (np.full((2, 4), 0.5), {"members": 0}, "there are 2 classes and 0 rounds; expected 2 classes or more"),
        (np.full((2, 4), 0.5), {"costs": [1.0]}, "costs are [1.0]; expected one of 0 or more for each of 2 candid"),
    ],
)
def test_what_cannot_be_selected_from_is_refused(columns, fields, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        select_members(columns, num_classes=2, **fields)


def test_forty_models_and_fifty_thousand_rows_take_a_fifth_of_a_second_of_processor_time():
    columns = np.random.default_rng(0).beta(3, 1, (40, 50_000))

    def seconds() -> float:
        started = time.process_time()
        select_members(columns, num_classes=100, members=5)
        return time.process_time() - started

    assert min(seconds() for _ in range(3)) <= 0.2
