"""How training went: losses and validation accuracy by epoch; the loss over a sweep of learning rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from trimtab.evaluation.plots.drawing import ACCENT, ORANGE, WIDE, drawing

_MARKED = 25  # epochs; with fewer, each point is marked


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
    marker = "o" if len(history) < _MARKED else None
    with drawing(path, width=WIDE, height=3.1) as figure:
        loss, accuracy = figure.subplots(1, 2)
        for name, color, label in (
            ("train_loss", ORANGE, "training"),
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


def plot_range_test(rates: Sequence[float], losses: Sequence[float], suggestion: float, path: Path) -> None:
    """Draw the running mean of the loss against the learning rate, and mark the one that is suggested.

    Parameters
    ----------
    rates, losses
        Of each step, as in `trimtab.training.range_test.RangeTest`.
    suggestion
        A learning rate.
    path
        The .svg file; replaced when it exists.
    """
    with drawing(path, width=WIDE, height=3.1) as figure:
        axes = figure.subplots()
        axes.plot(rates, losses, color=ACCENT)
        axes.axvline(suggestion, color=ORANGE, linestyle="--", label=f"suggested: {suggestion:.2g}")
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_title("training loss, running mean")
        axes.legend()
        axes.grid(True)
