import os
import time
from pathlib import Path

import pytest

from trimtab.directory import claim, find
from trimtab.errors import InputError, OutputError
from trimtab.plan import Plan

PLAN = Plan(data="digits", steps=10)


def take(path, plan=PLAN):
    return claim(path, plan, plan.to_toml())


def test_an_unfinished_run_of_the_same_plan_is_taken_up_again(tmp_path):
    first = take(tmp_path / "run")
    first.ledger.append("started")
    first.release()
    second = take(tmp_path / "run")
    assert second.is_resumed
    assert second.directory == first.directory
    second.release()


def test_a_run_held_by_a_living_process_is_not(tmp_path):
    first = take(tmp_path / "run")
    second = take(tmp_path / "run")
    assert second.directory.path.name == "run-2"
    assert not second.is_resumed
    first.release()
    second.release()


def test_another_plan_gets_another_directory(tmp_path):
    take(tmp_path / "run").release()
    assert take(tmp_path / "run", Plan(data="digits", steps=11)).directory.path.name == "run-2"


def test_a_finished_run_is_never_overwritten(tmp_path):
    first = take(tmp_path / "run")
    first.directory.report.write_text("done")
    first.release()
    assert take(tmp_path / "run").directory.path.name == "run-2"


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    assert take(tmp_path / "run").directory.path.name == "run-2"


def test_a_place_that_cannot_be_written_to_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/run cannot be written to .*choose another with --out\.$"):
        take(tmp_path / "file" / "run")


def attempt(path, start, end, clock):
    """One killed attempt: it starts, and its last sign of life is at ``end``."""
    claimed = take(path)
    clock[0] = start
    claimed.ledger._clock = lambda: clock[0]
    claimed.ledger.append("started", seconds_before=claimed.seconds_spent)
    claimed.release()
    os.utime(path / ".lock", (end, end))


def test_the_time_of_all_earlier_attempts_counts_and_the_time_between_them_does_not(tmp_path):
    clock = [0.0]
    attempt(tmp_path / "run", 1000.0, 1300.0, clock)
    attempt(tmp_path / "run", 90_000.0, 90_002.0, clock)
    assert take(tmp_path / "run").seconds_spent == pytest.approx(302.0)


def test_a_torn_ledger_does_not_make_the_time_since_then_count(tmp_path):
    attempt(tmp_path / "run", 1000.0, 1010.0, [0.0])
    with (tmp_path / "run" / "ledger.jsonl").open("ab") as file:
        file.write(b"{half")
    os.utime(tmp_path / "run" / ".lock", (1010.0, 1010.0))
    assert take(tmp_path / "run").seconds_spent == pytest.approx(10.0)


def test_a_living_run_shows_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr("trimtab.directory._BEAT_SECONDS", 0.01)
    claimed = take(tmp_path / "run")
    os.utime(tmp_path / "run" / ".lock", (5.0, 5.0))
    with claimed.alive():
        deadline = time.monotonic() + 10
        while (tmp_path / "run" / ".lock").stat().st_mtime < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert (tmp_path / "run" / ".lock").stat().st_mtime > 6


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / "run" / ".model.77.tmp").mkdir(parents=True)
    (tmp_path / "run" / ".plan.toml.77.tmp").write_text("half")
    claimed = take(tmp_path / "run")
    assert claimed.directory.path.name == "run"
    assert sorted(path.name for path in claimed.directory.path.iterdir()) == [".lock", "plan.toml"]


def test_a_repetition_and_an_ordinary_run_do_not_continue_each_other(tmp_path):
    first = take(tmp_path / "run")
    first.ledger.append("started", replay_of="runs/a")
    first.release()
    assert take(tmp_path / "run").directory.path.name == "run-2"
    again = claim(tmp_path / "run", PLAN, PLAN.to_toml(), replay_of="runs/a")
    assert again.is_resumed
    assert again.directory.path.name == "run"


def test_what_is_for_something_else_than_a_run_is_not_continued_as_one(tmp_path):
    first = claim(tmp_path / "run", PLAN, PLAN.to_toml(), purpose="5 folds")
    first.ledger.append("started", purpose="5 folds")
    first.release()
    assert take(tmp_path / "run").directory.path.name == "run-2"
    assert claim(tmp_path / "run", PLAN, PLAN.to_toml(), purpose="3 folds").directory.path.name == "run-3"
    assert claim(tmp_path / "run", PLAN, PLAN.to_toml(), purpose="5 folds").directory.path.name == "run"


def test_the_current_directory_has_a_name_too(tmp_path, monkeypatch):
    take(tmp_path / "run").directory.report.write_text("done")
    monkeypatch.chdir(tmp_path / "run")
    assert take(Path()).directory.path == tmp_path / "run-2"


def test_a_run_that_is_not_there_suggests_the_nearest(tmp_path):
    take(tmp_path / "photos").release()
    with pytest.raises(InputError) as caught:
        find(tmp_path / "photo")
    assert str(caught.value) == (
        f"there is no run at {tmp_path / 'photo'}; expected a directory that `trimtab run` made; "
        f"did you mean 'photos'? look into {tmp_path} or start one with `trimtab run DATA`."
    )
