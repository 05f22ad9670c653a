"""Labels, predictions and scores of every kind, for properties of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Pair = tuple[np.ndarray, np.ndarray]
EXACT = {"rtol": 1e-12, "atol": 1e-12, "equal_nan": True}
law = settings(deadline=None, max_examples=25)
KINDS: dict[str, Sequence[Any]] = {
    "numbers": [0, 1, 2, 3, 4],
    "sparse": [-7, 0, 12, 5000, 2**40],
    "strings": ["ant", "bee", "cat", "dog", "emu"],
    "floats": [-2.0, 0.0, 1.0, 7.0, 1e9],
}


@st.composite
def numbers(draw: st.DrawFn, *, classes: int = 5, rows: int = 40) -> Pair:
    """Class numbers of both sides; classes may be missing from either."""
    count, size = draw(st.integers(1, classes)), draw(st.integers(1, rows))
    each = hnp.arrays(np.int64, size, elements=st.integers(0, count - 1))
    return draw(each), draw(each)


@st.composite
def named(draw: st.DrawFn, *, classes: int = 5) -> Pair:
    """Labels of both sides of any kind: numbers, negative and large ones, strings, objects, floats."""
    true, predicted = draw(numbers(classes=classes))
    names = np.array(KINDS[draw(st.sampled_from(sorted(KINDS)))])
    if draw(st.booleans()) and names.dtype.kind == "U":
        names = names.astype(object)
    return names[true], names[predicted]


@st.composite
def binary_scores(draw: st.DrawFn, *, both: bool = False) -> Pair:
    """Labels 0 and 1, and scores of any sign in either precision, many of them tied."""
    size = draw(st.integers(2 if both else 1, 40))
    labels = draw(hnp.arrays(np.int64, size, elements=st.integers(0, 1)))
    if both:
        labels[0], labels[1] = 0, 1
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    width = 64 if dtype is np.float64 else 32
    free = st.floats(allow_nan=False, allow_infinity=False, width=width)
    tied = st.sampled_from([-2.5, -0.0, 0.0, 0.25, 0.25, 1e-30, 3.0])
    return labels, draw(hnp.arrays(dtype, size, elements=st.one_of(tied, tied, free)))


@st.composite
def probabilities(draw: st.DrawFn, *, least: int = 2, full: bool = False) -> Pair:
    """Class numbers, and rows of probabilities on a coarse grid, so that ties, zeros and ones are common."""
    classes = draw(st.integers(least, 6))
    size = draw(st.integers(classes, 30))
    labels = draw(hnp.arrays(np.int64, size, elements=st.integers(0, classes - 1)))
    if full:
        labels[:classes] = np.arange(classes)
    raw = draw(hnp.arrays(np.int64, (size, classes), elements=st.integers(0, 3))).astype(np.float64)
    raw[raw.sum(axis=1) == 0] = 1.0
    return labels, raw / raw.sum(axis=1, keepdims=True)


@st.composite
def indicators(draw: st.DrawFn) -> Pair:
    """Zeros and ones of both sides [N, L]; labels and rows may be empty or full."""
    shape = draw(st.tuples(st.integers(1, 20), st.integers(2, 5)))
    each = hnp.arrays(np.int64, shape, elements=st.integers(0, 1))
    return draw(each), draw(each)


@st.composite
def indicator_scores(draw: st.DrawFn) -> Pair:
    """Zeros and ones [N, L], and scores on a coarse grid."""
    labels, _ = draw(indicators())
    return labels, draw(hnp.arrays(np.int64, labels.shape, elements=st.integers(-3, 3))) / 4


def shuffled(random: Any, *arrays: np.ndarray) -> list[np.ndarray]:
    """Return the arrays with their rows in another order, the same for all."""
    order = list(range(len(arrays[0])))
    random.shuffle(order)
    return [array[order] for array in arrays]


def same_bits(first: Any, second: Any) -> bool:
    return np.asarray(first, np.float64).tobytes() == np.asarray(second, np.float64).tobytes()


# --- The obvious versions -----------------------------------------------------------------------------------------


def pairs_area(is_positive: np.ndarray, scores: np.ndarray) -> float:
    """The share of pairs in the right order, one half for a tie, by looking at each pair."""
    right, pairs = Fraction(0), 0
    for own in scores[is_positive].tolist():
        for other in scores[~is_positive].tolist():
            right += Fraction(2 * (own > other) + (own == other), 2)
            pairs += 1
    return float(right / pairs) if pairs else math.nan


def looped_precision(is_positive: np.ndarray, scores: np.ndarray) -> float:
    """The mean over the positives of the precision among the rows with at least their score."""
    precisions = []
    for own in scores[is_positive].tolist():
        above = [bool(p) for p, score in zip(is_positive, scores.tolist(), strict=True) if score >= own]
        precisions.append(Fraction(sum(above), len(above)))
    return float(sum(precisions) / len(precisions)) if precisions else math.nan


def quotient(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def counted(name: str, true: Sequence[Any], predicted: Sequence[Any], label: Any) -> float:
    """Precision, recall or F1 of one class, by walking through the rows."""
    hits = sum(t == label and p == label for t, p in zip(true, predicted, strict=True))
    actual, answered = sum(t == label for t in true), sum(p == label for p in predicted)
    return {
        "precision": quotient(hits, answered),
        "recall": quotient(hits, actual),
        "f1": quotient(2 * hits, actual + answered),
    }[name]


def defined_mean(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    kept = [(v, 1.0 if weights is None else weights[i]) for i, v in enumerate(values) if not math.isnan(v)]
    return quotient(math.fsum(v * w for v, w in kept), math.fsum(w for _, w in kept))
