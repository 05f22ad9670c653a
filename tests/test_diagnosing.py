"""`trimtab diagnose`: a run that learned by heart, one too good to judge, what is written, printed and refused."""

import csv
import json
import shutil
import tomllib

import numpy as np
import pytest

import trimtab
from trimtab.cli import main
from trimtab.console import Console
from trimtab.data import Split
from trimtab.findings import CODES, Finding, load_findings, save_findings
from trimtab.ledger import Ledger
from trimtab.plan import Plan

BY_HEART = {"engine": "numpy", "steps": 240, "minutes": 1, "learning_rate": 0.01, "dropout": 0.0, "weight_decay": 0.0}


def write_table(path, *, rows=1000, noise=24, seed=0):
    """Two overlapping classes in 3 columns, beside columns that mean nothing."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    known = 0.5 * (2 * labels - 1)[:, None] + random.standard_normal((rows, 3))
    columns = np.concatenate([known, random.standard_normal((rows, noise))], axis=1)
    names = [f"x{index}" for index in range(columns.shape[1])]
    lines = [
        ",".join([*(f"{value:.4f}" for value in row), "ab"[label]]) for row, label in zip(columns, labels, strict=True)
    ]
    path.write_text("\n".join([",".join([*names, "y"]), *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def by_heart(tmp_path_factory):
    """A run whose network is far too large and trained far too long for its rows, diagnosed."""
    folder = tmp_path_factory.mktemp("by_heart")
    data = write_table(folder / "t.csv")
    options = {"options": {"hidden": [96, 48]}, "validation_fraction": 0.6, "test_fraction": 0.1}
    run = trimtab.run(data, target="y", out=folder / "run", **options, **BY_HEART)
    return run.directory, trimtab.diagnose(run.directory, minutes=5)


@pytest.fixture(scope="module")
def easy(people_csv, tmp_path_factory):
    """A run that hardly mistakes a validation row."""
    out = tmp_path_factory.mktemp("easy") / "run"
    return trimtab.run(people_csv, target="buys", out=out, engine="numpy", steps=150, minutes=1).directory


def of(diagnosis, code):
    return next(finding for finding in diagnosis.findings if finding.code == code)


@pytest.mark.slow
def test_there_is_a_finding_for_each_code_found_ones_first(by_heart):
    _, found = by_heart
    assert {finding.code for finding in found.findings} == set(CODES)
    states = [finding.state for finding in found.findings]
    assert states[: len(found.found)] == ["found"] * len(found.found)


@pytest.mark.slow
def test_learning_by_heart_is_found_and_a_remedy_named(by_heart):
    finding = of(by_heart[1], "OVERFIT")
    assert finding.state == "found"
    assert finding.low > 0
    assert finding.evidence["training_loss"] < finding.evidence["held_out_loss"]
    assert len(finding.trials) == 8
    assert any(trial.has_helped for trial in finding.trials)
    assert not all(trial.has_helped for trial in finding.trials)


@pytest.mark.slow
def test_there_is_signal_and_the_data_are_looked_at(by_heart):
    _, found = by_heart
    assert of(found, "NO_SIGNAL").state == "not found"
    states = {code: of(found, code).state for code in ("LEAKAGE", "DUPLICATES", "IMBALANCE", "SHIFT")}
    assert states == dict.fromkeys(("LEAKAGE", "DUPLICATES", "IMBALANCE"), "not found") | {"SHIFT": "not applicable"}


@pytest.mark.slow
def test_everything_is_written(by_heart):
    directory, found = by_heart
    assert found.directory == directory / "diagnosis"
    assert load_findings(found.directory / "findings.json") == list(found.findings)
    page = (found.directory / "diagnosis.html").read_text()
    assert "OVERFIT" in page
    assert page.count("<svg") == 2
    rows = list(csv.DictReader((found.directory / "suspects.csv").read_text().splitlines()))
    assert {row["label"] for row in rows} <= {"a", "b"}
    assert all(row["label"] != row["suggested"] for row in rows)
    event = Ledger(directory / "ledger.jsonl").events("diagnosed")[-1]
    assert event["found"] == [finding.code for finding in found.found]
    assert not list(directory.glob(".*.tmp"))


@pytest.mark.slow
def test_the_test_rows_were_looked_at_once_by_the_run(by_heart):
    directory, _ = by_heart
    assert len(Ledger(directory / "ledger.jsonl").events("test_opened")) == 1
    assert trimtab.open_run(directory).directory == directory


@pytest.mark.slow
def test_the_remedy_is_a_plan_that_can_be_run(by_heart):
    directory, found = by_heart
    command = found.commands["OVERFIT"]
    assert command == f"trimtab run {directory / 'diagnosis' / 'overfit.toml'}"
    before, after = (Plan.from_toml(path) for path in (directory / "plan.toml", found.directory / "overfit.toml"))
    best = max((t for t in of(found, "OVERFIT").trials if t.has_helped), key=lambda trial: trial.gain)
    assert {name: getattr(after, name) for name in best.settings} == dict(best.settings)
    assert before != after
    assert tomllib.loads((found.directory / "overfit.toml").read_text())["data"]["target"] == "y"


@pytest.mark.slow
def test_without_time_nothing_is_trained_and_it_says_what_would_do(by_heart, tmp_path, capsys):
    run, data = tmp_path / "run", by_heart[0].parent / "t.csv"
    shutil.copytree(by_heart[0], run)
    assert main(["diagnose", str(run), "--minutes", "0.01", "--json"]) == 0
    said = capsys.readouterr().out
    summary = json.loads(said.splitlines()[-1])
    states = {finding["code"]: finding["state"] for finding in summary["findings"]}
    assert {states[code] for code in ("OVERFIT", "UNDERFIT", "LABEL_NOISE")} == {"not checked"}
    assert f"0.01 minutes are too few to train anything again; `trimtab diagnose {run} --minutes " in said
    assert f"`trimtab audit {data} --target y` looks for this." in said
    assert f"page       {run / 'diagnosis' / 'diagnosis.html'}" in said
    assert " of 10 found; " in said


def test_where_hardly_a_row_is_wrong_no_remedy_is_tried(easy, capsys):
    wrong = "validation rows are predicted wrong; at least 20 are needed to tell a remedy from chance."
    found = trimtab.diagnose(easy, minutes=0.5, console=Console(is_quiet=True))
    assert of(found, "OVERFIT").state == "not applicable"
    assert of(found, "OVERFIT").summary.endswith(wrong)
    assert of(found, "NO_SIGNAL").state == "not found"
    assert of(found, "TEST_TOO_SMALL").state == "found"
    assert found.commands == {}


def test_an_audit_of_the_same_data_is_taken_over(easy, people_csv, tmp_path):
    audit = trimtab.audit(people_csv, target="buys", out=tmp_path / "audit")
    moved = [Finding(code="SHIFT", state="found", summary="It moved.", severity="warning")]
    save_findings(moved, audit.directory / "findings.json", data_hash=Split.load(easy / "data" / "split").data_hash)
    found = trimtab.diagnose(easy, minutes=0.5, audit=audit.directory)
    assert of(found, "SHIFT") == moved[0]
    assert of(found, "LEAKAGE").state == "not found"  # looked for here, since that audit says nothing of it


def test_an_audit_knows_its_data_as_the_run_does(easy, people_csv, tmp_path):
    audit = trimtab.audit(people_csv, target="buys", out=tmp_path / "audit")
    found = trimtab.diagnose(easy, minutes=0.5, audit=audit.directory)
    assert of(found, "LEAKAGE") == next(finding for finding in audit.findings if finding.code == "LEAKAGE")
    assert of(found, "OVERFIT").state == "not applicable"  # what an audit does not check is no answer


def test_an_audit_of_other_data_is_refused(easy, tmp_path, capsys):
    audit = trimtab.audit(write_table(tmp_path / "t.csv", rows=80), target="y", out=tmp_path / "audit")
    assert main(["diagnose", str(easy), "--audit", str(audit.directory)]) == 2
    assert capsys.readouterr().err.strip() == (
        f"trimtab: the findings in {audit.directory} are not about the data of {easy}, as that run read them; expected "
        f"an audit of the same data; leave --audit out, or audit what the run was given: `trimtab audit {easy}`."
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--minutes", "0"], "minutes is 0; expected a number above 0; change it or leave it out."),
        (["--seeds", "1"], "seeds is 1; expected 2 to 20; change it: one cannot tell a remedy from chance."),
        (["--points", "-1"], "points is -1; expected a number above 0, at most 100; change it or leave it out."),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, sentence, easy, capsys):
    assert main(["diagnose", str(easy), *arguments]) == 2
    assert capsys.readouterr().err.strip() == f"trimtab: {sentence}"


def test_an_audit_that_is_not_there_is_refused(easy, tmp_path, capsys):
    assert main(["diagnose", str(easy), "--audit", str(tmp_path / "no")]) == 2
    said = capsys.readouterr().err.strip()
    assert said == (
        f"trimtab: there are no findings at {tmp_path / 'no'}; expected a directory that `trimtab audit` made; "
        "check the path."
    )


def test_an_unfinished_run_is_refused(tmp_path, people_csv, capsys):
    out = tmp_path / "run"
    trimtab.train(people_csv, target="buys", out=out, steps=5, engine="numpy")
    assert main(["diagnose", str(out)]) == 2
    assert "is not finished; expected a finished run" in capsys.readouterr().err


def test_data_that_changed_are_refused(tmp_path, capsys):
    data = write_table(tmp_path / "t.csv", rows=120, noise=2)
    run = trimtab.run(data, target="y", out=tmp_path / "run", **BY_HEART | {"steps": 10})
    write_table(data, rows=120, noise=2, seed=1)
    assert main(["diagnose", str(run.directory)]) == 2
    assert (
        f"the data at {data} changed since {run.directory} was made; expected the same content"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_pictures_that_torch_trained_too_short_are_found_to_be_underfit(tmp_path):
    settings = {"options": {"channels": [8, 16]}, "steps": 40, "minutes": 5, "threads": 1}
    run = trimtab.run("digits", engine="torch", out=tmp_path / "run", **settings)
    found = trimtab.diagnose(run.directory, minutes=10, seeds=2)
    underfit = of(found, "UNDERFIT")
    assert underfit.state == "found"
    assert "twice the steps" in [trial.remedy for trial in underfit.trials if trial.has_helped]
    assert Plan.from_toml(found.directory / "underfit.toml").engine == "torch"
    assert of(found, "NO_SIGNAL").state == "not found"
    assert (found.directory / "curves.svg").exists()
