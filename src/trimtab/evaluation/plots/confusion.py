"""The confusion matrix as a picture: right answers in one color, mistakes in another.

With few classes each cell holds its count. With many, names and counts would be a wall that nobody reads: similar
classes are moved beside each other, and the most frequent confusions are marked and listed by name.

Legend: ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.evaluation.counts import FloatArray, IntArray, ratio
from trimtab.evaluation.plots.drawing import ACCENT, GRID, INK, MUTED, NARROW, ORANGE, WIDE, drawing, short
from trimtab.evaluation.result import Evaluation

_NARROW_CLASSES = 12  # above it the drawing is wide
_NAMED = 40  # classes; above it a name beside a row is too small to read
_LISTED = 16  # confusions
_SMALLEST = 5.5  # points, of a count
_DIGIT = 0.64  # width of a digit over the size of its font
_LARGEST_SORTED = 2000  # classes; the order above would cost seconds


def plot_confusion(evaluation: Evaluation, path: Path) -> None:
    """Draw how often each class was taken for each, shaded by the share of the true class.

    A mistake is shaded by the square root of its share, a right answer by the share itself, so that rare mistakes
    can be seen; a class without a row stays empty and is named as such.

    Parameters
    ----------
    evaluation
        Whose confusion matrix is drawn.
    path
        The .svg file; replaced when it exists.
    """
    counts, names = evaluation.confusion, evaluation.class_names
    is_narrow, is_named = len(names) <= _NARROW_CLASSES, len(names) <= _NAMED
    width, height = (NARROW, 4.4) if is_narrow else (WIDE, 7.0 if is_named else 4.9)
    with drawing(path, width=width, height=height) as figure:
        if is_named:
            axes = figure.add_subplot()
            _name_classes(axes, counts, names)
            shade = _shade_cells(axes, counts)
            _number_cells(axes, counts, shade)
        else:
            axes, listed = figure.subplots(1, 2, width_ratios=(1.6, 1))
            order = similar_beside(counts)
            _shade_cells(axes, counts[np.ix_(order, order)])
            axes.set_xticks([])
            axes.set_yticks([])
            _list_confusions(axes, listed, counts, names, order)
        axes.set(xlabel="predicted" if is_named else "predicted (similar classes side by side)", ylabel="true")


def similar_beside(counts: IntArray) -> IntArray:
    """Return an order of the classes, int64 [K], in which those often taken for each other stand close together.

    The order of the second eigenvector of the graph of confusions (Fiedler's vector), which minimizes the summed
    squared distance of confused classes.

    Parameters
    ----------
    counts
        int64 [K, K].

    References
    ----------
    Atkins, Boman, Hendrickson (1998), A spectral algorithm for seriation, SIAM Journal on Computing 28(1).
    """
    if len(counts) > _LARGEST_SORTED:
        return np.arange(len(counts))
    shares = _shares(counts)
    ties = shares + shares.T
    np.fill_diagonal(ties, 0.0)
    ties += 1e-3 * (ties.mean() + 1e-12)  # holds the parts together that are never confused
    vectors = np.linalg.eigh(np.diag(ties.sum(axis=1)) - ties)[1]
    place = np.round(vectors[:, 1], 9)
    return np.argsort(place if place[np.abs(place).argmax()] > 0 else -place, kind="stable").astype(np.int64)


def most_confused(counts: IntArray, limit: int) -> list[tuple[int, int]]:
    """Return pairs (true, predicted): the most frequent confusions first, of equal ones that of the smaller class."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    first = np.lexsort((-_shares(counts).ravel(), -wrong.ravel()))[:limit]
    return [(int(cell) // len(counts), int(cell) % len(counts)) for cell in first if wrong.flat[cell]]


def _shares(counts: IntArray) -> FloatArray:
    return np.nan_to_num(ratio(counts.astype(np.float64), counts.sum(axis=1, keepdims=True).astype(np.float64)))


def _shade_cells(axes: Any, counts: IntArray) -> FloatArray:
    """Paint the matrix and return how strongly each cell is painted."""
    from matplotlib.colors import to_rgb

    shares = _shares(counts)
    is_right = np.eye(len(counts), dtype=np.bool_)
    shade = np.where(is_right, shares, np.sqrt(shares))
    shade = np.where(shares > 0, 0.06 + 0.94 * shade, 0.0)  # a single mistake stays visible
    color = np.where(is_right[..., None], to_rgb(ACCENT), to_rgb(ORANGE))
    axes.imshow(np.dstack([color, shade]), interpolation="none", aspect="equal")
    for spine in axes.spines.values():
        spine.set_visible(len(counts) > _NAMED)
    return shade


def _name_classes(axes: Any, counts: IntArray, names: Sequence[str]) -> None:
    texts = [short(name) for name in names]
    longest = max(map(len, texts))
    is_upright = longest > 10 or (longest > 3 and len(names) > 5)
    size = 9 if len(names) <= 24 else 7
    rows = [text if count else f"{text} (no row)" for text, count in zip(texts, counts.sum(axis=1), strict=True)]
    axes.set_xticks(range(len(names)), texts, rotation=90 if is_upright else 0, fontsize=size)
    axes.set_yticks(range(len(names)), rows, fontsize=size)
    edges = np.arange(len(names) + 1) - 0.5
    axes.hlines(edges, -0.5, len(names) - 0.5, color=GRID, linewidth=0.6)
    axes.vlines(edges, -0.5, len(names) - 0.5, color=GRID, linewidth=0.6)


def _number_cells(axes: Any, counts: IntArray, shade: FloatArray) -> None:
    """Write the counts where they fit."""
    axes.figure.draw_without_rendering()  # the layout decides how large a cell is
    cell = axes.get_window_extent().width / axes.figure.dpi * 72 / len(counts)  # points
    written = {count: f"{count:,}" for count in np.unique(counts).tolist()}
    if _font_size(cell, written.values()) < _SMALLEST:
        written = {count: _thousands(count) for count in written}
    size = _font_size(cell, written.values())
    if size < _SMALLEST:
        return
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "#ffffff" if shade[row, column] > 0.55 else INK
            axes.text(column, row, written[int(count)], ha="center", va="center", color=color, fontsize=size)


def _thousands(count: int) -> str:
    """Return the count in three characters or so: "950", "1.2k", "13k"."""
    return str(count) if count < 1000 else f"{count / 1000:.{1 if count < 9950 else 0}f}k"


def _font_size(cell: float, texts: Collection[str]) -> float:
    """Return the size, in points, at which the longest text fits into a cell."""
    return min(9.0, 0.85 * cell / (_DIGIT * max(2, *map(len, texts))))


def _list_confusions(axes: Any, listed: Any, counts: IntArray, names: Sequence[str], order: IntArray) -> None:
    """Mark the most frequent confusions in the matrix, and name them beside it."""
    place = np.argsort(order)
    pairs = most_confused(counts, _LISTED)
    listed.set_axis_off()
    listed.set(xlim=(0, 1), ylim=(2 * _LISTED + 1.5, 0))
    listed.text(0, 0.6, "most frequent confusions" if pairs else "no confusions", fontsize=10, va="center")
    for rank, (true, predicted) in enumerate(pairs):
        at = (place[predicted], place[true])
        axes.plot(*at, "o", markersize=6, fillstyle="none", color=INK, markeredgewidth=0.8, clip_on=False)
        beside = {"xytext": (3, 3), "textcoords": "offset points", "annotation_clip": False}
        axes.annotate(f"{rank + 1}", at, fontsize=6, color=INK, **beside)
        line = 2.1 + 2 * rank
        share = counts[true, predicted] / counts[true].sum()
        listed.text(0.06, line, f"{rank + 1}", fontsize=7, va="center", ha="right", color=MUTED)
        listed.text(0.1, line, f"{short(names[true])} → {short(names[predicted])}", fontsize=8, va="center")
        amount = f"{counts[true, predicted]:,} of {counts[true].sum():,}, {100 * share:.3g}%"
        listed.text(0.1, line + 0.85, amount, fontsize=7, va="center", color=MUTED)
