"""Several workers started from one command line: what the user sees, and what is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from trimtab import launching
from trimtab.artifact import Artifact
from trimtab.cli import main
from trimtab.errors import InputError
from trimtab.training.distributed.worker import LAUNCH_FOLDER, WorkerLost

WORKER = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


# ---- what needs no process ----


def test_workers_are_started_once_and_not_by_workers(monkeypatch):
    assert launching.must_launch(2)
    assert not launching.must_launch(1)
    monkeypatch.setenv("RANK", "0")
    assert not launching.must_launch(2)


def test_an_unknown_launcher_is_refused():
    with pytest.raises(InputError) as caught:
        launching.launch(["train", "wine"], 2, "rey", main=main)
    assert str(caught.value) == "--launcher is 'rey'; expected one of torchrun or ray; change it or leave it out."


def test_without_torch_the_user_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(launching, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        launching.launch(["train", "wine"], 2, main=lambda words: 0)
    assert str(caught.value) == "torch is not installed; expected it for --workers; pip install 'trimtab[train]'."


def test_alone_the_command_is_carried_out_and_its_code_returned():
    assert launching.carry_out(lambda: 3) == 3


@pytest.mark.parametrize(("code", "shown"), [(0, 0), (2, 2), (3, 0), (75, 75)])
def test_under_another_torchrun_a_missed_limit_does_not_start_all_again(monkeypatch, code, shown):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert launching.carry_out(lambda: code) == shown


@pytest.mark.parametrize("code", [0, 2, 3, 130])
def test_under_our_launch_every_outcome_is_noted_and_nothing_is_started_again(monkeypatch, tmp_path, code):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv(LAUNCH_FOLDER, str(tmp_path))
    assert launching.carry_out(lambda: code) == 0
    assert (tmp_path / "code").read_text() == str(code)
    assert launching.carry_out(lambda: 1 / 0) == 0, "a worker that is started again finds that all is done"


def test_a_mistake_of_ours_is_not_repeated_a_thousand_times(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv(LAUNCH_FOLDER, str(tmp_path))
    assert launching.carry_out(lambda: 1 / 0) == 0
    assert (tmp_path / "code").read_text() == "1"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_lost_worker_leaves_no_outcome_so_that_all_are_started_again(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv(LAUNCH_FOLDER, str(tmp_path))
    assert launching.carry_out(lambda: WorkerLost.exit_code) == WorkerLost.exit_code
    assert not (tmp_path / "code").exists()


def test_the_clock_starts_with_the_launch_and_goes_on_over_restarts(monkeypatch):
    started = time.monotonic() - 2
    assert launching.clock_start(started) == (started, None)
    for name, value in {**WORKER, "TRIMTAB_LAUNCH_STARTED": str(time.time() - 10)}.items():
        monkeypatch.setenv(name, value)
    first, until = launching.clock_start(started)
    assert time.monotonic() - first == pytest.approx(10, abs=0.5)
    assert until is None
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    again, until = launching.clock_start(started)
    assert again == started
    assert time.time() - until == pytest.approx(2, abs=0.5)


# ---- whole runs ----


@pytest.fixture
def command(tmp_path):
    """Start ``trimtab ARGUMENT ...`` with two workers; its processes can be found by a variable."""
    mark, started = uuid.uuid4().hex, []

    def start(*arguments, workers=2):
        environment = {**os.environ, "TRIMTAB_TEST": mark, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "trimtab", *map(str, arguments), "--workers", str(workers)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    start.mark = mark
    yield start
    for process in started:
        process.kill()
        process.communicate()
    for pid in processes_of(mark):
        os.kill(pid, signal.SIGKILL)


def processes_of(mark):
    """Return the variables of the living processes that a test started, by their numbers."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                content = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            variables = dict(entry.split("=", 1) for entry in content if "=" in entry)
            if variables.get("TRIMTAB_TEST") == mark:
                found[int(folder.name)] = variables
    return found


def worker_of(mark, rank):
    return next(pid for pid, variables in processes_of(mark).items() if variables.get("RANK") == str(rank))


def events(run, name):
    lines = (run / "ledger.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def wait_for(condition, seconds=80):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


SETTINGS = ("--deterministic", "--minutes", "9", "--patience", "0", "--steps")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_is_replaced_in_one_restart_and_the_weights_are_those_of_one_process(command, tmp_path, rank):
    import trimtab

    run = tmp_path / "together"
    process = command("train", "wine", *SETTINGS, 1000, "--out", run)
    wait_for(lambda: list((run / "checkpoints").glob("step_*")))
    os.kill(worker_of(command.mark, rank), signal.SIGKILL)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert len(events(run, "started")) == 2
    assert "a worker was lost, and all were started again" in errors
    assert events(run, "started")[1]["seconds_before"] > events(run, "started")[0]["seconds_before"]
    alone = trimtab.train("wine", deterministic=True, minutes=9, patience=0, steps=1000, out=tmp_path / "alone")
    assert Artifact.load(run / "model").sha256 == alone.artifact.sha256


@pytest.mark.slow
def test_workers_compare_modes_and_follow_the_clock_together(command, tmp_path):
    process = command("train", "digits", "--minutes", "0.6", "--out", tmp_path / "run")
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert "2 workers share each step" in output
    assert not errors
    probe = events(tmp_path / "run", "probe")[0]
    assert len({json.dumps(trial["mode"]) for trial in probe["trials"]}) >= 2
    assert events(tmp_path / "run", "trained")[0]["corrections"][-1]["total_steps"] > 20


@pytest.mark.slow
def test_bad_input_is_said_once_and_ends_with_two(command):
    process = command("train", "nothing.csv")
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert errors.count("\n") == 1
    assert errors.startswith("trimtab: there is no 'nothing.csv'; expected a folder of class folders")
    assert not output


@pytest.mark.slow
def test_more_workers_than_shards_is_bad_input(command, tmp_path):
    process = command("train", "wine", *SETTINGS, 20, "--batch-size", 2, "--out", tmp_path / "run", workers=3)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert errors.splitlines()[-1] == (
        "trimtab: there are 3 workers and 2 shards of a deterministic batch; expected at most as many; start fewer."
    )


@pytest.mark.slow
def test_nothing_is_left_when_the_command_is_killed(command, tmp_path):
    process = command("train", "wine", *SETTINGS, 20_000, "--out", tmp_path / "run")
    wait_for(lambda: list((tmp_path / "run" / "checkpoints").glob("step_*")))
    assert len(processes_of(command.mark)) >= 4  # the command, torchrun and two workers
    process.kill()
    process.communicate()
    wait_for(lambda: not processes_of(command.mark), seconds=10)


@pytest.mark.slow
def test_ctrl_c_reaches_rank_0_which_finishes_with_what_there_is(command, tmp_path):
    run = tmp_path / "run"
    process = command("train", "wine", *SETTINGS, 20_000, "--out", run)
    wait_for(lambda: list((run / "checkpoints").glob("step_*")))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert "stopped by the user" in output
    assert (run / "model").is_dir()
    wait_for(lambda: not processes_of(command.mark), seconds=10)
