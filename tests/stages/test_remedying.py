"""A run that looks for remedies: when it does, what it takes over, and that kills and repeats change nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

import trimtab
from trimtab.artifact import Artifact
from trimtab.console import Console
from trimtab.generalization.remedies import Remedy
from trimtab.ledger import Ledger
from trimtab.plan import Plan
from trimtab.stages import remedying
from trimtab.stages.remedy_trials import how_many_seeds

GREEDY = {"engine": "numpy", "learning_rate": 0.01, "dropout": 0.0, "weight_decay": 0.0, "threads": 1}
GREEDY |= {"epochs_at_most": 12, "patience": 0, "batch_size": 16, "options": {"hidden": [64, 32]}}
GREEDY |= {"target": "y", "minutes": 5, "validation_fraction": 0.6, "test_fraction": 0.1}
TRIED = (
    Remedy(cause="OVERFIT", name="at most 4 passes", settings={"epochs_at_most": 4}, work=0.4),
    Remedy(cause="OVERFIT", name="a millionth of the rate", settings={"learning_rate": 1e-8}),
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two overlapping classes in 3 columns, beside columns that a large network learns by heart."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 700)
    known = 0.5 * (2 * labels - 1)[:, None] + random.standard_normal((700, 3))
    rows = np.concatenate([known, random.standard_normal((700, 24))], axis=1)
    lines = [",".join([*map("{:.4f}".format, row), "ab"[label]]) for row, label in zip(rows, labels, strict=True)]
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    path.write_text("\n".join([",".join([*(f"x{index}" for index in range(27)), "y"]), *lines]) + "\n")
    return path


@pytest.fixture(scope="module", autouse=True)
def two_remedies():
    """One that helps where a network learns by heart, and one that never does: for the tests to be quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trimtab.stages.remedy_trials.run_remedies", lambda plan, **_: list(TRIED))
        yield


@pytest.fixture(scope="module")
def remedied(table, tmp_path_factory):
    return trimtab.run(table, remedies=True, out=tmp_path_factory.mktemp("remedied") / "run", **GREEDY)


@pytest.fixture(scope="module")
def plain(table, tmp_path_factory):
    return trimtab.run(table, remedies=False, out=tmp_path_factory.mktemp("plain") / "run", **GREEDY)


def ledger_of(run):
    return Ledger(run.directory / "ledger.jsonl")


def weights(run):
    return Artifact.load(run.directory / "model").sha256


def test_what_is_shown_to_help_is_taken_over_with_its_reason(remedied):
    assert (remedied.plan.epochs_at_most, remedied.plan.remedies) == (4, False)
    (event,) = ledger_of(remedied).events("remedies")
    assert event["accepted"] == "at most 4 passes"
    text = (remedied.directory / "plan.toml").read_text()
    assert "epochs_at_most = 4  # verified on 420 validation rows: log loss 0." in text
    assert Plan.from_toml(remedied.directory / "plan.toml") == remedied.plan
    assert (
        Artifact.load(remedied.directory / "model").sha256
        == ledger_of(remedied).events("trained")[-1]["weights_sha256"]
    )
    assert ledger_of(remedied).events("trained")[-1]["corrections"][-1]["reason"].startswith("4 passes")


def test_every_trial_is_in_the_ledger_and_on_the_page(remedied):
    (event,) = ledger_of(remedied).events("remedies")
    helped = {trial["remedy"]: trial["has_helped"] for trial in event["tried"]}
    assert helped == {"at most 4 passes": True, "a millionth of the rate": False}
    assert event["tried"][0]["low"] > 0
    page = (remedied.directory / "report.html").read_text()
    assert "at most 4 passes · taken over" in page
    assert "a millionth of the rate" in page


def test_the_test_rows_are_looked_at_once_and_the_run_is_whole(remedied):
    assert len(ledger_of(remedied).events("test_opened")) == 1
    assert trimtab.open_run(remedied.directory).plan == remedied.plan


def test_a_repetition_tries_nothing_and_gives_the_same_weights(remedied):
    again = trimtab.run(remedied.directory / "plan.toml")
    assert weights(again) == weights(remedied)
    assert not ledger_of(again).events("remedies_begun")
    assert ledger_of(again).events("replayed")[0]["is_identical"]


def test_where_nothing_helps_the_model_is_the_one_without_trials(table, plain, tmp_path, monkeypatch):
    monkeypatch.setattr("trimtab.stages.remedy_trials.run_remedies", lambda plan, **_: [TRIED[1]])
    run = trimtab.run(table, remedies=True, out=tmp_path / "run", **GREEDY)
    (event,) = ledger_of(run).events("remedies")
    assert event["accepted"] is None
    assert weights(run) == weights(plain)
    assert run.plan == plain.plan
    assert "1 remedy tried in " in (run.directory / "plan.toml").read_text()


def test_a_run_that_is_not_to_try_says_nothing_of_it(plain):
    events = {event["event"] for event in ledger_of(plain).events()}
    assert not events & {"remedies", "remedies_begun", "remedies_skipped"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"steps": 100}, "the number of steps is given"),
        ({"deterministic": True}, "the training is that of several workers"),
        ({"validation_fraction": 0.05}, " of 35 validation rows are wrong, of which 20 are needed to judge by"),
    ],
)
def test_what_cannot_be_tried_is_said_in_a_sentence(settings, reason, table, tmp_path, capsys):
    run = trimtab.run(table, remedies=True, out=tmp_path / "run", console=Console(), **GREEDY | settings)
    (event,) = ledger_of(run).events("remedies_skipped")
    assert event["reason"].endswith(reason)
    assert f"remedies   none tried: {event['reason']}" in capsys.readouterr().out
    assert f"none tried, since {event['reason']}" in (run.directory / "report.html").read_text()
    assert run.plan.remedies


