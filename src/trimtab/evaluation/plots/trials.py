"""What remedies gained, with intervals: one line each, what helped in color."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trimtab.evaluation.plots.drawing import ACCENT, INK, MUTED, WIDE, drawing, short
from trimtab.findings import Trial


def plot_trials(trials: Sequence[Trial], path: Path, *, label: str) -> None:
    """Draw the gain of each trial with its interval; to the right of the line at zero is better.

    Parameters
    ----------
    trials
        Of one metric; those without an interval are a point.
    path
        The .svg file; replaced when it exists.
    label
        What was gained, for the axis.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not trials:
        raise ValueError("there are no trials; expected one or more; draw nothing.")
    with drawing(path, width=WIDE, height=0.9 + 0.26 * max(len(trials), 3)) as figure:
        axes = figure.add_subplot()
        for line, trial in enumerate(trials):
            color = ACCENT if trial.has_helped else MUTED
            if trial.low is not None and trial.high is not None:
                axes.plot([trial.low, trial.high], [line, line], color=color, linewidth=1.6)
            axes.plot([trial.gain], [line], "o", color=color, markersize=4)
        axes.axvline(0.0, color=INK, linewidth=0.8)
        axes.set_ylim(len(trials) - 0.4, -0.6)
        axes.set_yticks(range(len(trials)), [short(trial.remedy, 28) for trial in trials])
        axes.grid(True, axis="x")
        axes.set_xlabel(label)
