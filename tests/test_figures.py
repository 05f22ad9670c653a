"""`trimtab evaluate` and `trimtab compare` on the command line: runs, files, looks at sealed rows, and refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from trimtab.cli import main
from trimtab.ledger import Ledger

NAMES = ("cat", "dog")


def write_predictions(path: Path, noise: float, *, seed: int = 0) -> Path:
    random = np.random.default_rng(0)
    labels = random.integers(2, size=400)
    evidence = random.normal(size=400) + 2.5 * labels - 1.25
    own = np.random.default_rng(seed).normal(size=400)
    positive = 1 / (1 + np.exp(-2 * (evidence + noise * own)))
    columns = {"p_cat": 1 - positive, "p_dog": positive}
    parquet.write_table(pa.table({"label": [NAMES[k] for k in labels], **columns}), path)
    return path


def test_predictions_of_any_system_get_figures_and_pictures(tmp_path, capsys):
    path = write_predictions(tmp_path / "p.parquet", 0.5)
    assert main(["evaluate", "--predictions", str(path), "--level", "0.9", "--out", str(tmp_path / "d"), "--json"]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"{path}: 400 rows, 2 classes\n\nmetric                   value   90% interval ")
    found = json.loads(output.splitlines()[-1])
    assert found["metrics"]["accuracy"]["level"] == 0.9
    for name in ("confusion", "roc", "precision_recall", "reliability", "classes", "scores"):
        assert (tmp_path / "d" / f"{name}.svg").stat().st_size > 1000
    assert json.loads((tmp_path / "d" / "metrics.json").read_text())["rows"] == 400


def test_files_are_compared_with_a_verdict(tmp_path, capsys):
    sharp, dull = write_predictions(tmp_path / "sharp.parquet", 0.1), write_predictions(tmp_path / "dull.parquet", 3)
    assert main(["compare", str(sharp), str(dull)]) == 0
    output = capsys.readouterr().out
    assert output.startswith("400 rows, 2 classes\n\nmetric ")
    assert output.splitlines()[-1].startswith("sharp.parquet is better by ")
    third = write_predictions(tmp_path / "third.parquet", 0.1, seed=5)
    assert main(["compare", str(sharp), str(dull), str(third), "--json"]) == 0
    output = capsys.readouterr().out
    assert "p (Holm)" in output
    assert len(json.loads(output.splitlines()[-1])["pairs"]) == 3


@pytest.fixture
def two_runs(people_run, tmp_path):
    for name in ("first", "second"):
        shutil.copytree(people_run.directory, tmp_path / "runs" / name)
    return tmp_path / "runs"


def test_comparing_runs_is_a_look_that_their_ledgers_note(two_runs, capsys):
    assert main(["compare", str(two_runs / "first"), str(two_runs / "second")]) == 0
    output = capsys.readouterr().out
    assert "No difference in accuracy was seen (p = 1.000)" in output
    for name in ("first", "second"):
        event = Ledger(two_runs / name / "ledger.jsonl").events("test_opened")[-1]
        assert event["caller"] == "trimtab compare"
        assert len(event["models"]) == 1  # both delivered the same file


def test_evaluate_shows_mistakes_and_pictures_and_again_measures_the_same(digits_run, tmp_path, capsys):
    shutil.copytree(digits_run.directory, tmp_path / "runs" / "digits")
    assert main(["evaluate", str(tmp_path / "runs" / "digits")]) == 0
    output = capsys.readouterr().out
    assert "97.5% interval" in output
    assert "mistakes" in output
    assert "confusion.svg" in output
    assert main(["evaluate", str(tmp_path / "runs" / "digits"), "--again"]) == 0
    assert "bit for bit" in capsys.readouterr().out
    events = Ledger(tmp_path / "runs" / "digits" / "ledger.jsonl").events("test_opened")
    assert [event["opening"] for event in events] == [1, 1]


@pytest.mark.parametrize("file", ["evaluation/predictions.csv", "evaluation/metrics.json", "data/split/test.npy"])
def test_altered_files_of_a_run_are_named(two_runs, file, capsys):
    path = two_runs / "first" / file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert main(["evaluate", str(two_runs / "first")]) == 2
    assert Path(file).name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["evaluate"],
            "there is neither a run nor --predictions; expected one of them; see `trimtab evaluate --help`.",
        ),
        (
            ["evaluate", "runs/a", "--predictions", "p.csv"],
            "there is both a run and --predictions; expected one of them; see `trimtab evaluate --help`.",
        ),
        (
            ["evaluate", "--predictions", "p.csv", "--level", "95"],
            "--level is 95; expected a number between 0 and 1; give 0.95 for 95%.",
        ),
        (
            ["evaluate", "--predictions", "p.csv", "--workers", "0"],
            "--workers is 0; expected 1 or more; give the number of processes.",
        ),
        (["evaluate", "runs/a", "--out", "d"], "--out is given with a run; expected --predictions; leave --out out."),
        (
            ["compare", "runs/a"],
            "there is one thing to compare, runs/a; expected two or more; name another run or file.",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, sentence, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"trimtab: {sentence}\n"
