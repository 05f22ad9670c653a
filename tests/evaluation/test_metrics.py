"""Metrics of labels: scikit-learn's values, the obvious versions, and what must hold for any labels."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle
from tests.evaluation.cases import EXACT, Pair, counted, defined_mean, indicators, law, named, numbers

from trimtab.evaluation import metrics

BY_CLASS = {"precision": oracle.precision_score, "recall": oracle.recall_score, "f1": oracle.f1_score}


def expected(name: str, true: np.ndarray, predicted: np.ndarray, **options: Any) -> Any:
    """Scikit-learn's value where it defines one, NaN elsewhere."""
    with warnings.catch_warnings(action="ignore"):
        value = BY_CLASS[name](true, predicted, zero_division=np.nan, **options)
        if options["average"] == "weighted":  # it takes the plain mean where no weight is left
            options["average"] = None
            each = BY_CLASS[name](true, predicted, zero_division=np.nan, **options)
            if true.ndim == 2:
                weights = true[:, options.get("labels") or slice(None)].sum(axis=0)
            else:
                classes = options.get("labels")
                classes = np.unique(np.concatenate([true, predicted])) if classes is None else classes
                weights = np.array([(true == label).sum() for label in classes])
            return value if weights[~np.isnan(each)].sum() else math.nan
        return value


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
@pytest.mark.parametrize("name", BY_CLASS)
@law
@given(case=named(), data=st.data())
def test_averages_over_classes_equal_scikit_learn(name: str, average: Any, case: Pair, data: st.DataObject) -> None:
    present = np.unique(np.concatenate(case)).tolist()
    some = data.draw(st.one_of(st.none(), st.lists(st.sampled_from(present), min_size=1, unique=True)))
    options = {"average": average} if some is None else {"average": average, "labels": some}
    np.testing.assert_allclose(getattr(metrics, name)(*case, **options), expected(name, *case, **options), **EXACT)


@pytest.mark.parametrize("name", BY_CLASS)
@law
@given(case=named(classes=2), data=st.data())
def test_of_two_classes_equal_scikit_learn_for_either_positive_label(
    name: str, case: Pair, data: st.DataObject
) -> None:
    present = np.unique(np.concatenate(case)).tolist()
    options = {"average": "binary", "pos_label": data.draw(st.sampled_from(present))}
    np.testing.assert_allclose(getattr(metrics, name)(*case, **options), expected(name, *case, **options), **EXACT)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", "samples", None])
@pytest.mark.parametrize("name", BY_CLASS)
@law
@given(case=indicators(), data=st.data())
def test_multilabel_averages_equal_scikit_learn(name: str, average: Any, case: Pair, data: st.DataObject) -> None:
    columns = st.lists(st.sampled_from(range(case[0].shape[1])), min_size=1, unique=True)
    some = data.draw(st.one_of(st.none(), columns))
    options = {"average": average} if some is None else {"average": average, "labels": some}
    np.testing.assert_allclose(getattr(metrics, name)(*case, **options), expected(name, *case, **options), **EXACT)


@pytest.mark.parametrize("name", BY_CLASS)
@law
@given(case=named())
def test_averages_equal_a_walk_through_the_rows(name: str, case: Pair) -> None:
    true, predicted = (side.tolist() for side in case)
    classes = sorted({*true, *predicted})
    values = [counted(name, true, predicted, label) for label in classes]
    metric = getattr(metrics, name)
    np.testing.assert_allclose(metric(*case, average=None), values, **EXACT)
    assert metric(*case, average="macro") == pytest.approx(defined_mean(values), abs=1e-12, nan_ok=True)
    weights = [true.count(label) for label in classes]
    weighted = defined_mean(values, weights)
    assert metric(*case, average="weighted") == pytest.approx(weighted, abs=1e-12, nan_ok=True)
    assert metric(*case, average="micro") == metrics.accuracy(*case)


@law
@given(named())
def test_accuracies_and_confusion_equal_scikit_learn(case: Pair) -> None:
    assert metrics.accuracy(*case) == pytest.approx(oracle.accuracy_score(*case), abs=1e-12)
    with warnings.catch_warnings(action="ignore"):  # a single label, or a class without rows
        balanced = oracle.balanced_accuracy_score(*case)
        confusion = oracle.confusion_matrix(*case)
    assert metrics.balanced_accuracy(*case) == pytest.approx(balanced, abs=1e-12)
    np.testing.assert_array_equal(metrics.confusion_matrix(*case), confusion)


@law
@given(named(), st.data())
def test_confusion_of_some_classes_in_any_order_equals_scikit_learn(case: Pair, data: st.DataObject) -> None:
    present = np.unique(case[0]).tolist()
    some = data.draw(st.lists(st.sampled_from(present), min_size=1, unique=True))
    with warnings.catch_warnings(action="ignore"):
        confusion = oracle.confusion_matrix(*case, labels=some)
    np.testing.assert_array_equal(metrics.confusion_matrix(*case, labels=some), confusion)


