"""What a person sees while a run goes on: a line per stage, a row per epoch, a bar while they wait.

Lines go to standard output, bars and warnings to standard error. Nothing is decided here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from trimtab.budget import Verdict, VerdictLine

_COLUMNS = (("epoch", 7), ("train loss", 11), ("val loss", 9), ("val acc", 8), ("lr", 9), ("used", 8), ("left", 8))


class Console:
    """Prints the progress of a run; ``is_quiet`` keeps everything but warnings to itself."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self.is_quiet = is_quiet
        self._bar: Any = None
        self._has_header = False
        self._started = time.perf_counter()

    @property
    def shows_bars(self) -> bool:
        """Whether progress bars make sense: a person is looking."""
        return not self.is_quiet and sys.stderr.isatty()

    def stage(self, name: str, text: str) -> None:
        """Print one line: what was done and what came of it, and the seconds since the start."""
        self.close_bar()
        self._print(f"{name:<10} {text}  [{time.perf_counter() - self._started:.1f} s]")

    def note(self, text: str) -> None:
        """Print a line that belongs to the stage above."""
        self._print(f"{'':<10} {text}")

    def warn(self, text: str) -> None:
        """Print a warning to standard error, also when quiet."""
        self._print_to(sys.stderr, f"warning    {text}")

    def epoch(self, row: dict[str, float | None]) -> None:
        """Print a row of the training table, with its header first."""
        if not self._has_header:
            self._print("training   " + " ".join(f"{title:>{width}}" for title, width in _COLUMNS))
            self._has_header = True
        values = (
            f"{row['epoch']:.1f}",
            _loss(row["train_loss"]),
            _loss(row["validation_loss"]),
            f"{100 * (row['validation_accuracy'] or 0):.2f}%",
            f"{row['learning_rate']:.2e}",
            _seconds(row["seconds"]),
            _seconds(row["budget_left_seconds"]),
        )
        self._print(
            f"{'':<10} " + " ".join(f"{value:>{width}}" for value, (_, width) in zip(values, _COLUMNS, strict=True))
        )

    def step(self, done: int, total: int) -> None:
        """Move the bar of training."""
        if not self.shows_bars:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="step", desc="training", leave=False, dynamic_ncols=True)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close_bar(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _print(self, line: str) -> None:
        if not self.is_quiet:
            self._print_to(sys.stdout, line)

    def _print_to(self, stream: Any, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=stream)
        else:
            print(line, file=stream, flush=True)


def verdict_table(verdict: Verdict) -> str:
    """Return the limits beside the measurements as aligned text."""
    lines = [f"{'':<18}{'limit':>10}{'measured':>12}   verdict"]
    for line in verdict.lines:
        limit = "none" if line.limit is None else f"{line.limit:.4g}"
        word = "-" if line.limit is None else "met" if line.is_met else f"MISSED, {describe_excess(line)}"
        name = f"{line.name} (p95)" if line.name == "milliseconds" else line.name
        lines.append(f"{name:<18}{limit:>10}{line.measured:>12.4g}   {word}")
    return "\n".join(lines)


def describe_look(number: int, others: Sequence[str]) -> str:
    """Return which look at the same test rows this is, and what that does to the intervals."""
    from trimtab.evaluation.opening import level_of_look

    also = f" (also in {', '.join(others[:3])}{', ...' if len(others) > 3 else ''})" if others else ""
    first, now = (f"{100 * level_of_look(k):.6g}%" for k in (1, number))
    held = "so that those of all looks hold together"
    return f"look {number} at these test rows{also}: intervals at {now} instead of {first}, {held}"


def describe_size(megabytes: float) -> str:
    """Return "106 kB" or "2.89 MB"."""
    return f"{1000 * megabytes:.3g} kB" if megabytes < 1 else f"{megabytes:.3g} MB"


def describe_excess(line: VerdictLine) -> str:
    """Return how far a measurement is above its limit: in percent, or as a multiple when it is far."""
    if line.excess < 1:
        return f"{100 * line.excess:.3g}% above the limit"
    return f"{line.excess + 1:.3g} times the limit"


def _loss(loss: float | None) -> str:
    return "no number" if loss is None else f"{loss:.4f}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{max(0.0, seconds):.0f} s"
