"""Do intervals hold the true value as often as they say: small simulations with a known truth."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from trimtab.evaluation import Statistics, evaluate_statistics
from trimtab.evaluation.counts import ClassCounts

REPEATS = 500
TOLERANCE = 0.035  # three and a half standard errors of a share of 0.95 in 500 repeats


def evaluate(
    labels: np.ndarray, probabilities: np.ndarray, *, class_names: object, seed: int = 0, groups: object = None
):
    """Everything but the calibration error, whose interval takes longer than all the rest."""
    statistics = Statistics.of(labels, probabilities, class_names=tuple(class_names), groups=groups)
    return evaluate_statistics(statistics, seed=seed, has_calibration=False)


def covered(estimate: object, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


@pytest.mark.parametrize(
    ("shares", "right", "rows"),
    [
        ((0.5, 0.5), 0.9, 200),
        ((0.9, 0.1), 0.85, 400),
        ((0.25,) * 4, 0.97, 200),
        pytest.param((0.1,) * 10, 0.8, 600, marks=pytest.mark.slow),
    ],
)
def test_count_metrics_are_covered(shares: tuple[float, ...], right: float, rows: int) -> None:
    random, classes = np.random.default_rng(11), len(shares)
    cells = np.full((classes, classes), (1 - right) / (classes - 1))
    np.fill_diagonal(cells, right)
    cells *= np.array(shares)[:, None]
    truth = ClassCounts.of(cells)
    hits = dict.fromkeys(("accuracy", "precision_macro", "recall_macro", "f1_macro", "f1", "recall"), 0)
    for repeat in range(REPEATS):
        drawn = random.choice(classes**2, size=rows, p=cells.ravel())
        probabilities = 0.5 * np.eye(classes)[drawn % classes] + 0.5 / classes
        names = [str(k) for k in range(classes)]
        evaluation = evaluate(drawn // classes, probabilities, class_names=names, seed=repeat)
        hits["accuracy"] += covered(evaluation.metrics["accuracy"], right)
        for name in ("precision", "recall", "f1"):
            macro = float(getattr(truth, name).mean())
            hits[f"{name}_macro"] += covered(evaluation.metrics[f"{name}_macro"], macro)
        for name in ("f1", "recall"):
            hits[name] += covered(evaluation.per_class["0"][name], getattr(truth, name)[0])
    for name, count in hits.items():
        assert count / REPEATS == pytest.approx(0.95, abs=TOLERANCE), name


@pytest.mark.parametrize(("area", "prevalence", "rows"), [(0.7, 0.1, 200), (0.9, 0.5, 200), (0.97, 0.3, 400)])
def test_area_and_loss_are_covered(area: float, prevalence: float, rows: int) -> None:
    random = np.random.default_rng(12)
    distance = math.sqrt(2) * NormalDist().inv_cdf(area)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = (random.random(count) < prevalence).astype(np.int64)
        odds = distance * (random.normal(size=count) + distance * labels - distance / 2)
        positive = 1 / (1 + np.exp(-odds) * (1 - prevalence) / prevalence)
        return labels, np.column_stack([1 - positive, positive])

    labels, probabilities = draw(1_000_000)
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    hits = {"roc_auc_macro": 0, "log_loss": 0}
    for _ in range(REPEATS):
        metrics = evaluate(*draw(rows), class_names="ab").metrics
        hits["roc_auc_macro"] += covered(metrics["roc_auc_macro"], area)
        hits["log_loss"] += covered(metrics["log_loss"], loss)
    for name, count in hits.items():
        assert count / REPEATS == pytest.approx(0.95, abs=TOLERANCE), name


def test_accuracy_of_groups_is_covered() -> None:
    random, hits = np.random.default_rng(13), 0
    for repeat in range(REPEATS):
        groups = np.repeat(np.arange(40), 10)
        ease = random.beta(8, 2, size=40)[groups]  # what a group has in common; 0.8 on average
        labels = random.integers(2, size=400)
        predictions = np.where(random.random(400) < ease, labels, 1 - labels)
        evaluation = evaluate(labels, np.eye(2)[predictions] * 0.8 + 0.1, class_names="ab", groups=groups, seed=repeat)
        hits += covered(evaluation.metrics["accuracy"], 0.8)
    assert hits / REPEATS == pytest.approx(0.95, abs=TOLERANCE)
