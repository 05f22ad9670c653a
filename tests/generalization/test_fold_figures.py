"""Figures over folds: those of scikit-learn on each fold, their mean, the corrected interval, and the edges."""

import numpy as np
import pytest
from sklearn import metrics

from trimtab.evaluation import corrected_interval
from trimtab.generalization.fold_figures import FoldFigure, figures_of, to_table


def make_answers(folds: int = 4, classes: int = 3, *, rows: int = 40):
    random = np.random.default_rng(0)
    found = []
    for _ in range(folds):
        labels = np.arange(rows) % classes
        scores = random.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[labels]
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        found.append((labels, shares.astype(np.float32)))
    return found


@pytest.mark.parametrize("classes", [2, 3])
def test_each_fold_has_scikit_learns_figures(classes):
    answers = make_answers(classes=classes)
    found = figures_of(answers, train_rows=120, test_rows=40)
    for index, (labels, shares) in enumerate(answers):
        chosen = shares.argmax(1)
        area = (labels, shares[:, 1]) if classes == 2 else (labels, shares / shares.sum(1, keepdims=True))
        expected = {
            "accuracy": metrics.accuracy_score(labels, chosen),
            "balanced_accuracy": metrics.balanced_accuracy_score(labels, chosen),
            "f1_macro": metrics.f1_score(labels, chosen, average="macro"),
            "matthews_corrcoef": metrics.matthews_corrcoef(labels, chosen),
            "roc_auc_macro": metrics.roc_auc_score(*area, multi_class="ovr"),
            "log_loss": -np.log(shares[np.arange(len(labels)), labels].astype(float)).mean(),
        }
        for name, value in expected.items():
            assert found[name].per_fold[index] == pytest.approx(value, rel=1e-5), name


def test_the_whole_is_the_mean_with_the_corrected_interval():
    found = figures_of(make_answers(), train_rows=120, test_rows=40)["log_loss"]
    assert found.estimate == corrected_interval(found.per_fold, train_rows=120, test_rows=40)
    assert found.estimate.low < found.estimate.value < found.estimate.high


def test_without_a_mistake_in_any_fold_accuracy_has_its_exact_bound():
    labels = np.arange(30) % 2
    found = figures_of([(labels, np.eye(2, dtype=np.float32)[labels])] * 3, train_rows=60, test_rows=30)
    estimate = found["accuracy"].estimate
    assert (estimate.value, estimate.high, estimate.method) == (1.0, 1.0, "exact one-sided bound")
    assert estimate.low == pytest.approx(0.05 ** (1 / 90))


def test_a_figure_that_a_fold_has_not_is_left_out_of_the_mean_and_that_is_said():
    answers = make_answers()
    labels, shares = answers[0]
    answers[0] = np.minimum(labels, 1), shares  # no row of the last class
    found = figures_of(answers, train_rows=120, test_rows=40)["roc_auc_macro"]
    assert found.per_fold[0] is None
    assert found.estimate.value == pytest.approx(np.mean(found.per_fold[1:]))
    assert found.estimate.method.endswith("over 3 of 4 folds, undefined in the others")


def test_a_figure_that_one_fold_has_alone_has_no_interval():
    answers = [(np.minimum(labels, 1), shares) for labels, shares in make_answers(2)]
    estimate = figures_of(answers, train_rows=40, test_rows=40)["roc_auc_macro"].estimate
    assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
    assert estimate.method == "undefined: 0 of 2 folds have a value"


def test_figures_survive_json_and_are_shown_with_their_spread():
    found = figures_of(make_answers(), train_rows=120, test_rows=40)
    for figure in found.values():
        assert FoldFigure.from_dict(figure.to_dict()) == figure
    lines = to_table(found).splitlines()
    assert lines[0].split() == ["metric", "mean", "95%", "interval", "folds,", "lowest", "to", "highest", "method"]
    values = found["accuracy"].per_fold
    assert f"{min(values):.4f} to {max(values):.4f}" in lines[1]
