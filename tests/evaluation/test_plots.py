"""Plots are well-formed SVG with the right words in it, at two classes and at a hundred."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from trimtab.evaluation import Evaluation, evaluate
from trimtab.evaluation.calibration import Reliability
from trimtab.evaluation.plots import (
    plot_classes,
    plot_confusion,
    plot_evaluation,
    plot_learning_curves,
    plot_precision_recall,
    plot_reliability,
    plot_roc,
    plot_scores,
)
from trimtab.evaluation.plots.confusion import most_confused, similar_beside

FROM_PROBABILITIES = {
    "roc": plot_roc,
    "precision_recall": plot_precision_recall,
    "reliability": plot_reliability,
    "scores": plot_scores,
}


def texts(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def names_of(count: int) -> list[str]:
    return [f"class {k}" for k in range(count)]


def perfect(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[labels]


def test_confusion_shows_counts_and_names(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(300, 3)
    evaluation = evaluate(labels, probabilities, class_names=("<=50K", "a & b", "a name that is rather long"))
    plot_confusion(evaluation, tmp_path / "confusion.svg")
    words = texts(tmp_path / "confusion.svg")
    assert {"<=50K", "a & b", "a name tha… long", "true", "predicted"} <= set(words)
    assert {str(count) for count in evaluation.confusion.ravel() if count} <= set(words)


def test_counts_too_long_for_their_cells_are_given_in_thousands(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(120_000, 12)
    names = [f"a rather long name {k}" for k in range(12)]
    plot_confusion(evaluate(labels, probabilities, class_names=names), tmp_path / "confusion.svg")
    words = texts(tmp_path / "confusion.svg")
    assert any(word.endswith("k") for word in words)
    assert not any("," in word for word in words)


def test_confusion_names_a_class_without_rows(tmp_path: Path) -> None:
    probabilities = perfect(np.array([0, 1, 0]), 3)
    plot_confusion(
        evaluate(np.array([0, 1, 1]), probabilities, class_names=("a", "b", "c")), tmp_path / "confusion.svg"
    )
    assert {"a", "b", "c (no row)"} <= set(texts(tmp_path / "confusion.svg"))


def test_confusion_of_a_hundred_classes_lists_the_most_frequent_by_name(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(3000, 100)
    probabilities[labels == 7] = perfect(np.array([3]), 100)
    evaluation = evaluate(labels, probabilities, class_names=names_of(100))
    plot_confusion(evaluation, tmp_path / "confusion.svg")
    words = texts(tmp_path / "confusion.svg")
    rows = evaluation.confusion[7].sum()
    assert "class 7 → class 3" in words
    assert f"{rows} of {rows}, 100%" in words
    assert "class 7" not in words
    assert len([word for word in words if "→" in word]) == 16


def test_confusion_without_a_mistake_says_so(tmp_path: Path) -> None:
    labels = np.arange(200) % 50
    plot_confusion(evaluate(labels, perfect(labels, 50), class_names=names_of(50)), tmp_path / "confusion.svg")
    assert "no confusions" in texts(tmp_path / "confusion.svg")


def test_most_confused_are_the_most_frequent_then_those_of_small_classes() -> None:
    counts = np.array([[90, 5, 2], [2, 8, 0], [0, 0, 4]])
    assert most_confused(counts, 9) == [(0, 1), (1, 0), (0, 2)]
    assert most_confused(counts, 1) == [(0, 1)]


def test_classes_taken_for_each_other_stand_side_by_side() -> None:
    counts = np.diag(np.full(6, 50))
    for a, b in ((0, 3), (3, 5), (1, 4), (4, 2)):
        counts[a, b] = counts[b, a] = 20
    order = similar_beside(counts).tolist()
    assert sorted(order) == list(range(6))
    assert sorted(order[:3]) in ([0, 3, 5], [1, 2, 4])


@pytest.mark.parametrize("plot", FROM_PROBABILITIES.values(), ids=FROM_PROBABILITIES)
@pytest.mark.parametrize("classes", [2, 3, 100])
def test_any_number_of_classes_and_any_quality_can_be_drawn(
    draw: Callable, tmp_path: Path, plot: Callable, classes: int
) -> None:
    labels, probabilities = draw(600, classes)
    wrong = (labels + 1) % classes
    empty = np.where(labels == classes - 1, 0, labels)
    for case, (known, scores) in enumerate(
        [
            (labels, probabilities),
            (labels, perfect(labels, classes)),
            (labels, perfect(wrong, classes)),
            (empty, probabilities),
            (labels[:1], probabilities[:1]),
            (labels, np.full((600, classes), 1 / classes)),
        ]
    ):
        path = tmp_path / f"{case}.svg"
        plot(evaluate(known, scores, class_names=names_of(classes)), path)
        assert texts(path)
        assert path.stat().st_size < 400_000


@pytest.mark.parametrize("plot", [plot_roc, plot_precision_recall])
@pytest.mark.parametrize(("classes", "named"), [(2, 1), (4, 4), (100, 6)])
def test_curves_are_named_with_their_area_the_worst_of_many(
    draw: Callable, tmp_path: Path, plot: Callable, classes: int, named: int
) -> None:
    labels, probabilities = draw(2000, classes)
    plot(evaluate(labels, probabilities, class_names=names_of(classes)), tmp_path / "curve.svg")
    assert sum(word.startswith("class ") for word in texts(tmp_path / "curve.svg")) == named


def test_curves_show_the_areas_that_the_evaluation_reports(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(500, 2, quality=1.0)
    evaluation = evaluate(labels, probabilities, class_names=("no", "yes"))
    figures = evaluation.per_class["yes"]
    for plot, name in ((plot_roc, "roc_auc"), (plot_precision_recall, "average_precision")):
        plot(evaluation, tmp_path / "curve.svg")
        assert f"yes: {figures[name].value:.3f}" in texts(tmp_path / "curve.svg")


def test_a_bend_close_to_the_corner_is_enlarged(draw: Callable, tmp_path: Path) -> None:
    for quality, is_enlarged in ((1.0, False), (4.0, True)):
        labels, probabilities = draw(3000, 2, quality=quality)
        plot_roc(evaluate(labels, probabilities, class_names=("no", "yes")), tmp_path / "roc.svg")
        assert ("the corner, enlarged" in texts(tmp_path / "roc.svg")) == is_enlarged


@pytest.mark.parametrize("plot", [plot_roc, plot_precision_recall])
def test_curves_of_rows_of_one_class_are_an_empty_frame(tmp_path: Path, plot: Callable) -> None:
    plot(evaluate(np.zeros(5, dtype=np.int64), np.full((5, 2), 0.5)), tmp_path / "curve.svg")
    assert "no class has rows on both sides" in texts(tmp_path / "curve.svg")


def bar_names(path: Path, names: Sequence[str]) -> list[str]:
    return [word for word in texts(path) if word in names]


def test_bars_show_the_weakest_class_first_and_thirty_at_most(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(3000, 40)
    names = names_of(40)
    evaluation = evaluate(labels, probabilities, class_names=names)
    plot_classes(evaluation, tmp_path / "classes.svg", metric="recall")
    by_recall = sorted(names, key=lambda name: evaluation.per_class[name]["recall"].value or 0.0)
    assert bar_names(tmp_path / "classes.svg", names) == by_recall[:30]
    assert "recall with 95% interval; 30 weakest of 40 classes" in texts(tmp_path / "classes.svg")


def test_bars_start_nearer_when_all_intervals_lie_far_from_zero(tmp_path: Path) -> None:
    labels = np.arange(2000) % 2
    plot_classes(evaluate(labels, perfect(labels, 2), class_names=("a", "b")), tmp_path / "classes.svg")
    assert "0%" not in texts(tmp_path / "classes.svg")
    assert {"99.6%", "100%", "1.000"} <= set(texts(tmp_path / "classes.svg"))


def test_bars_say_why_a_figure_is_undefined_and_which_names_are_known(tmp_path: Path) -> None:
    labels = np.array([0, 1, 1, 0])
    evaluation = evaluate(labels, perfect(labels, 3), class_names=("a", "b", "c"))
    plot_classes(evaluation, tmp_path / "classes.svg", metric="recall")
    words = texts(tmp_path / "classes.svg")
    assert words.index("c (no row)") < words.index("a")
    assert "undefined: no row is of the class" in words
    with pytest.raises(ValueError, match=r"metric is 'f2'; expected one of .*recall.*; give one of these names\."):
        plot_classes(evaluation, tmp_path / "classes.svg", metric="f2")


def test_reliability_shows_before_and_after_when_there_is_a_before(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(500, 3)
    path = tmp_path / "reliability.svg"
    evaluation = evaluate(labels, probabilities)
    plot_reliability(evaluation, path)
    assert "before calibration" not in texts(path)
    plot_reliability(evaluation, path, before=Reliability.of(np.full(500, 1 / 3), labels == 0))
    assert {"before calibration", "after, as delivered", "probability of the answer"} <= set(texts(path))


def test_reliability_starts_where_nearly_all_confidences_are(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(5000, 4, quality=12)
    plot_reliability(evaluate(labels, probabilities), tmp_path / "reliability.svg")
    assert "0%" not in texts(tmp_path / "reliability.svg")


def test_scores_are_of_positives_or_of_right_answers(draw: Callable, tmp_path: Path) -> None:
    path = tmp_path / "scores.svg"
    labels, probabilities = draw(1500, 2)
    plot_scores(evaluate(labels, probabilities, class_names=("no", "yes")), path)
    assert {"probability of yes", f"yes: {(labels == 1).sum()}", f"no: {(labels == 0).sum()}"} <= set(texts(path))
    labels, probabilities = draw(900, 3)
    plot_scores(evaluate(labels, probabilities), path)
    wrong = int((probabilities.argmax(1) != labels).sum())
    assert {f"wrong answers: {wrong}", f"right answers: {900 - wrong}"} <= set(texts(path))


@pytest.mark.parametrize("epochs", [0, 1, 40])
def test_learning_curves_of_any_length(tmp_path: Path, epochs: int) -> None:
    history = [{"epoch": e, "train_loss": 1 / e, "validation_accuracy": 0.5} for e in range(1, epochs + 1)]
    plot_learning_curves(history, tmp_path / "learning_curves.svg")
    assert {"training", "validation", "epoch", "loss", "validation accuracy"} <= set(
        texts(tmp_path / "learning_curves.svg")
    )


def test_names_in_other_alphabets_and_with_dollars_stay_as_they_are(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(100, 3)
    names = ("日本", "$5 to $6", "größer")
    evaluation = evaluate(labels, probabilities, class_names=names)
    plot_confusion(evaluation, tmp_path / "confusion.svg")
    plot_roc(evaluation, tmp_path / "roc.svg")
    assert set(names) <= set(texts(tmp_path / "confusion.svg"))
    assert {word.split(":")[0] for word in texts(tmp_path / "roc.svg")} >= set(names)


@pytest.mark.parametrize("plot", FROM_PROBABILITIES.values(), ids=FROM_PROBABILITIES)
def test_same_plot_has_the_same_bytes_and_leaves_pyplot_alone(draw: Callable, tmp_path: Path, plot: Callable) -> None:
    labels, probabilities = draw(50, 2)
    for name in ("a", "b"):
        plot(evaluate(labels, probabilities), tmp_path / name / "plot.svg")
    assert (tmp_path / "a" / "plot.svg").read_bytes() == (tmp_path / "b" / "plot.svg").read_bytes()
    assert "matplotlib.pyplot" not in sys.modules


def test_an_evaluation_is_drawn_as_far_as_it_goes(draw: Callable, tmp_path: Path) -> None:
    labels, probabilities = draw(200, 3)
    written = plot_evaluation(evaluate(labels, probabilities), tmp_path / "all")
    assert {path.stem for path in written} == {"confusion", "classes", *FROM_PROBABILITIES}
    assert all(path.is_file() for path in written)
    written = plot_evaluation(evaluate(labels, probabilities.argmax(1)), tmp_path / "some")
    assert sorted(path.name for path in (tmp_path / "some").iterdir()) == ["classes.svg", "confusion.svg"]
    assert {path.stem for path in written} == {"confusion", "classes"}


@pytest.mark.parametrize("plot", FROM_PROBABILITIES.values(), ids=FROM_PROBABILITIES)
def test_an_evaluation_without_probabilities_is_refused(draw: Callable, tmp_path: Path, plot: Callable) -> None:
    labels, probabilities = draw(50, 3)
    read = Evaluation.from_dict(evaluate(labels, probabilities).to_dict())
    for evaluation in (read, evaluate(labels, probabilities.argmax(1))):
        with pytest.raises(ValueError, match=r"^the evaluation holds no probabilities; expected one .* a file\.$"):
            plot(evaluation, tmp_path / "plot.svg")
