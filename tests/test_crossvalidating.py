"""Cross-validation from data to figures, by both engines, over interruptions and mistakes."""

import json

import numpy as np
import pytest

import trimtab
from trimtab.artifact import Artifact
from trimtab.cli import main
from trimtab.console import Console
from trimtab.data import Source, Split, TableEncoder, open_source
from trimtab.directory import RunDirectory
from trimtab.errors import InputError
from trimtab.generalization.fold_figures import FoldFigure
from trimtab.generalization.fold_files import FoldFiles, load_folds, load_out_of_fold
from trimtab.generalization.folds import KINDS
from trimtab.ledger import Ledger
from trimtab.plan import Plan
from trimtab.stages import folding
from trimtab.stages.following import rows_of
from trimtab.stages.job import Replay
from trimtab.training.stepper import predict_probabilities
from trimtab.verbs import examining

SMALL = {"engine": "numpy", "steps": 25, "minutes": 1, "threads": 1}


def trained(directory) -> list[dict]:
    return Ledger(directory / "ledger.jsonl").events("fold_trained")


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    """Three folds, finished."""
    return trimtab.crossval("wine", folds=3, out=tmp_path_factory.mktemp("runs") / "wine-cv", **SMALL)


@pytest.fixture(scope="module")
def dataset():
    return open_source("wine").load()


def test_each_row_is_predicted_once_and_the_sealed_ones_never(wine, dataset):
    found, split = load_out_of_fold(wine.out_of_fold), Split.load(wine.directory / "data" / "split")
    assert found.rows.tolist() == sorted([*split.train, *split.validation])
    assert not set(found.rows) & set(split._test)
    assert not Ledger(wine.directory / "ledger.jsonl").events("test_opened")
    np.testing.assert_array_equal(found.labels, dataset.labels[found.rows])
    assert found.class_names == dataset.class_names
    assert list(found.names) == [dataset.row_names[row] for row in found.rows]


def test_a_row_was_predicted_by_the_model_of_the_fold_that_it_is_tested_in(wine, dataset):
    found = load_out_of_fold(wine.out_of_fold)
    for fold in load_folds(wine.directory):
        assert found.rows[found.folds == fold.number].tolist() == fold.test.tolist()
        artifact = Artifact.load(FoldFiles(wine.directory).model(fold.number))
        answers = predict_probabilities(artifact, rows_of(dataset, fold.test, artifact.meta), engine="numpy", threads=1)
        np.testing.assert_array_equal(answers, found.probabilities[found.folds == fold.number])


def test_preprocessing_knows_nothing_of_the_rows_that_are_tested_or_choose_the_weights(wine, dataset):
    for fold in load_folds(wine.directory):
        artifact = Artifact.load(FoldFiles(wine.directory).model(fold.number))
        assert artifact.meta["encoder"] == TableEncoder.fit(dataset.table, fold.learned).to_dict()


def test_the_directory_holds_what_was_found(wine):
    content = json.loads((wine.directory / "evaluation" / "crossval.json").read_text())
    assert (content["kind"], content["repeats"], len(content["folds"])) == ("stratified", 1, 3)
    assert {name: FoldFigure.from_dict(fields) for name, fields in content["metrics"].items()} == wine.figures
    accuracy = wine.figures["accuracy"]
    assert accuracy.estimate.value == pytest.approx(np.mean(accuracy.per_fold))
    assert accuracy.estimate.value > 0.8
    for number in (1, 2, 3):
        header = FoldFiles(wine.directory).history(number).read_text().splitlines()[0]
        assert header.startswith("epoch,step,train_loss,validation_loss")
    page = (wine.directory / "report.html").read_text()
    assert "over 3 folds" in page
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_out_of_fold_predictions_are_an_ordinary_file_of_predictions(wine, capsys):
    assert main(["evaluate", "--predictions", str(wine.out_of_fold)]) == 0
    assert "151 rows, 3 classes" in capsys.readouterr().out


