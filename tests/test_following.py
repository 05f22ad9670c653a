"""What rank 0 says to the others, and that they make the same rows of it; the workers themselves are elsewhere."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import trimtab
from trimtab import stages
from trimtab.data import open_source
from trimtab.errors import InputError
from trimtab.stages import following
from trimtab.training.distributed import Worker


class Stopped(Exception):
    """Enough was seen."""


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """Return job and features of a run that is stopped before it trains."""

    def capture(name):
        found = []
        monkeypatch.setattr(stages, "train_model", lambda job, features, split: found.append((job, features)) or stop())
        with pytest.raises(Stopped):
            trimtab.train(name, steps=5, minutes=1, out=tmp_path / name)
        return found[0]

    def stop():
        raise Stopped

    return capture


@pytest.mark.parametrize("name", ["wine", "digits"])
def test_the_others_make_the_same_rows_of_what_they_are_told(seen, name):
    job, features = seen(name)
    dataset = open_source(name).load(image_size=job.plan.image_size)
    meta = json.loads(json.dumps(features.meta))
    for numbers, expected in (
        (features.training_rows, features.training),
        (features.validation_rows, features.validation),
    ):
        found = following.rows_of(dataset, numbers, meta)
        assert np.array_equal(found.inputs, expected.inputs)
        assert found.inputs.dtype == expected.inputs.dtype
        assert np.array_equal(found.labels, expected.labels)
        assert found.num_classes == expected.num_classes
        for statistics in ("mean", "std"):
            assert np.array_equal(getattr(found, statistics), getattr(expected, statistics))


class Team:
    """Workers that say what the test wants them to."""

    def __init__(self, reports=(), attempt=0, messages=()):
        self.worker = Worker(rank=0, world_size=3, local_rank=0, local_world_size=3, machine=0, attempt=attempt)
        self.may_meet_old_store, self.said, self.reported = False, [], []
        self.reports = lambda: list(reports)
        self.messages = list(messages)

    def tell(self, name, content):
        self.said.append((name, content))

    def mark_read(self):
        self.said.append(("is read", {}))

    def hear(self):
        return self.messages.pop(0) if self.messages else None

    def wait_until_read(self):
        pass

    def report(self, **facts):
        self.reported.append(facts)


def job_of(**plan):
    warnings = []
    ledger = SimpleNamespace(events=lambda name: [{"content_hash": "abc"}])
    return SimpleNamespace(
        plan=trimtab.Plan(data="/photos", image_size=32, **plan), ledger=ledger, warn=warnings.append, warnings=warnings
    )


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (
            {"host": "two", "content_hash": "abd"},
            "worker 2 on two finds other data at /photos; expected the same content on every machine; "
            "copy them there, or put them on a disk that all share.",
        ),
        (
            {"host": "two", "error": "there is no '/photos'"},
            "worker 2 on two cannot read the data (there is no '/photos'); expected the data at the same path on "
            "every machine; copy them there, or put them on a disk that all share.",
        ),
    ],
)
def test_other_data_on_another_machine_are_refused(report, sentence):
    with pytest.raises(InputError) as caught:
        following._check_reports(Team([{"host": "one", "content_hash": "abc"}, report]), job_of())
    assert str(caught.value) == sentence


def test_the_others_read_when_rank_0_does_and_are_let_go_when_it_cannot(monkeypatch):
    team = Team()
    monkeypatch.setattr(following, "current_team", lambda: team)
    with pytest.raises(InputError), following.reading_together(job_of(engine="torch", target="y")):
        raise InputError("a", "b", "c")
    source = {"data": "/photos", "target": "y", "group": None, "skip_unreadable": False}
    assert team.said == [("read", {"source": source, "image_size": 32}), ("is read", {})]


def test_numpys_steps_are_not_shared_out(monkeypatch):
    monkeypatch.setattr(following, "current_team", Team)
    with pytest.raises(InputError) as caught, following.reading_together(job_of(engine="numpy")):
        pass
    assert str(caught.value) == (
        "there are 3 workers and engine is 'numpy'; expected torch, whose steps can be shared out; "
        "pip install 'trimtab[train]', or leave --workers out."
    )


def test_a_restart_is_said(monkeypatch):
    job = job_of(engine="torch")
    monkeypatch.setattr(following, "current_team", lambda: Team(attempt=1))
    with following.reading_together(job):
        pass
    assert job.warnings == ["a worker was lost, and all were started again"]


def test_a_worker_that_cannot_read_reports_it_and_waits_to_be_told_to_stop():
    source = {"data": "/nowhere", "target": None, "group": None, "skip_unreadable": False}
    team = Team(messages=[("read", {"source": source, "image_size": None})])
    following.follow(team)
    assert team.reported == [{"error": "there is no '/nowhere'"}]


def test_a_worker_reports_the_hash_of_what_it_read():
    source = {"data": "wine", "target": None, "group": None, "skip_unreadable": False}
    team = Team(messages=[("read", {"source": source, "image_size": None})])
    following.follow(team)
    assert team.reported == [{"content_hash": open_source("wine").load(image_size=None).content_hash}]
