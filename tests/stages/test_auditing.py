"""A run keeps copies together and says so; what came divided is not moved, and the user is warned."""

import numpy as np
import pytest
from PIL import Image

import trimtab
from trimtab.cli import main
from trimtab.data import Split
from trimtab.findings import load_findings


@pytest.fixture(scope="module")
def doubled_csv(tmp_path_factory):
    rng = np.random.default_rng(0)
    lines = [f"{p:.6f},{q:.6f},{'yes' if p + q > 0 else 'no'}" for p, q in rng.normal(size=(120, 2))]
    path = tmp_path_factory.mktemp("tables") / "doubled.csv"
    path.write_text("\n".join(["p,q,y", *lines, *lines[:60]]) + "\n")
    return path


def test_a_run_keeps_copies_in_one_part_and_says_so(doubled_csv, tmp_path, capsys):
    code = main(
        ["run", str(doubled_csv), "--target", "y", "--steps", "5", "--engine", "numpy", "--out", str(tmp_path / "run")]
    )
    assert code == 0
    assert "60 sets of copies are kept together: none has rows in two parts" in capsys.readouterr().out
    split = Split.load(tmp_path / "run" / "data" / "split")
    for part in (split.train, split.validation):
        own = set(part.tolist())
        assert all((row in own) == (row + 120 in own) for row in range(60))
    duplicates, imbalance = load_findings(tmp_path / "run" / "data" / "audit.json")
    assert (duplicates.code, duplicates.state, duplicates.evidence["sets"]) == ("DUPLICATES", "found", 60)
    assert (imbalance.code, imbalance.state) == ("IMBALANCE", "not found")


def test_copies_across_parts_that_came_with_the_data_are_warned_of(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 10)):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for index in range(count):
                picture = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8))
                picture.save(tmp_path / "photos" / part / name / f"{index}.png")
    source = tmp_path / "photos" / "train" / "cat" / "3.png"
    (tmp_path / "photos" / "test" / "cat" / "copy.png").write_bytes(source.read_bytes())
    run = trimtab.train(tmp_path / "photos", steps=2, minutes=1, engine="numpy", out=tmp_path / "run")
    wanted = (
        "1 set of copies has rows in several parts, which makes figures too good: nothing that came divided is moved"
    )
    assert wanted in run.warnings
    assert load_findings(tmp_path / "run" / "data" / "audit.json")[0].severity == "critical"
