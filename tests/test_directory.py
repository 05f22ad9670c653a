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


def test_the_time_of_earlier_attempts_counts(tmp_path):
    first = take(tmp_path / "run")
    ticks = iter([100.0, 107.0])
    first.ledger._clock = lambda: next(ticks)
    first.ledger.append("started")
    first.ledger.append("data")
    first.release()
    assert take(tmp_path / "run").seconds_spent == pytest.approx(7.0)


def test_a_run_that_is_not_there_suggests_the_nearest(tmp_path):
    take(tmp_path / "photos").release()
    with pytest.raises(InputError) as caught:
        find(tmp_path / "photo")
    assert str(caught.value) == (
        f"there is no run at {tmp_path / 'photo'}; expected a directory that `trimtab run` made; "
        f"did you mean 'photos'? look into {tmp_path} or start one with `trimtab run DATA`."
    )