def test_a_named_class_that_never_occurs_has_an_empty_row_and_no_value() -> None:
    true, predicted = np.array(["a", "b"]), np.array(["a", "a"])
    confusion = metrics.confusion_matrix(true, predicted, labels=["a", "z", "b"])
    np.testing.assert_array_equal(confusion, [[1, 0, 0], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(metrics.recall(true, predicted, labels=["a", "z"], average=None), [1.0, math.nan])


@law
@given(named())
def test_agreement_equals_scikit_learn_where_it_is_defined(case: Pair) -> None:
    true, predicted = (set(side.tolist()) for side in case)
    with warnings.catch_warnings(action="ignore"):
        kappa = oracle.cohen_kappa_score(*case)
    if min(len(true), len(predicted)) < 2:
        assert math.isnan(metrics.matthews_corrcoef(*case))  # scikit-learn: 0
    else:
        assert metrics.matthews_corrcoef(*case) == pytest.approx(oracle.matthews_corrcoef(*case), abs=1e-12)
    if true == predicted and len(true) == 1:
        assert math.isnan(metrics.cohen_kappa(*case))
    else:
        assert metrics.cohen_kappa(*case) == pytest.approx(kappa, abs=1e-12)


@law
@given(numbers(classes=2))
def test_matthews_correlation_of_two_classes_is_pearsons(case: Pair) -> None:
    if min(len(set(side.tolist())) for side in case) == 2:
        assert metrics.matthews_corrcoef(*case) == pytest.approx(np.corrcoef(*case)[0, 1], abs=1e-12)


@law
@given(indicators())
def test_a_multilabel_row_is_right_when_all_its_labels_are(case: Pair) -> None:
    assert metrics.accuracy(*case) == pytest.approx(oracle.accuracy_score(*case), abs=1e-12)


@law
@given(numbers())
def test_booleans_and_small_and_unsigned_integers_are_labels_like_others(case: Pair) -> None:
    for dtype in (np.int8, np.uint8, np.uint64, np.float32):
        cast = [side.astype(dtype) for side in case]
        np.testing.assert_array_equal(metrics.f1(*cast, average=None), metrics.f1(*case, average=None))
    two = [side % 2 for side in case]
    assert metrics.matthews_corrcoef(*(s.astype(bool) for s in two)) == pytest.approx(
        metrics.matthews_corrcoef(*two), nan_ok=True
    )
    np.testing.assert_array_equal(
        metrics.recall(two[0].astype(bool), two[1], average=None), metrics.recall(*two, average=None)
    )


def test_metrics_without_rows_are_undefined() -> None:
    none = np.array([], dtype=np.int64)
    assert math.isnan(metrics.accuracy(none, none))
    assert math.isnan(metrics.balanced_accuracy(none, none))
    assert math.isnan(metrics.matthews_corrcoef(none, none))
    assert math.isnan(metrics.cohen_kappa(none, none))
    for name in BY_CLASS:
        assert math.isnan(getattr(metrics, name)(none, none, average="macro"))
        assert math.isnan(getattr(metrics, name)(none, none))
        assert getattr(metrics, name)(none, none, average=None).shape == (0,)
        assert math.isnan(getattr(metrics, name)(np.empty((0, 3), int), np.empty((0, 3), int), average="macro"))
    assert math.isnan(metrics.accuracy(np.empty((0, 3), int), np.empty((0, 3), int)))
    assert metrics.confusion_matrix(none, none).shape == (0, 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"average": "mean"},
            "average is 'mean'; expected one of binary, micro, macro, weighted, samples, None; pick one.",
        ),
        (
            {"average": "samples"},
            "average is 'samples', but each row has one label; expected 'macro' or another; pick one.",
        ),
        (
            {},
            "average is 'binary', but there are 3 classes; expected two; give average='macro', 'weighted', 'micro' "
            "or None.",
        ),
    ],
)
def test_an_average_that_does_not_fit_is_refused(options: dict[str, Any], sentence: str) -> None:
    for name in BY_CLASS:
        with pytest.raises(ValueError, match="average") as caught:
            getattr(metrics, name)([0, 1, 2], [0, 1, 2], **options)
        assert str(caught.value) == sentence


def test_a_positive_label_that_does_not_occur_is_refused() -> None:
    with pytest.raises(ValueError, match="pos_label") as caught:
        metrics.f1(["no", "yes"], ["no", "no"])
    assert str(caught.value) == "pos_label is 1; expected one of ['no', 'yes']; name the class to report."
    with pytest.raises(ValueError, match="binary") as caught:
        metrics.f1([[0, 1]], [[0, 1]])
    assert str(caught.value) == (
        "average is 'binary', but rows have several labels; expected 'macro' or another; pick one."
    )


def test_metrics_need_neither_torch_nor_scikit_learn_nor_scipy_nor_matplotlib() -> None:
    blocked = ["torch", "sklearn", "scipy", "matplotlib", "onnxruntime", "pyarrow"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "import numpy as np, trimtab.evaluation as e\n"
        "y = np.arange(40) % 2; p = np.full((40, 2), 0.5); p[:, 0] += 0.1 * (-1.0) ** y; p[:, 1] = 1 - p[:, 0]\n"
        "assert e.f1(y, p.argmax(1)) == e.roc_auc(y, p) == 1.0\n"
        "print(e.evaluate(y, p, class_names=('a', 'b')).metrics['accuracy'].value)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1.0"
