"""The look that all plots share, and the file that one becomes.

Text stays text and tones are few and fixed (`ACCENT`, `INK`, `MUTED`, `GRID`, `PAPER`), so that a page that inlines a
picture can restyle them; nothing is painted behind a whole drawing. matplotlib's global state is left alone.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trimtab.storage import write_bytes

ACCENT, INK, MUTED, GRID = "#2a5fb8", "#1f2933", "#697586", "#dfe4ea"
PAPER = "#fefefe"  # behind a drawing within a drawing
ORANGE = "#d55e00"
PALETTE = (ACCENT, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, colour-blind safe
NARROW, WIDE = 4.6, 7.4  # inches; two narrow ones stand beside each other
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "trimtab",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
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
    "lines.linewidth": 1.6,
}


@contextmanager
def drawing(path: Path, *, width: float, height: float) -> Iterator[Any]:
    """Give an empty figure, and write it as an SVG file when the block ends.

    Parameters
    ----------
    path
        The .svg file; replaced when it exists.
    width, height
        In inches.
    """
    from trimtab.data.cache import cache_directory

    # matplotlib keeps a list of fonts; by default in a directory of its own choice.
    os.environ.setdefault("MPLCONFIGDIR", str(cache_directory() / "matplotlib"))
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*missing from font")  # whoever shows the text has the font
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata=_NO_METADATA)
    write_bytes(path, content.getvalue())


def short(name: str, length: int = 16) -> str:
    """Return the name; one that is longer loses its middle, since long names often differ at their ends only."""
    if len(name) > length:
        end = length // 3
        name = f"{name[: length - 1 - end]}…{name[-end:]}"
    return name.replace("$", r"\$")  # matplotlib would read what stands between two as mathematics


def share_ticks(start: float = 0.0) -> dict[str, Any]:
    """Return five ticks from ``start`` to 1 with their percentages, as matplotlib's ``set_xticks`` takes them."""
    ticks = [start + quarter * (1 - start) / 4 for quarter in range(5)]
    return {"ticks": ticks, "labels": [f"{100 * tick:.4g}%" for tick in ticks]}


def show_shares(axes: Any, *, x: str, y: str, start: float = 0.0) -> None:
    """Frame a square whose sides are shares from ``start`` to 1, and name them."""
    air = 0.01 * (1 - start)
    axes.set(xlim=(start - air, 1 + air), ylim=(start - air, 1 + air), xlabel=x, ylabel=y)
    axes.set_xticks(**share_ticks(start))
    axes.set_yticks(**share_ticks(start))
    axes.grid(True)
