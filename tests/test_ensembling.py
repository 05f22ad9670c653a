"""Ensembles of fold models and their students, from finished cross-validations to what stands in the terminal."""

import csv
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from tests.crossvalidated import make_crossvalidation

import trimtab
from trimtab.artifact import Artifact
from trimtab.cli import main
from trimtab.console import Console
from trimtab.data import Split, open_source
from trimtab.ensembling import _print_contest
from trimtab.errors import InputError, IntegrityError
from trimtab.evaluation import compare_many
from trimtab.generalization.ensembles import Ensemble
from trimtab.ledger import Ledger
from trimtab.plan import Plan
from trimtab.stages.comparing import Contest
from trimtab.stages.teachers import reader_of

SMALL = {"steps": 60, "learning_rate": 0.01, "options": {"hidden": [16]}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Cross-validations of wine: two that differ in dropout, one of another network; nobody has looked at the test."""
    home = tmp_path_factory.mktemp("runs")
    return SimpleNamespace(
        plain=make_crossvalidation(home / "plain-cv", "wine", **SMALL),
        dropped=make_crossvalidation(home / "dropped-cv", "wine", **SMALL, dropout=0.0),
        twice=make_crossvalidation(home / "twice-cv", "wine", repeats=2, steps=30, options={"hidden": [8]}),
        elsewhere=make_crossvalidation(home / "elsewhere-cv", "wine", seed=1, **SMALL),
    )


@pytest.fixture
def runs(made, tmp_path):
    """Copies of them, for each test to write to."""
    places = {name: tmp_path / path.name for name, path in vars(made).items()}
    for name, path in vars(made).items():
        shutil.copytree(path, places[name])
    return SimpleNamespace(**places)


def test_one_configuration_is_all_its_fold_models_with_equal_votes(runs):
    result = trimtab.ensemble(runs.plain)
    (member,) = result.ensemble.members
    assert (member.name, member.weight, len(member.models)) == ("plain-cv", 1.0, 3)
    assert result.student is None
    assert Ensemble.load(runs.plain / "ensemble") == result.ensemble
    assert set(result.ensemble.facts["selected"]) == {"plain-cv"}


def test_the_answers_on_the_test_rows_are_the_mean_over_the_fold_models(runs):
    trimtab.ensemble(runs.plain)
    dataset = open_source("wine").load()
    rows = Split.load(runs.plain / "data" / "split")._test
    with (runs.plain / "ensemble" / "predictions.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [entry["name"] for entry in written] == [dataset.row_names[row] for row in rows]
    found = np.array([[float(entry[f"p_{name}"]) for name in dataset.class_names] for entry in written])
    expected = Ensemble.load(runs.plain / "ensemble").predict_proba(reader_of(dataset), rows, engine="numpy", threads=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_look_at_the_test_rows_is_counted_and_the_same_look_again_is_not(runs):
    first, second = trimtab.ensemble(runs.plain), trimtab.ensemble(runs.plain)
    other = trimtab.ensemble(runs.twice)
    assert (first.contest.look, second.contest.look, other.contest.look) == (1, 1, 2)
    assert other.contest.others == ("plain-cv",)
    events = Ledger(runs.twice / "ledger.jsonl").events("test_opened")
    assert [(event["caller"], event["opening"]) for event in events] == [("trimtab ensemble", 2)]
    assert first.contest.compared.pairs[0].metrics["accuracy"].level == pytest.approx(0.975)


def test_several_cross_validations_are_selected_from_and_repeats_are_candidates_of_their_own(runs):
    result = trimtab.ensemble([runs.plain, runs.twice], members=4)
    facts = result.ensemble.facts
    assert set(facts["candidates"]) >= {"plain-cv", "twice-cv repeat 1", "twice-cv repeat 2"}
    assert facts["losses"][-1] <= min(facts["candidates"].values()) + 1e-9
    assert sum(member.weight for member in result.ensemble.members) == pytest.approx(1)


def test_a_soup_is_tried_where_folds_start_and_network_are_the_same(runs, capsys):
    result = trimtab.ensemble([runs.plain, runs.dropped, runs.twice], console=Console())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("soup")]
    assert "soup of plain-cv, dropped-cv " in line
    is_taken = "soup of plain-cv, dropped-cv counts" in line
    assert ("soup of plain-cv, dropped-cv" in result.ensemble.facts["candidates"]) == is_taken
    assert (runs.plain / "soups").exists() == is_taken


def test_an_accepted_soup_votes_with_weights_that_are_means(runs, monkeypatch):
    """Whether it is accepted is the business of the paired test; here it always is."""
    from trimtab.stages import gathering

    judge = gathering.judge_soup
    monkeypatch.setattr(gathering, "judge_soup", lambda *given, **named: (True, judge(*given, **named)[1]))
    result = trimtab.ensemble([runs.plain, runs.dropped])
    assert "soup of plain-cv, dropped-cv" in result.ensemble.facts["candidates"]
    soup, *parts = (
        Artifact.load(path).arrays
        for path in (
            runs.plain / "soups" / "plain-cv+dropped-cv" / "02",
            runs.plain / "folds" / "02" / "model",
            runs.dropped / "folds" / "02" / "model",
        )
    )
    for key, array in soup.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, (parts[0][key] + parts[1][key]) / 2, atol=1e-6)


def test_a_limit_of_size_leaves_out_what_is_too_large(runs):
    sizes = {path.name: size_of(path) for path in (runs.plain, runs.twice)}
    limit = 1.02 * min(sizes["plain-cv"], sizes["twice-cv"] / 2)
    result = trimtab.ensemble([runs.plain, runs.twice], megabytes=limit)
    assert len(result.ensemble.members) == 1
    with pytest.raises(InputError, match=r"times the limit together; expected a candidate within it; raise the limit"):
        trimtab.ensemble([runs.plain, runs.twice], megabytes=limit / 10)


def size_of(directory) -> float:
    return sum(path.stat().st_size for path in directory.glob("folds/*/model/weights.safetensors")) / 1e6


@pytest.fixture(scope="module")
def taught(made, tmp_path_factory):
    """A student, its teacher and the contest between them."""
    home = tmp_path_factory.mktemp("taught")
    shutil.copytree(made.plain, home / "plain-cv")
    return trimtab.ensemble(home / "plain-cv", distill=True, steps=60)


def test_a_student_is_an_ordinary_run_that_learned_from_the_ensemble(taught):
    student = trimtab.open_run(taught.student.directory)
    assert student.directory.name == "plain-student"
    assert student.plan.teacher == str(taught.directory.resolve())
    assert (student.plan.steps, student.plan.label_smoothing, student.plan.distill_weight) == (60, 0.0, 0.7)
    assert student.plan.options == {"hidden": [16]}
    assert student.evaluation.metrics["accuracy"].value > 0.8
    (event,) = Ledger(student.directory / "ledger.jsonl").events("teacher")
    with np.load(student.directory / "data" / "teacher.npz") as kept:
        assert event["rows"] == len(kept["rows"]) == len(kept["probabilities"])
        np.testing.assert_array_equal(kept["rows"], Split.load(student.directory / "data" / "split").train)
        np.testing.assert_allclose(kept["probabilities"].sum(axis=1), 1, atol=1e-5)


def test_student_ensemble_and_fold_model_are_compared_on_the_same_test_rows(taught):
    contest = taught.contest
    names = [pair.names for pair in contest.compared.pairs]
    assert names == [("fold model", "ensemble"), ("fold model", "student"), ("ensemble", "student")]
    assert contest.compared.pairs[1].metrics["accuracy"].value_b == pytest.approx(
        taught.student.evaluation.metrics["accuracy"].value
    )
    assert contest.look == 2  # the student's own run looked first


def test_the_teacher_changes_what_is_learned(taught, tmp_path):
    plan = Plan.from_toml(taught.student.directory / "plan.toml")
    untaught = trimtab.train("wine", plan, teacher=None, out=tmp_path / "run")
    assert untaught.artifact.sha256 != Artifact.load(taught.student.directory / "model").sha256
    assert not Ledger(tmp_path / "run" / "ledger.jsonl").events("teacher")


def test_a_finished_student_of_the_same_ensemble_is_not_trained_again(taught):
    before = (taught.student.directory / "ledger.jsonl").read_bytes()
    again = trimtab.ensemble(taught.directory.parent, distill=True, steps=60)
    assert again.student.directory == taught.student.directory
    assert (taught.student.directory / "ledger.jsonl").read_bytes() == before
    assert again.contest.look == taught.contest.look


@pytest.mark.slow
def test_a_student_that_was_interrupted_goes_on_with_the_answers_that_were_kept(taught, tmp_path, monkeypatch):
    student = interrupted(taught, tmp_path)
    monkeypatch.setattr(Ensemble, "predict_proba", None)  # nobody is asked again
    resumed = trimtab.run(student)
    assert resumed.directory == student
    assert len(Ledger(student / "ledger.jsonl").events("teacher")) == 1
    assert Artifact.load(student / "model").sha256 == Artifact.load(taught.student.directory / "model").sha256


def interrupted(taught, folder):
    """Return a copy of the student as a kill after the teacher's answers would leave it."""
    student = folder / "student"
    shutil.copytree(taught.student.directory, student)
    shutil.rmtree(student / "model")
    (student / "report.html").unlink()
    return student


def test_answers_that_were_altered_are_refused(taught, tmp_path):
    student = interrupted(taught, tmp_path)
    (student / "data" / "teacher.npz").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"teacher\.npz is not the file that was written; expected the hash that"):
        trimtab.run(student)


