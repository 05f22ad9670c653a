"""Plots are well-formed SVG with the right words in it, at two classes and at a hundred."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from trimtab.evaluation import evaluate, plot_confusion, plot_learning_curves, plot_roc
from trimtab.evaluation.plots import _roc_curve


def texts(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_confusion_shows_counts_and_names(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(300, 3)
    evaluation = evaluate(labels, probabilities, class_names=("<=50K", "a & b", "a name that is rather long"))
    plot_confusion(evaluation, tmp_path / "confusion.svg")
    words = texts(tmp_path / "confusion.svg")
    assert {"<=50K", "a & b", "a name that is …", "true", "predicted"} <= set(words)
    assert {str(count) for count in evaluation.confusion.ravel() if count} <= set(words)


def test_a_hundred_classes_stay_small_and_without_cramped_words(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(3000, 100)
    names = [f"class {k}" for k in range(100)]
    plot_confusion(evaluate(labels, probabilities, class_names=names), tmp_path / "confusion.svg")
    plot_roc(labels, probabilities, names, tmp_path / "roc.svg")
    assert "class 1" not in texts(tmp_path / "confusion.svg")
    assert sum(word.startswith("class ") for word in texts(tmp_path / "roc.svg")) == 6
    assert all(path.stat().st_size < 400_000 for path in tmp_path.iterdir())


@pytest.mark.parametrize("classes", [2, 4])
def test_roc_names_each_curve_with_its_area(draw: Callable, tmp_path: Path, classes: int) -> None:
    labels, probabilities = draw(200, classes)
    plot_roc(labels, probabilities, [f"c{k}" for k in range(classes)], tmp_path / "roc.svg")
    named = [word for word in texts(tmp_path / "roc.svg") if word.startswith("c")]
    assert len(named) == (1 if classes == 2 else classes)


def test_roc_of_rows_of_one_class_is_an_empty_frame(tmp_path: Path) -> None:
    plot_roc(np.zeros(5, dtype=np.int64), np.full((5, 2), 0.5), ("a", "b"), tmp_path / "roc.svg")
    assert "of the class found" in texts(tmp_path / "roc.svg")


def test_thinned_curve_keeps_its_ends_and_its_area(draw: Callable) -> None:
    labels, probabilities = draw(20_000, 2)
    wrong, found = _roc_curve(labels == 1, probabilities[:, 1])
    assert (wrong[0], found[0], wrong[-1], found[-1]) == (0, 0, 1, 1)
    assert len(wrong) <= 300
    from trimtab.evaluation import roc_auc

    assert np.trapezoid(found, wrong) == pytest.approx(roc_auc(labels, probabilities), abs=2e-4)


@pytest.mark.parametrize("epochs", [0, 1, 40])
def test_learning_curves_of_any_length(tmp_path: Path, epochs: int) -> None:
    history = [{"epoch": e, "train_loss": 1 / e, "validation_accuracy": 0.5} for e in range(1, epochs + 1)]
    plot_learning_curves(history, tmp_path / "learning_curves.svg")
    assert {"training", "validation", "epoch", "loss", "validation accuracy"} <= set(
        texts(tmp_path / "learning_curves.svg")
    )


def test_same_plot_has_the_same_bytes_and_leaves_pyplot_alone(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(50, 2)
    for name in ("a", "b"):
        plot_roc(labels, probabilities, ("x", "y"), tmp_path / name / "roc.svg")
    assert (tmp_path / "a" / "roc.svg").read_bytes() == (tmp_path / "b" / "roc.svg").read_bytes()
    assert "matplotlib.pyplot" not in sys.modules
