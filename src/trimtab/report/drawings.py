"""Pictures inside the page: SVG made safe to stand beside another one, PNG as data.

An inlined SVG shares identifiers, style sheets and colors with the page. Identifiers get a prefix, the global style
sheet goes away, and fixed tones become the page's variables, so that a plot follows light and dark.
"""

from __future__ import annotations

import base64
import re

from markupsafe import Markup

from trimtab.evaluation.plots import ACCENT, GRID, INK, MUTED, PAPER

_TONES = {INK: "--ink", MUTED: "--muted", GRID: "--rule", ACCENT: "--plot", PAPER: "--paper"}
_WIDE = 400  # points


def inline_svg(text: str, *, name: str, title: str) -> Markup:
    """Return the SVG of a plot as markup for the page.

    Parameters
    ----------
    text
        An SVG document as `trimtab.evaluation.plots` writes it.
    name
        Unique in the page; prefix of every identifier.
    title
        What it shows, for those who hear the page.

    Raises
    ------
    ValueError
        If the text holds no ``<svg>`` element.
    """
    found = re.search(r"<svg\b[^>]*>(.*)</svg>", text, re.DOTALL)
    box = _view_box(text)
    if not found or not box:
        raise ValueError(f"the plot {name} holds no svg element with a viewBox; expected one; draw it again.")
    content = re.sub(r"<(metadata|style|script)\b.*?</\1>", "", found.group(1), flags=re.DOTALL)
    content = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', content)
    content = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", content)
    content = re.sub(r'href="#([^"]*)"', rf'href="#{name}-\1"', content)
    for tone, variable in _TONES.items():
        content = content.replace(f": {tone}", f": var({variable})")
    opening = Markup('<svg viewBox="{}" role="img" aria-label="{}" class="plot">').format(box, title)
    return opening + Markup(content) + Markup("</svg>")  # were a script left in it, the page forbids scripts


def is_wide(text: str) -> bool:
    """Return whether the plot is too wide to stand beside another one."""
    box = _view_box(text)
    return box is not None and float(box.split()[2]) > _WIDE


def _view_box(text: str) -> str | None:
    found = re.search(r'<svg\b[^>]*\bviewBox="([-\d. ]+)"', text)
    return found.group(1) if found else None


def png_data(content: bytes) -> str:
    """Return a PNG as an address that needs no request."""
    return "data:image/png;base64," + base64.b64encode(content).decode()
