"""Contact sheets show the pictures of what was found."""

import numpy as np
import pytest
from PIL import Image

from trimtab.report.contact_sheets import save_copies, save_suspects

IMAGES = np.stack([np.full((8, 8, 3), 10 * number, dtype=np.uint8) for number in range(9)])


def shades(path):
    """The shades of grey that pictures on the sheet have, from left to right in its first row."""
    with Image.open(path) as sheet:
        line = np.asarray(sheet.convert("L"))[18 + 80]
    return [int(line[18 + 178 * column + 80]) for column in range((len(line) - 18) // 178)]


@pytest.mark.parametrize("parts", [[], ["training", "training", "test"]])
def test_first_and_last_of_a_set_stand_side_by_side(tmp_path, parts):
    sets = [
        {"rows": [1, 2, 3], "names": ["a", "b", "c"], "labels": ["x"] * 3, "parts": parts, "kind": "near"},
        {"rows": [5, 7], "names": ["d", "e"], "labels": ["x", "y"], "parts": parts[1:], "kind": "exact"},
    ]
    save_copies(IMAGES, sets, tmp_path / "sheet.png")
    assert shades(tmp_path / "sheet.png") == [10, 30, 50, 70]


def test_suspects_are_shown_in_their_order(tmp_path):
    suspects = [{"row": row, "name": "n", "label": "cat", "suggested": "dog"} for row in (8, 2)]
    save_suspects(IMAGES, suspects, tmp_path / "sheet.png")
    assert shades(tmp_path / "sheet.png") == [80, 20]
