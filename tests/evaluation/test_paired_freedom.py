"""Degrees of freedom of class-wise spreads: Welch's formula, and tests that hold their size where a class is rare."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trimtab.evaluation import compare
from trimtab.evaluation.paired_freedom import fewest_units, group_freedom, welch_freedom


def test_two_classes_have_the_freedom_of_welch() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(size=12), 3 * random.normal(size=40)
    labels = np.repeat([0, 1], [12, 40])
    influence = np.concatenate([(x - x.mean()) / np.sqrt(len(x) * (len(x) - 1)) for x in (one, other)])
    expected = stats.ttest_ind(one, other, equal_var=False).df
    assert welch_freedom(influence, labels) == int(expected)
    assert welch_freedom(influence, labels, np.arange(52)) == int(expected)
    order = random.permutation(52)
    assert welch_freedom(influence[order], labels[order]) == int(expected)


@pytest.mark.parametrize(
    ("sizes", "freedom"), [([5] * 12, 11), ([1], 0), ([7, 7], 1), ([900, 1, 1, 1], 1), ([40, 40, 40, 1, 1], 2)]
)
def test_groups_count_by_the_rows_they_hold(sizes: list[int], freedom: int) -> None:
    assert group_freedom(np.repeat(np.arange(len(sizes)), sizes)) == freedom


def test_a_class_in_few_groups_is_known_from_those_only() -> None:
    labels, units = np.repeat([0, 1], [90, 10]), np.arange(100) // 5
    assert fewest_units(labels) == 10
    assert fewest_units(labels, units) == 2
    influence = np.where(labels == 1, np.where(units == 18, 1.0, -1.0), 1e-6)
    assert welch_freedom(influence, labels, units) == 1


@pytest.mark.slow
def test_rare_class_within_few_groups_does_not_pass_for_many_rows() -> None:
    rejected, repeats = dict.fromkeys(("roc_auc_macro", "balanced_accuracy"), 0), 400
    for repeat in range(repeats):
        random = np.random.default_rng(repeat)
        groups = np.arange(300) // 10
        labels = (groups < 4).astype(np.int64)  # four patients of thirty
        models = []
        for _ in range(2):
            odds = 1.6 * labels + random.normal(size=300) + random.normal(size=30)[groups] - 1.2
            models.append(np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], axis=1))
        for name in rejected:
            rejected[name] += compare(labels, *models, groups=groups).metrics[name].is_significant
    for name, count in rejected.items():
        assert count / repeats < 0.08, name