def test_a_run_is_not_continued_with_another_ensemble(taught, runs, tmp_path):
    trimtab.ensemble(runs.plain)
    student = tmp_path / "student"
    trimtab.train("wine", engine="numpy", steps=10, minutes=1, teacher=str(runs.plain / "ensemble"), out=student)
    made = Ensemble.load(runs.plain / "ensemble")
    Ensemble(**{**vars(made), "facts": {"another": True}}).save(runs.plain / "ensemble")
    with pytest.raises(InputError, match=r"ensemble changed since .* was started; expected the same one, to continue"):
        trimtab.run(student)


@pytest.mark.parametrize(
    ("data", "settings", "sentence"),
    [
        ("wine", {"seed": 1}, "was trained on rows that are test rows of this run; expected a split that seals the sa"),
        ("breast_cancer", {}, "was made from other data than breast_cancer is now; expected the data of its cross-val"),
    ],
)
def test_an_ensemble_that_knows_the_test_rows_or_other_data_teaches_nobody(runs, data, settings, sentence, tmp_path):
    trimtab.ensemble(runs.plain)
    with pytest.raises(InputError, match=re.escape(sentence)):
        trimtab.run(data, steps=5, teacher=str(runs.plain / "ensemble"), out=tmp_path / "student", **settings)
    assert not (tmp_path / "student").exists()