def test_an_interrupted_cross_validation_goes_on_and_ends_as_it_would_have(wine, tmp_path, monkeypatch):
    finish, calls = folding._finish, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        finish(*arguments)

    monkeypatch.setattr(folding, "_finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trimtab.crossval("wine", folds=3, out=tmp_path / "cv", **SMALL)
    before = trained(tmp_path / "cv")
    assert [event["number"] for event in before] == [1]
    again = trimtab.crossval("wine", folds=3, out=tmp_path / "cv", **SMALL)
    assert again.directory == tmp_path / "cv"
    assert trained(again.directory)[:1] == before
    hashes = [[event["weights_sha256"] for event in trained(each.directory)] for each in (wine, again)]
    assert hashes[0] == hashes[1]
    assert again.figures == wine.figures
    assert not list((again.directory / "folds").rglob("checkpoints"))


def test_other_folds_and_runs_do_not_continue_it(wine):
    plan = Plan.from_toml(wine.directory / "plan.toml")
    (wine.directory / "report.html").rename(wine.directory / "hidden")  # as if it were unfinished
    try:
        other = trimtab.crossval("wine", folds=2, out=wine.directory, **SMALL)
    finally:
        (wine.directory / "hidden").rename(wine.directory / "report.html")
    assert other.directory.name == "wine-cv-2"
    assert len(trained(other.directory)) == 2
    assert Replay.of(RunDirectory(wine.directory), plan) is None


def test_data_are_decoded_once(tmp_path, monkeypatch):
    load, calls = Source.load, []

    def counted(self, **arguments):
        calls.append(arguments)
        return load(self, **arguments)

    monkeypatch.setattr(Source, "load", counted)
    trimtab.crossval("wine", folds=2, repeats=2, out=tmp_path / "cv", **SMALL)
    assert len(calls) == 1
    assert [event["repeat"] for event in trained(tmp_path / "cv")] == [1, 1, 2, 2]
    assert len(load_out_of_fold(tmp_path / "cv" / "evaluation" / "out_of_fold.parquet").rows) == 2 * 151


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """A table of 40 patients with six visits each, in time."""
    random = np.random.default_rng(0)
    lines = ["x,patient,day,y"]
    for row in range(240):
        label = random.integers(0, 2)
        lines.append(f"{label + random.normal():.4f},p{row % 40},{2020 + row // 40}-01-{1 + row % 28:02d},{label}")
    path = tmp_path_factory.mktemp("tables") / "visits.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_groups_stay_whole_and_are_no_feature(visits, tmp_path):
    found = trimtab.crossval(visits, target="y", group="patient", folds=3, out=tmp_path / "cv", **SMALL)
    groups = open_source(visits, target="y", group="patient").load().groups
    for fold in load_folds(found.directory):
        assert not set(groups[fold.train]) & set(groups[fold.test])
        artifact = Artifact.load(FoldFiles(found.directory).model(fold.number))
        assert [column["name"] for column in artifact.meta["encoder"]["columns"]] == ["x"]


def test_by_time_each_fold_is_tested_on_what_comes_later(visits, tmp_path):
    found = trimtab.crossval(visits, target="y", time="day", folds=3, out=tmp_path / "cv", **SMALL)
    times = open_source(visits, target="y", time="day").load().times
    for fold in load_folds(found.directory):
        assert times[fold.train].max() < times[fold.test].min()


def test_small_networks_are_trained_together_and_come_out_as_in_turn(tmp_path, monkeypatch, capsys):
    settings = {**SMALL, "engine": "torch", "steps": 40}
    together = trimtab.crossval("wine", folds=3, out=tmp_path / "together", console=Console(), **settings)
    assert "3 networks are trained together in each step" in capsys.readouterr().out
    monkeypatch.setattr(folding, "how_many_together", lambda *arguments, **rest: 1)
    alone = trimtab.crossval("wine", folds=3, out=tmp_path / "alone", **settings)
    pair = [load_out_of_fold(each.out_of_fold).probabilities for each in (together, alone)]
    np.testing.assert_allclose(*pair, atol=5e-3)
    histories = [FoldFiles(each.directory).history(2).read_text().splitlines() for each in (together, alone)]
    assert len(histories[0]) == len(histories[1]) > 3


@pytest.mark.slow
def test_pictures_are_cross_validated_too(tmp_path):
    found = trimtab.crossval("digits", folds=2, out=tmp_path / "cv", engine="numpy", steps=40, minutes=2, threads=1)
    statistics = [Artifact.load(FoldFiles(found.directory).model(number)).meta["mean"] for number in (1, 2)]
    assert statistics[0] != statistics[1]
    assert found.figures["accuracy"].estimate.value > 0.5


@pytest.mark.slow
def test_the_minutes_hold_all_folds_and_are_shared_evenly(tmp_path):
    settings = {"engine": "numpy", "minutes": 0.2, "threads": 1, "patience": 0, "epochs_at_most": 100_000}
    found = trimtab.crossval("breast_cancer", folds=3, out=tmp_path / "cv", **settings)
    assert found.is_met
    assert 0.6 * 12 < found.seconds <= 12
    seconds = [event["seconds"] for event in trained(found.directory)]
    assert max(seconds) < 2 * min(seconds)


# ---- what stands in the terminal ----


def test_the_verb_prints_figures_and_where_things_are(tmp_path, capsys):
    words = [
        "crossval",
        "wine",
        "--folds",
        "2",
        "--engine",
        "numpy",
        "--steps",
        "20",
        "--minutes",
        "1",
        "--threads",
        "1",
    ]
    assert main([*words, "--out", str(tmp_path / "cv"), "--json"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    summary = json.loads(last)
    assert summary["crossval"] == str(tmp_path / "cv")
    assert set(summary["metrics"]["log_loss"]) == {"value", "low", "high", "method", "level", "per_fold"}
    assert any(line.startswith("accuracy ") for line in lines)
    assert f"next       trimtab evaluate --predictions {summary['out_of_fold']}" in lines
    command = f"trimtab {' '.join([*words, '--out', str(tmp_path / 'cv'), '--json'])}"
    assert command in (tmp_path / "cv" / "report.html").read_text()


def test_the_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["crossval", "--help"])
    shown = capsys.readouterr().out
    for words in ("--folds N", "--time COLUMN", "trimtab crossval ./photos --folds 5 --minutes 20", "exit codes"):
        assert words in shown


def test_too_little_time_is_said_and_the_code_is_3(tmp_path, capsys):
    words = ["wine", "--folds", "2", "--engine", "numpy", "--steps", "20", "--minutes", "0.0001", "--threads", "1"]
    assert main(["crossval", *words, "--out", str(tmp_path / "cv")]) == 3
    assert "The budget was MISSED" in capsys.readouterr().out


def test_the_kinds_in_the_help_are_those_there_are():
    assert examining._KINDS == KINDS


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["wine", "--folds", "1"], "folds is 1; expected 2 or more; leave --folds out for 5."),
        (
            ["wine", "--kind", "grouped"],
            "kind is 'grouped' and there are no groups; expected the column of groups; give --group COLUMN.",
        ),
        (
            ["wine", "--minutes", "-1"],
            "minutes is -1; expected a number above 0, at most 1e+06; change it or leave it out.",
        ),
        (
            ["wine", "--kind", "stratifed"],
            "--kind is 'stratifed'; expected one of stratified, grouped, stratified-grouped, time, "
            "leave-one-group-out; did you mean 'stratified'? pick one.",
        ),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["crossval", *arguments])
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert capsys.readouterr().err == f"trimtab: {sentence}\n"
    assert not (tmp_path / "runs").exists()


def test_data_that_cannot_be_divided_leave_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="wine has 60 rows of its largest class outside its test part"):
        trimtab.crossval("wine", folds=61, out=tmp_path / "cv", **SMALL)
    assert not (tmp_path / "cv").exists()
