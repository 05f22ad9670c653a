"""What a diagnosis says of the data alone: a column that leaks is named, and so is a test part from another world."""

import numpy as np
import pytest
from PIL import Image

import trimtab

SETTINGS = {"engine": "numpy", "steps": 40, "minutes": 1}


def states(found):
    return {finding.code: finding.state for finding in found.findings}


def diagnose(data, out, **settings):
    run = trimtab.run(data, out=out, **SETTINGS | settings)
    return run.directory, trimtab.diagnose(run.directory, minutes=0.3, seeds=2)


@pytest.fixture
def table(tmp_path):
    """Return a table of a hard problem, with a column that is written when the outcome is known."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    hint, known = labels + random.normal(0, 1.5, 400), labels + random.normal(0, 0.05, 400)
    lines = [f"{a:.4f},{b:.4f},{['no', 'yes'][y]}" for a, b, y in zip(hint, known, labels, strict=True)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["hint,refund,returned", *lines]) + "\n")
    return path


def write_pictures(folder, *, darker):
    """Write noise of two shades, in a folder for training and one for testing."""
    random = np.random.default_rng(0)
    for part, count in (("train", 120), ("test", 60)):
        for label, shade in (("day", 150), ("night", 100)):
            place = folder / part / label
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.normal(shade - (darker if part == "test" else 0), 40, (8, 8)).clip(0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    return folder


def test_a_column_that_leaks_is_found_without_an_audit(table, tmp_path):
    directory, found = diagnose(table, tmp_path / "run", target="returned", options={"hidden": [8]})
    assert states(found)["LEAKAGE"] == "found"
    assert "'refund'" in next(finding for finding in found.findings if finding.code == "LEAKAGE").summary
    assert not list(directory.parent.glob("*-audit"))


def test_a_test_part_of_another_shade_is_found_without_its_labels(tmp_path):
    _, found = diagnose(write_pictures(tmp_path / "pictures", darker=50), tmp_path / "run", options={"channels": [4]})
    shift = next(finding for finding in found.findings if finding.code == "SHIFT")
    assert (shift.state, shift.evidence["rows"]) == ("found", [240, 120])
    assert "class_shares" not in shift.evidence


def test_a_test_part_of_the_same_shade_is_none(tmp_path):
    _, found = diagnose(write_pictures(tmp_path / "pictures", darker=0), tmp_path / "run", options={"channels": [4]})
    assert states(found)["SHIFT"] == "not found"
    assert states(found)["LEAKAGE"] == "not applicable"
