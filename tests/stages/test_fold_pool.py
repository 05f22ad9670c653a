"""Folds beside each other in processes: the same weights as in turn, whatever happens to a process."""

import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import trimtab
from trimtab.console import Console
from trimtab.data import open_source
from trimtab.errors import InputError, TrainingError
from trimtab.generalization.fold_files import FoldFiles
from trimtab.ledger import Ledger
from trimtab.stages import folding
from trimtab.stages.fold_pool import FoldPool, _error_of, _file_of, count_processes
from trimtab.stages.fold_process import FoldProcess
from trimtab.stages.fold_training import FoldClock, FoldTask, Kept
from trimtab.stages.reserve import Load
from trimtab.training import Recipe
from trimtab.training.mode import Mode
from trimtab.training.rows import Rows

SMALL = {"folds": 3, "engine": "torch", "steps": 12, "minutes": 5, "options": {"channels": [4]}}
RECIPE = Recipe(
    engine="torch",
    steps=None,
    epochs_at_most=1,
    batch_size=32,
    optimizer="adamw",
    learning_rate=0.1,
    weight_decay=0.0,
    schedule="linear",
    label_smoothing=0.0,
    augment="none",
    precision="float32",
    patience=0,
    threads=2,
    seed=0,
)


def hashes(directory) -> list[str]:
    events = Ledger(directory / "ledger.jsonl").events("fold_trained")
    return [event["weights_sha256"] for event in sorted(events, key=lambda event: event["number"])]


@pytest.fixture(scope="module")
def in_turn(tmp_path_factory):
    """The hashes of what one thread trains, fold after fold."""
    found = trimtab.crossval("digits", out=tmp_path_factory.mktemp("runs") / "cv", threads=1, **SMALL)
    return hashes(found.directory)


@pytest.mark.slow
def test_folds_beside_each_other_come_out_as_in_turn_by_as_many_threads(in_turn, tmp_path, capfd):
    found = trimtab.crossval("digits", out=tmp_path / "cv", threads=2, console=Console(), **SMALL)
    assert hashes(found.directory) == in_turn
    shown, errors = capfd.readouterr()
    assert "2 processes train folds beside each other, 1 thread each" in shown
    assert shown.count("% of 50") + shown.count("% of 51") == 3
    assert errors == ""
    assert not list(found.directory.glob(".folds*"))
    assert not list((found.directory / "folds").rglob("checkpoints"))
    assert FoldFiles(found.directory).history(3).read_text().startswith("epoch,step")


@pytest.mark.slow
def test_a_process_that_is_killed_is_repeated(in_turn, tmp_path, monkeypatch, capfd):
    give, killed = FoldProcess.give, []

    def give_and_kill(self, position, number, task):
        give(self, position, number, task)
        if number == 2 and not killed:
            killed.append(number)
            os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(FoldProcess, "give", give_and_kill)
    found = trimtab.crossval("digits", out=tmp_path / "cv", threads=2, **SMALL)
    assert hashes(found.directory) == in_turn
    sentence = "the process that trained fold 2 ended by signal 9: another one goes on from its last checkpoint"
    assert sentence in found.warnings
    assert sentence in capfd.readouterr().err


@pytest.mark.slow
def test_a_fold_that_is_lost_twice_ends_it_in_a_sentence(tmp_path, monkeypatch):
    give = FoldProcess.give

    def give_and_kill(self, position, number, task):
        give(self, position, number, task)
        os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(FoldProcess, "give", give_and_kill)
    sentence = (
        r"the process that trained fold 1 ended by signal 9, and so did the one before; expected memory enough for 2 "
        r"of them; give --threads 1, by which folds are trained in turn\."
    )
    with pytest.raises(TrainingError, match=sentence):
        trimtab.crossval("digits", out=tmp_path / "cv", threads=2, **SMALL)
    assert not list((tmp_path / "cv").glob(".folds*"))