def test_without_time_nothing_is_tried(table, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(remedying, "seconds_for_trials", lambda job, reserve: lambda: 0.0)
    run = trimtab.run(table, remedies=True, out=tmp_path / "run", **GREEDY)
    (event,) = ledger_of(run).events("remedies_skipped")
    assert event["reason"].startswith("0 s are left for trials, too few for trainings of ")
    assert weights(run) == weights(plain)


def test_a_user_who_wants_to_stop_gets_the_model_that_there_is(table, plain, tmp_path, monkeypatch):
    monkeypatch.setattr("trimtab.stages.remedy_trials.interruptible", lambda console: nullcontext(lambda: True))
    run = trimtab.run(table, remedies=True, out=tmp_path / "run", **GREEDY)
    assert ledger_of(run).events("remedies_skipped")[0]["reason"] == "stopped by the user"
    assert weights(run) == weights(plain)


@pytest.mark.parametrize(("seconds", "seeds"), [(1000, 5), (28, 5), (27, 4), (22, 3), (11, 3), (10, 2), (6, 0)])
def test_less_time_means_fewer_seeds(seconds, seeds):
    assert how_many_seeds(1.0, seconds, 8.0) == seeds


# ---- kills ----


def cut(run, destination, event):
    """Copy a run as a kill just after the last entry of this name would have left it: its ledger ends there."""
    shutil.copytree(run.directory, destination)
    lines = (destination / "ledger.jsonl").read_text().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if json.loads(line)["event"] == event)
    (destination / "ledger.jsonl").write_text("".join(lines[: last + 1]))
    for name in ("evaluation", "compression", "bundle"):
        shutil.rmtree(destination / name)
    (destination / "report.html").unlink()
    return destination


@pytest.fixture
def killed_before_training_again(remedied, plain, tmp_path):
    """The remedy is in the ledger, and everything else still as the first training left it."""
    place = cut(remedied, tmp_path / "run", "remedies")
    shutil.rmtree(place / "model")
    shutil.copytree(plain.directory / "model", place / "model")
    text = (plain.directory / "plan.toml").read_text()
    (place / "plan.toml").write_text(text.replace("remedies = false", "remedies = true"))
    return place


def test_the_same_command_goes_on_from_the_remedy_that_was_chosen(
    killed_before_training_again, remedied, table, tmp_path
):
    run = trimtab.run(table, remedies=True, out=killed_before_training_again, **GREEDY)
    assert run.directory == killed_before_training_again
    assert run.plan == remedied.plan
    assert weights(run) == weights(remedied)
    assert len(ledger_of(run).events("remedies")) == 1


def test_a_run_goes_on_by_either_plan_once_the_file_has_the_remedy(killed_before_training_again, remedied, table):
    place = killed_before_training_again
    (place / "plan.toml").write_text((remedied.directory / "plan.toml").read_text())
    assert trimtab.run(table, remedies=True, out=place, **GREEDY).directory == place
    (place / "report.html").unlink()
    assert trimtab.run(place / "plan.toml").directory == place
    assert trimtab.run(table, remedies=True, out=place, **GREEDY | {"seed": 1}).directory == place.with_name("run-2")


def test_trials_that_a_kill_cut_off_are_made_again_and_their_time_counts(remedied, plain, table, tmp_path):
    place = cut(remedied, tmp_path / "run", "remedies_begun")
    shutil.rmtree(place / "model")
    shutil.copytree(plain.directory / "model", place / "model")
    text = (plain.directory / "plan.toml").read_text()
    (place / "plan.toml").write_text(text.replace("remedies = false", "remedies = true"))
    run = trimtab.run(table, remedies=True, out=place, **GREEDY)
    first, second = ledger_of(run).events("remedies_begun")
    assert second["seconds"] > first["seconds"]
    assert weights(run) == weights(remedied)


def job_of(*, minutes, seconds, spent=None):
    """A job of which only the time matters; ``spent`` is when an earlier attempt began trials."""
    begun = [] if spent is None else [{"seconds": spent}]
    events = {"remedies_begun": begun, "trained": [{"seconds": 10.0}]}
    job = SimpleNamespace(plan=SimpleNamespace(minutes=minutes), ledger=SimpleNamespace(events=events.__getitem__))
    job.seconds = lambda: seconds
    job.seconds_left = lambda: 60 * minutes - seconds
    return job


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (job_of(minutes=10, seconds=20), 90),  # 15% of ten minutes
        (job_of(minutes=10, seconds=100, spent=40), 30),  # a minute of them is gone
        (job_of(minutes=10, seconds=500), 600 - 500 - 4 - 15),  # room for training once more, and for what follows
    ],
)
def test_trials_take_at_most_their_share_and_leave_room_for_training_again(job, expected):
    reserve = SimpleNamespace(seconds=lambda: 4.0)
    assert remedying.seconds_for_trials(job, reserve)() == pytest.approx(expected)


@pytest.mark.slow
def test_a_killed_process_goes_on_and_keeps_to_its_budget(table, tmp_path):
    out, ledger = tmp_path / "run", tmp_path / "run" / "ledger.jsonl"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in GREEDY.items() if name != "options"]
    command = [sys.executable, "-m", "trimtab", "run", str(table), "--remedies", *options, "--minutes=2"]
    process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL)
    while not (ledger.exists() and '"remedies_begun"' in ledger.read_text()):
        time.sleep(0.02)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    run = trimtab.open_run(out)
    assert run.verdict.is_met
    assert len(ledger_of(run).events("remedies")) == 1
    assert not (tmp_path / "run-2").exists()
