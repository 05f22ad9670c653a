"""Pictures as SVG files: confusion matrix, ROC curves, learning curves.

Text stays text and grey tones are few and fixed (`INK`, `MUTED`, `GRID`), so that a page that inlines a picture can
restyle them; nothing is painted behind the drawing. matplotlib's global state is left alone.

Legend: ``N`` rows, ``K`` classes.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.counts import FloatArray, IntArray, ratio
from trimtab.evaluation.evaluate import Evaluation
from trimtab.evaluation.ranking import auc_with_influence
from trimtab.storage import write_bytes

ACCENT, INK, MUTED, GRID = "#2a5fb8", "#1f2933", "#697586", "#dfe4ea"
PALETTE = (ACCENT, "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, colour-blind safe
_NUMBERED = 12  # classes; above it a cell is too small for its count
_NAMED = 30  # classes; above it a name is too small to read
_CURVE_POINTS = 300
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_BACKGROUND = {"color": MUTED, "alpha": 0.3, "linewidth": 0.8}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "trimtab",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def plot_confusion(evaluation: Evaluation, path: Path) -> None:
    """Draw how often each class was taken for each, shaded by the share of the true class.

    Parameters
    ----------
    evaluation
        Whose confusion matrix is drawn.
    path
        The .svg file; replaced when it exists.
    """
    counts, names = evaluation.confusion, evaluation.class_names
    shares = np.nan_to_num(ratio(counts.astype(np.float64), counts.sum(axis=1, keepdims=True).astype(np.float64)))
    with _drawing(path, width=5.2, height=4.9) as figure:
        axes = figure.add_subplot()
        from matplotlib.colors import to_rgb

        color = np.broadcast_to(np.array(to_rgb(ACCENT)), (*shares.shape, 3))
        shade = np.where(shares > 0, 0.06 + 0.94 * shares, 0.0)  # a single mistake stays visible
        axes.imshow(np.dstack([color, shade]), interpolation="none", aspect="equal")
        _frame_matrix(axes, names)
        if len(names) <= _NUMBERED:
            _number_cells(axes, counts, shade)


def plot_roc(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], class_names: Sequence[str], path: Path
) -> None:
    """Draw the ROC curve of each class against the rest; of many classes the worst are colored and named.

    Parameters
    ----------
    labels
        Class numbers, integers [N].
    probabilities
        float [N, K]; with K = 2 one curve is drawn, for the second class.
    class_names
        K names.
    path
        The .svg file; replaced when it exists.
    """
    classes = [1] if len(class_names) == 2 else range(len(class_names))
    areas = {k: auc_with_influence(labels == k, probabilities[:, k])[0] for k in classes}
    ordered = sorted((k for k in classes if not np.isnan(areas[k])), key=lambda k: areas[k])
    colors = dict(zip(ordered, PALETTE, strict=False))
    with _drawing(path, width=5.2, height=4.9) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=GRID, linewidth=1.2, linestyle=(0, (4, 3)))
        for k in reversed(ordered):
            wrong, found = _roc_curve(labels == k, probabilities[:, k])
            label = f"{_short(class_names[k])}  {_area(areas[k])}" if k in colors else None
            axes.plot(wrong, found, **({"color": colors[k]} if k in colors else _BACKGROUND), label=label)
        axes.set(xlim=(-0.01, 1.0), ylim=(0, 1.01), xlabel="others taken for the class", ylabel="of the class found")
        axes.grid(True)
        if ordered:
            title = "area" if len(ordered) == len(colors) else f"lowest areas of {len(ordered)}"
            axes.legend(loc="lower right", title=title, reverse=True, alignment="left")


def plot_learning_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw the losses and the validation accuracy against the epochs.

    Parameters
    ----------
    history
        A row per epoch with ``epoch``, ``train_loss``, ``validation_loss``, ``validation_accuracy``;
        a value may be missing.
    path
        The .svg file; replaced when it exists.
    """
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(history) < 25 else None
    with _drawing(path, width=7.4, height=3.1) as figure:
        loss, accuracy = figure.subplots(1, 2)
        for name, color, label in (
            ("train_loss", PALETTE[1], "training"),
            ("validation_loss", ACCENT, "validation"),
        ):
            values = [row.get(name, math.nan) for row in history]
            loss.plot(epochs, values, color=color, label=label, marker=marker, markersize=3)
        loss.set_title("loss")
        loss.legend()
        values = [row.get("validation_accuracy", math.nan) for row in history]
        accuracy.plot(epochs, values, color=ACCENT, marker=marker, markersize=3)
        accuracy.set_title("validation accuracy")
        for axes in (loss, accuracy):
            axes.set_xlabel("epoch")
            axes.grid(True)
            axes.xaxis.get_major_locator().set_params(integer=True)


@contextmanager
def _drawing(path: Path, *, width: float, height: float) -> Iterator[Any]:
    """Give an empty figure of this size in inches, and write it when the block ends."""
    from trimtab.data.cache import cache_directory

    # matplotlib keeps a list of fonts; by default in a directory of its own choice.
    os.environ.setdefault("MPLCONFIGDIR", str(cache_directory() / "matplotlib"))
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        content = io.BytesIO()
        figure.savefig(content, format="svg", transparent=True, metadata=_NO_METADATA)
    write_bytes(path, content.getvalue())


def _frame_matrix(axes: Any, names: Sequence[str]) -> None:
    axes.set(xlabel="predicted", ylabel="true")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(names) > _NAMED:
        return
    short = [_short(name) for name in names]
    longest = max(map(len, short))
    upright = longest > 10 or (longest > 3 and len(names) > 5)
    axes.set_xticks(range(len(names)), short, rotation=90 if upright else 0)
    axes.set_yticks(range(len(names)), short)
    edges = np.arange(len(names) + 1) - 0.5
    axes.hlines(edges, -0.5, len(names) - 0.5, color=GRID, linewidth=0.6)
    axes.vlines(edges, -0.5, len(names) - 0.5, color=GRID, linewidth=0.6)


def _number_cells(axes: Any, counts: IntArray, shade: FloatArray) -> None:
    size = 9 if len(counts) <= 6 else 7.5
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "#ffffff" if shade[row, column] > 0.55 else INK
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=size)


def _roc_curve(is_positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
    """Return false and true positive rates from (0, 0) to (1, 1), thinned to what a picture can show."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(is_positive[order])[last_of_tie]
    taken = np.arange(1, len(scores) + 1)[last_of_tie] - found
    true_rate, false_rate = (np.concatenate([[0.0], side / side[-1]]) for side in (found, taken))
    along = true_rate + false_rate  # grows from 0 to 2
    kept = np.unique(np.searchsorted(along, np.linspace(0, 2, _CURVE_POINTS)).clip(max=len(along) - 1))
    return false_rate[kept], true_rate[kept]


def _area(area: float) -> str:
    return f"{area:.5f}" if 0.9995 <= area < 1 else f"{area:.3f}"


def _short(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"