@pytest.mark.slow
def test_interrupted_it_ends_its_processes_and_goes_on_later(in_turn, tmp_path, monkeypatch):
    finish, started = folding._finish, []
    opened = FoldProcess.__init__

    def noting(self, *arguments):
        opened(self, *arguments)
        started.append(self)

    def interrupted(*arguments):
        finish(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(FoldProcess, "__init__", noting)
    with monkeypatch.context() as patch:
        patch.setattr(folding, "_finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trimtab.crossval("digits", out=tmp_path / "cv", threads=2, **SMALL)
    assert len(started) == 2
    assert all(process._process.poll() is not None for process in started)
    assert len(hashes(tmp_path / "cv")) == 1
    found = trimtab.crossval("digits", out=tmp_path / "cv", threads=2, **SMALL)
    assert hashes(found.directory) == in_turn


# ---- when it pays ----


def features(*, pictures: bool = True) -> SimpleNamespace:
    inputs = np.zeros((4, 8, 8, 1), np.uint8) if pictures else np.zeros((4, 8), np.float32)
    meta = {"channels": 1, "image_size": 8} if pictures else {}
    return SimpleNamespace(training=Rows.of(inputs, np.arange(4)), kwargs=network(4), meta=meta)


def network(*widths: int) -> dict:
    return {"in_channels": 1, "image_size": 8, "channels": list(widths), "num_classes": 4}


@pytest.mark.parametrize(
    ("cores", "folds", "processes"), [(2, 5, 2), (4, 5, 4), (8, 5, 5), (1, 5, 1), (2, 2, 2), (2, 3, 2), (2, 1, 1)]
)
def test_as_many_folds_as_processors_are_trained_at_a_time(cores, folds, processes):
    assert count_processes("cnn", features(), RECIPE, cores=cores, folds=folds) == processes


def test_large_steps_tables_and_the_other_engine_are_left_in_turn():
    asked = {"cores": 2, "folds": 4}
    large = features()
    large.kwargs = network(512, 512)
    assert count_processes("cnn", large, RECIPE, **asked) == 1
    assert count_processes("cnn", large, replace(RECIPE, threads=1), **asked) == 2  # they would leave a processor idle
    assert count_processes("cnn", features(), replace(RECIPE, engine="numpy"), **asked) == 1
    assert count_processes("cnn", features(pictures=False), RECIPE, **asked) == 1


# ---- what is passed on ----


def test_a_task_comes_back_from_its_dictionary(tmp_path):
    kept = Kept(1.5, Load.from_now(threads=1))
    clock = FoldClock(started=1.0, budget_end=float("inf"), begun=2.0, part=0.5, kept=kept)
    mode = Mode(precision="float32", memory_format="contiguous")
    task = FoldTask(
        directory=tmp_path,
        builder="cnn",
        kwargs=network(4),
        meta={"mean": [0.5]},
        recipe=RECIPE,
        mode=mode,
        clock=clock,
    )
    assert FoldTask.from_dict(task.to_dict()) == task
    assert task.to_dict()["clock"]["budget_end"] is None


def test_pictures_that_are_mapped_from_a_file_are_not_written_again(tmp_path):
    pictures = np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1)
    np.save(tmp_path / "images.npy", pictures)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert _file_of(mapped) == tmp_path / "images.npy"
    assert _file_of(mapped[:2]) is None
    assert _file_of(mapped[::-1]) is None
    assert _file_of(pictures) is None


def test_what_the_processes_share_is_gone_afterwards(tmp_path):
    with FoldPool(open_source("digits").load(), tmp_path, [], processes=2, warn=print):
        (folder,) = tmp_path.glob(".folds.*.tmp")
        assert np.load(folder / "images.npy").shape == (1797, 8, 8, 1)
    assert not list(tmp_path.iterdir())


class Refusing:
    """Stands for a process whose training fails."""

    def __init__(self, folder, messages):
        self.position, self.messages = None, messages

    def give(self, position, number, task):
        self.position = position
        self.messages.put((self, {"error": ["TrainingError", "training diverged", "a loss that falls", "lower it"]}))

    def end(self):
        return 0


def test_what_a_process_refuses_is_raised_here(tmp_path, monkeypatch):
    monkeypatch.setattr("trimtab.stages.fold_pool.FoldProcess", Refusing)
    task, fold = SimpleNamespace(mode=None), SimpleNamespace(number=1)
    asked = dict.fromkeys(("on_step", "on_probe", "on_done"), print)
    words = "training diverged; expected a loss that falls; lower it"
    with (
        FoldPool(open_source("digits").load(), tmp_path, [fold], processes=2, warn=print) as pool,
        pytest.raises(TrainingError, match=words),
    ):
        pool.run(lambda position: task, **asked)


def test_an_error_keeps_its_class_and_its_parts():
    error = _error_of("InputError", "a", "b", "c")
    assert isinstance(error, InputError)
    assert str(error) == "a; expected b; c."
