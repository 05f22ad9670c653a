import re
from dataclasses import replace

import numpy as np
import pytest

from trimtab.artifact import Artifact
from trimtab.generalization.soups import average_weights, judge_soup, obstacle

MODEL = Artifact(
    builder="mlp",
    kwargs={"hidden": [2]},
    arrays={"weight": np.array([1.0, 2.0], np.float32), "count": np.array(7)},
    meta={"mean": [0.5]},
)


def other(**changes) -> Artifact:
    return replace(MODEL, **{"arrays": {"weight": np.array([3.0, 0.0], np.float32), "count": np.array(9)}, **changes})


def test_a_soup_has_the_mean_weights_and_the_first_counts():
    soup = average_weights([MODEL, other()])
    np.testing.assert_array_equal(soup.arrays["weight"], np.float32([2, 1]))
    assert soup.arrays["weight"].dtype == np.float32
    assert soup.arrays["count"] == 7
    assert (soup.builder, soup.kwargs, soup.meta) == (MODEL.builder, MODEL.kwargs, MODEL.meta)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kwargs": {"hidden": [3]}}, "they are different networks"),
        ({"builder": "cnn"}, "they are different networks"),
        ({"arrays": {"weight": np.zeros(3, np.float32)}}, "their weights are of different shapes"),
        ({"meta": {"mean": [0.4]}}, "they read their input differently"),
    ],
)
def test_what_cannot_be_averaged_is_refused(changes, reason):
    assert obstacle([MODEL, other(**changes)]) == reason
    words = f"the weights cannot be averaged: {reason}; expected two or more alike; choose others."
    with pytest.raises(ValueError, match=re.escape(words)):
        average_weights([MODEL, other(**changes)])


def test_dropout_is_no_part_of_the_network_that_was_trained():
    assert obstacle([MODEL, other(kwargs={"hidden": [2], "dropout": 0.5})]) is None


def test_one_model_makes_no_soup():
    with pytest.raises(ValueError, match="the weights cannot be averaged: there are 1; expected two or more alike"):
        average_weights([MODEL])


@pytest.mark.parametrize(("confidence", "counts"), [(0.8, True), (0.6, False), (0.61, False)])
def test_a_soup_counts_only_where_it_is_shown_to_be_better(confidence, counts):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)

    def answers(sure: float) -> np.ndarray:
        right = np.clip(sure + 0.15 * random.standard_normal(200), 0.02, 0.98)
        return np.where(np.eye(2)[labels] == 1, right[:, None], 1 - right[:, None])

    is_better, found = judge_soup(labels, answers(0.6), answers(confidence))
    assert is_better == counts
    assert found.metric == "log_loss"


def test_a_soup_that_is_worse_does_not_count_however_sure_that_is():
    labels = np.arange(100) % 2
    best, soup = (np.where(np.eye(2)[labels] == 1, sure, 1 - sure) for sure in (0.9, 0.6))
    soup[::7] = 0.5
    assert not judge_soup(labels, best, soup)[0]
