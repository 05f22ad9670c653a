"""The metrics against scikit-learn, and what must hold for any labels and predictions."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as oracle

from trimtab.evaluation import metrics

EXACT = {"rtol": 1e-12, "atol": 1e-12, "equal_nan": True}


@st.composite
def predicted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    classes, rows = draw(st.integers(2, 5)), draw(st.integers(1, 40))
    numbers = hnp.arrays(np.int64, rows, elements=st.integers(0, classes - 1))
    return draw(numbers), draw(numbers), classes


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities on a coarse grid, so that ties are common."""
    labels, _, classes = draw(predicted())
    weights = hnp.arrays(np.int64, (len(labels), classes), elements=st.integers(0, 4))
    raw = draw(weights) + 1e-3
    return labels, raw / raw.sum(axis=1, keepdims=True)


@given(predicted())
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_count_metrics_equal_scikit_learn(name: str, case: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, predictions, _ = case
    present = np.arange(max(labels.max(), predictions.max()) + 1)
    expected = {"precision": oracle.precision_score, "recall": oracle.recall_score, "f1": oracle.f1_score}[name]
    options = {"labels": present, "zero_division": np.nan}
    per_class = getattr(metrics, name)(labels, predictions, average=None)
    np.testing.assert_allclose(per_class, expected(labels, predictions, average=None, **options), **EXACT)
    macro = getattr(metrics, name)(labels, predictions)
    np.testing.assert_allclose(macro, expected(labels, predictions, average="macro", **options), **EXACT)


@given(predicted())
def test_accuracy_and_confusion_equal_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, predictions, classes = case
    assert metrics.accuracy(labels, predictions) == oracle.accuracy_score(labels, predictions)
    confusion = metrics.confusion_matrix(labels, predictions, num_classes=classes)
    with warnings.catch_warnings(action="ignore"):  # a single label
        expected = oracle.confusion_matrix(labels, predictions, labels=range(classes))
    np.testing.assert_array_equal(confusion, expected)


@given(scored())
def test_roc_auc_equals_scikit_learn_where_it_is_defined(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = case
    areas = metrics.roc_auc(labels, probabilities, average=None)
    for k, area in enumerate(areas):
        is_class = labels == k
        if is_class.all() or not is_class.any():
            assert np.isnan(area)
        else:
            score = probabilities[:, k] if len(areas) > 2 else probabilities[:, 1] * (1 if k else -1)
            assert area == pytest.approx(oracle.roc_auc_score(is_class, score), abs=1e-12)


@given(scored())
def test_roc_auc_equals_the_share_of_ordered_pairs(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = case
    positive, negative = (probabilities[labels == k, 1] for k in (1, 0))
    if len(positive) and len(negative):
        pairs = np.sign(positive[:, None] - negative[None, :]) / 2 + 0.5
        two = labels < 2
        area = metrics.roc_auc(labels[two], probabilities[two, 1])
        assert area == pytest.approx(pairs.mean(), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(case=scored())
def test_log_loss_equals_scikit_learn(dtype: type, case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = case[0], case[1].astype(dtype)
    expected = oracle.log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1]))
    tolerance = 1e-12 if dtype is np.float64 else 1e-5  # scikit-learn sums in single precision then
    assert metrics.log_loss(labels, probabilities) == pytest.approx(expected, rel=tolerance, abs=tolerance)


def test_log_loss_of_a_certain_mistake_is_finite_as_in_scikit_learn() -> None:
    labels, probabilities = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])
    assert metrics.log_loss(labels, probabilities) == oracle.log_loss(labels, probabilities)


@given(scored(), st.randoms(use_true_random=False))
def test_order_of_rows_and_names_of_classes_do_not_matter(
    case: tuple[np.ndarray, np.ndarray], random: np.random.Generator
) -> None:
    labels, probabilities = case
    rows, classes = list(range(len(labels))), list(range(probabilities.shape[1]))
    random.shuffle(rows)
    random.shuffle(classes)
    renamed = np.argsort(classes)[labels[rows]]
    moved = probabilities[rows][:, classes]
    assert metrics.roc_auc(renamed, moved) == pytest.approx(
        metrics.roc_auc(labels, probabilities), abs=1e-12, nan_ok=True
    )
    assert metrics.log_loss(renamed, moved) == pytest.approx(metrics.log_loss(labels, probabilities))
    predictions = np.roll(labels, 1)
    for metric in (metrics.precision, metrics.recall, metrics.f1):
        plain = metric(labels, predictions)
        assert metric(renamed, np.argsort(classes)[predictions[rows]]) == pytest.approx(plain)


@given(scored())
def test_values_stay_within_their_bounds(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = case
    predictions = probabilities.argmax(axis=1)
    for metric in (metrics.precision, metrics.recall, metrics.f1):
        values = metric(labels, predictions, average=None)
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    assert metrics.log_loss(labels, probabilities) >= 0


def test_metrics_without_rows_are_undefined() -> None:
    none = np.array([], dtype=np.int64)
    assert np.isnan(metrics.accuracy(none, none))
    assert np.isnan(metrics.log_loss(none, np.empty((0, 2))))
    assert np.isnan(metrics.f1(none, none))


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (
            lambda: metrics.check_labels(np.array([0.0, 1.0]), num_classes=2),
            "labels have shape (2,) and dtype float64; expected integers [N]; encode the classes.",
        ),
        (
            lambda: metrics.check_labels(np.array([], dtype=int), num_classes=2),
            "there are no rows; expected at least one label; give the rows to evaluate.",
        ),
        (
            lambda: metrics.check_labels(np.array([0, 3]), num_classes=3),
            "labels reach from 0 to 3; expected 0 to 2, one number for each class name; encode the classes in the "
            "order of the names.",
        ),
        (
            lambda: metrics.check_probabilities(np.ones((3, 2)), rows=4, num_classes=2),
            "probabilities have shape (3, 2) and dtype float64; expected floats (4, 2): a row for each label, a "
            "column for each class; check what the model returned.",
        ),
        (
            lambda: metrics.check_probabilities(
                np.array([[0.5, 0.5], [np.nan, 1.0], [np.inf, -np.inf]]), rows=3, num_classes=2
            ),
            "probabilities hold NaN or infinity in 2 of 3 rows, first in row 1; expected softmax output; give "
            "probabilities, not logits or percentages.",
        ),
        (
            lambda: metrics.check_probabilities(np.array([[1.5, -0.5]]), rows=1, num_classes=2),
            "probabilities lie outside 0 to 1 in 1 of 1 rows, first in row 0; expected softmax output; give "
            "probabilities, not logits or percentages.",
        ),
        (
            lambda: metrics.check_probabilities(np.array([[0.5, 0.5], [0.5, 0.4]]), rows=2, num_classes=2),
            "probabilities do not sum to one in 1 of 2 rows, first in row 1; expected softmax output; give "
            "probabilities, not logits or percentages.",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(check: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        check()
    assert str(caught.value) == sentence


def test_metrics_need_neither_torch_nor_scikit_learn_nor_scipy_nor_matplotlib() -> None:
    blocked = ["torch", "sklearn", "scipy", "matplotlib", "onnxruntime", "pyarrow"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "import numpy as np, trimtab.evaluation as e\n"
        "y = np.arange(40) % 2; p = np.full((40, 2), 0.5); p[:, 0] += 0.1 * (-1.0) ** y; p[:, 1] = 1 - p[:, 0]\n"
        "assert e.metrics.f1(y, p.argmax(1)) == 1.0\n"
        "print(e.evaluate(y, p, class_names=('a', 'b')).metrics['accuracy'].value)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1.0"
