"""One self-contained page about a ladder: every rung in a table and a picture, and what pruning was worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from trimtab.report.drawings import inline_svg
from trimtab.storage import write_text

_PLOT_TITLE = "Size, time and accuracy"


def write_compression_page(
    path: Path,
    *,
    name: str,
    headline: str,
    reason: str,
    rows: Sequence[Mapping[str, Any]],
    claims: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> Path:
    """Write the page and return its path; ``tradeoff.svg`` beside it becomes part of it.

    Parameters
    ----------
    path
        Of the page.
    name
        Of the run.
    headline, reason
        What is delivered, and why.
    rows
        Of the table of rungs, as texts by column.
    claims
        Rows about networks and their controls, as texts by column.
    notes
        What a reader should know, a sentence each.
    """
    import jinja2

    templates = files("trimtab.report") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: (templates / file).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = (path.parent / "tradeoff.svg").read_text(encoding="utf-8")
    view = {
        "name": name,
        "headline": headline,
        "reason": reason,
        "rows": rows,
        "claims": claims,
        "notes": notes,
        "plot": inline_svg(text, name="tradeoff", title=_PLOT_TITLE),
    }
    write_text(path, environment.get_template("compression.html").render(view))
    return path
