"""Contact sheets of what an audit of pictures found: copies side by side, suspect labels with what they look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.report.pictures import save_sheet


def save_copies(images: NDArray[np.uint8], sets: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the first and the last picture of each set of copies side by side, three sets in a row.

    Parameters
    ----------
    images
        uint8 [N, H, W, C], C of 1 or 3.
    sets
        At least one, as in the evidence of DUPLICATES: rows, names, labels, parts, kind.
    path
        A PNG file; replaced when it exists.
    """
    shown, captions = [], []
    for one in sets:
        for place in (0, -1):
            shown.append(images[one["rows"][place]])
            captions.append((one["labels"][place], _about(one, place), one["names"][place]))
    save_sheet(shown, captions, path)


def save_suspects(images: NDArray[np.uint8], suspects: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the pictures whose labels deserve a second look, under each what it looks like and its label.

    Parameters
    ----------
    images
        uint8 [N, H, W, C], C of 1 or 3.
    suspects
        At least one, as in the evidence of LABEL_NOISE: row, name, label, suggested.
    path
        A PNG file; replaced when it exists.
    """
    shown = [images[one["row"]] for one in suspects]
    captions = [(f"{one['suggested']}?", f"labeled {one['label']}", str(one["name"])) for one in suspects]
    save_sheet(shown, captions, path)


def _about(one: Mapping[str, Any], place: int) -> str:
    more = len(one["rows"]) - 2
    kind = f"{one['kind']} copy" if place else ("first" if not more else f"first of {more + 2}")
    return f"{kind}, {one['parts'][place]}" if one["parts"] else kind
