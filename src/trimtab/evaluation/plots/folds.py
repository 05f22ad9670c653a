"""How training went in each fold of a cross-validation, all folds in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from trimtab.evaluation.plots.drawing import ACCENT, ORANGE, WIDE, drawing

History = Sequence[Mapping[str, float]]


def plot_fold_curves(histories: Sequence[History], path: Path) -> None:
    """Draw the losses and the validation accuracy of each fold against the epochs, a thin line for each.

    Parameters
    ----------
    histories
        Of each fold a row per epoch with ``epoch``, ``train_loss``, ``validation_loss``, ``validation_accuracy``;
        a value may be missing.
    path
        The .svg file; replaced when it exists.
    """
    opacity = max(0.25, min(0.8, 3 / max(1, len(histories))))
    with drawing(path, width=WIDE, height=3.1) as figure:
        loss, accuracy = figure.subplots(1, 2)
        for index, history in enumerate(histories):
            epochs = [row["epoch"] for row in history]
            for axes, name, color, label in (
                (loss, "train_loss", ORANGE, "training"),
                (loss, "validation_loss", ACCENT, "validation"),
                (accuracy, "validation_accuracy", ACCENT, ""),
            ):
                values = [row.get(name, math.nan) for row in history]
                shown = label if index == 0 and label else None
                axes.plot(epochs, values, color=color, alpha=opacity, linewidth=1, label=shown)
        loss.set_title("loss, a line for each fold")
        loss.legend()
        accuracy.set_title("validation accuracy, a line for each fold")
        for axes in (loss, accuracy):
            axes.set_xlabel("epoch")
            axes.grid(True)
            axes.xaxis.get_major_locator().set_params(integer=True)