def test_a_size_limit_of_the_student_gives_it_a_network_of_its_own(runs):
    from trimtab.ensembling import _student_plan

    plan = Plan.from_toml(runs.plain / "plan.toml")
    limited = _student_plan(plan, runs.plain / "ensemble", {"megabytes": 0.05, "minutes": 2.0}, trainings=3)
    assert (limited.model, limited.options, limited.megabytes) == (None, {}, 0.05)
    assert (limited.minutes, limited.steps) == (2.0, None)
    same = _student_plan(plan, runs.plain / "ensemble", {"megabytes": None}, trainings=3)
    assert (same.model, same.options) == (plan.model, plan.options)


def test_a_student_is_trained_for_as_many_steps_as_all_fold_models_together_unless_told(runs):
    from trimtab.directory import RunDirectory
    from trimtab.ensembling import _count_trainings, _student_plan

    plan, folder = Plan.from_toml(runs.plain / "plan.toml"), runs.plain / "ensemble"
    assert (plan.steps, _count_trainings(RunDirectory(runs.plain))) == (60, 3)
    assert _student_plan(plan, folder, {}, trainings=3).steps == 180
    assert _student_plan(plan, folder, {"steps": 70}, trainings=3).steps == 70
    assert _student_plan(plan, folder, {"minutes": 1.0, "steps": 70}, trainings=3).steps == 70


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"members": 0}, "--members is 0; expected 1 to 1000; give the number of rounds of selection."),
        ({"megabytes": 0.0}, "--megabytes is 0; expected a number above 0; change it or leave it out."),
        (
            {"minutes": 3.0},
            "--minutes is given without --distill; expected it for a student; add --distill or drop --minutes.",
        ),
        ({"out": "x"}, "--out is given without --distill; expected it for a student; add --distill or drop --out."),
    ],
)
def test_a_request_that_means_nothing_is_refused(runs, settings, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        trimtab.ensemble(runs.plain, **settings)


def test_cross_validations_that_do_not_belong_together_are_refused(runs):
    words = "are of other data or other test rows; expected the same data, image size, seed and fractions in all"
    with pytest.raises(InputError, match=words):
        trimtab.ensemble([runs.plain, runs.elsewhere])
    with pytest.raises(InputError, match="a cross-validation is given twice; expected different ones; name each once"):
        trimtab.ensemble([runs.plain, runs.plain])


def test_an_unfinished_cross_validation_is_refused(runs):
    (runs.plain / "report.html").unlink()
    words = "there is no finished cross-validation at .*plain-cv; expected a directory that `trimtab crossval` made"
    with pytest.raises(InputError, match=words):
        trimtab.ensemble(runs.plain)


def test_the_terminal_says_who_votes_who_is_better_and_what_comes_next(runs, capsys):
    assert main(["ensemble", str(runs.plain), "--members", "3", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("candidates 1 of 3 fold models, 151 rows out of fold") for line in lines)
    assert any(line.startswith("ensemble   plain-cv (100%): log loss ") for line in lines)
    assert "on 27 sealed test rows, opened now" in lines
    assert f"next       trimtab ensemble {runs.plain} --distill    one model that learns from all of them" in lines
    summary = json.loads(lines[-1])
    assert summary["members"] == {"plain-cv": 1.0}
    assert summary["student"] is None
    assert summary["pairs"][0]["names"] == ["fold model", "ensemble"]


@pytest.mark.slow
def test_the_terminal_shows_the_student(runs, capsys):
    out = runs.plain.parent / "small"
    arguments = ["ensemble", runs.plain, "--distill", "--minutes", "0.2", "--out", out, "--distill-weight", "0.5"]
    assert main([str(argument) for argument in arguments]) in (0, 3)  # a busy machine may miss the minutes
    text = capsys.readouterr().out
    assert f"student    {out}: accuracy " in text
    assert "3 models answered 124 training rows" in text
    assert Plan.from_toml(out / "plan.toml").distill_weight == 0.5


def test_folds_by_time_are_refused_in_a_sentence(runs):
    path = runs.plain / "data" / "folds.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "time"}))
    with pytest.raises(InputError) as refused:
        trimtab.ensemble(runs.plain)
    assert str(refused.value) == (
        f"the folds of {runs.plain} are by time, and their models learned from ever more rows; expected folds whose "
        "models can vote as equals; run `trimtab crossval` without --time, or take the model of the last fold."
    )


def test_equal_verdicts_are_said_once(capsys):
    labels, same = np.arange(40) % 2, np.full((40, 2), 0.5)
    compared = compare_many(labels, dict.fromkeys(("fold model", "ensemble", "student"), same))
    _print_contest(Contest(compared=compared, rows=40, look=1, others=(), warnings=()))
    assert capsys.readouterr().out.count("No difference in accuracy was seen") == 1
