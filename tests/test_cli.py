"""What stands in the terminal: exit codes, sentences, the JSON line. Every error here is one that users meet."""

import json
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trimtab.artifact import Artifact
from trimtab.cli import main
from trimtab.ledger import Ledger


@pytest.fixture
def fails(capsys):
    """Run the command line in this process, expect exit code 2, and return the one sentence on standard error."""

    def run(*arguments: object) -> str:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as left:
            code = left.code
        captured = capsys.readouterr()
        assert code == 2, captured
        lines = captured.err.strip().splitlines()
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("trimtab: ")
        assert "Traceback" not in captured.err
        return lines[0].removeprefix("trimtab: ")

    return run


@pytest.fixture
def pictures(tmp_path):
    """A folder with two classes of twelve pictures."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(12):
            picture = Image.fromarray(random.integers(0, 255, (20, 24, 3), dtype=np.uint8))
            picture.save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


def table(path, rows, header="a,b,y"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


# ---- the parser ----


def test_help_shows_every_verb_and_an_example(trimtab):
    result = trimtab("--help")
    assert result.returncode == 0
    for word in (
        "run",
        "plan",
        "audit",
        "crossval",
        "ensemble",
        "diagnose",
        "evaluate",
        "compare",
        "predict",
        "serve",
        "report",
        "check",
        "exit codes",
    ):
        assert word in result.stdout


@pytest.mark.parametrize(
    "verb",
    [
        "run",
        "train",
        "range-test",
        "plan",
        "audit",
        "crossval",
        "ensemble",
        "diagnose",
        "compress",
        "package",
        "evaluate",
        "compare",
        "predict",
        "serve",
        "report",
        "check",
    ],
)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    assert "example" in capsys.readouterr().out


def test_a_misspelt_verb_suggests_the_nearest(fails):
    assert fails("rum", "digits") == (
        "there is no verb 'rum'; expected one of run, train, range-test, plan, audit, crossval, ensemble, diagnose, "
        "compress, package, evaluate, compare, predict, serve, report, check; did you mean 'run'? pick one."
    )


def test_a_misspelt_option_suggests_the_nearest(fails):
    assert "there is no option --minuts; expected an option that --help lists; did you mean '--minutes'?" in fails(
        "run", "digits", "--minuts", "3"
    )


def test_a_number_that_is_none_is_refused(fails):
    assert "argument --minutes: invalid float value: 'ten'" in fails("run", "digits", "--minutes", "ten")


@pytest.mark.parametrize("value", ["0", "-3", "nan", "inf"])
def test_a_limit_that_means_nothing_is_refused(fails, value, tmp_path):
    assert fails("run", "digits", "--minutes", value, "--out", tmp_path / "run").startswith("minutes is ")
    assert not (tmp_path / "run").exists()


# ---- the data ----


def test_a_missing_path(fails):
    assert fails("run", "digit") == (
        "there is no 'digit'; expected a folder of class folders, a .csv, .parquet or .npz file, or one of "
        "breast_cancer, digits, wine; did you mean 'digits'? check the path."
    )


def test_an_empty_folder(fails, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert "nothing" in fails("run", tmp_path / "nothing")


def test_one_class_only(fails, pictures):
    import shutil

    shutil.rmtree(pictures / "dog")
    assert "cat" in fails("run", pictures)


def test_a_class_with_one_example(fails, tmp_path):
    path = table(tmp_path / "t.csv", [f"{i},{i * i},{'rare' if i == 3 else i % 2}" for i in range(40)])
    assert "rare" in fails("run", path, "--target", "y")


def test_unreadable_pictures_are_named_and_stop_the_run(fails, pictures):
    (pictures / "cat" / "broken.jpg").write_bytes(b"not a picture")
    assert "broken.jpg" in fails("run", pictures, "--out", pictures.parent / "run")
    assert not (pictures.parent / "run").exists(), "nothing is left that could not be continued"


def test_unreadable_pictures_can_be_skipped(pictures, tmp_path, capsys):
    (pictures / "cat" / "broken.jpg").write_bytes(b"not a picture")
    arguments = ["run", pictures, "--skip-unreadable", "--steps", 5, "--minutes", 1, "--out", tmp_path / "run"]
    assert main([str(argument) for argument in arguments]) == 0
    assert "broken.jpg" in capsys.readouterr().err


def test_a_pixel_bomb(fails, pictures):
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    (pictures / "cat" / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    sentence = fails("run", pictures, "--out", pictures.parent / "run")
    assert "bomb.png" in sentence
    assert "40,000" in sentence or "40000" in sentence


def test_a_missing_target(fails, people_csv):
    assert "--target" in fails("run", people_csv)


def test_a_misspelt_target_suggests_the_nearest(fails, people_csv):
    assert "did you mean 'buys'?" in fails("run", people_csv, "--target", "buy")


def test_labels_that_are_all_unique(fails, tmp_path):
    path = table(tmp_path / "t.csv", [f"{i % 5},{i % 3},id{i}" for i in range(60)])
    assert "y" in fails("run", path, "--target", "y")


def test_infinite_values(fails, tmp_path):
    path = table(tmp_path / "t.csv", [f"{'inf' if i == 7 else i},{i % 3},{i % 2}" for i in range(60)])
    assert "infinite" in fails("run", path, "--target", "y")


# ---- the output ----


def test_an_unwritable_output(fails, tmp_path):
    (tmp_path / "file").write_text("")
    assert fails("run", "wine", "--out", tmp_path / "file" / "run") == (
        f"{tmp_path}/file/run cannot be written to (Not a directory); expected a directory for the run; "
        "choose another with --out."
    )


def test_a_full_disk(fails, tmp_path, monkeypatch):
    import errno

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("trimtab.directory.write_text", full)
    assert fails("run", "wine", "--out", tmp_path / "run") == (
        f"{tmp_path}/run/plan.toml does not fit on the disk; expected free space; make room, then the same command "
        "goes on."
    )


def test_a_port_in_use(fails, people_run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert str(port) in fails("serve", people_run.directory, "--port", port)


def test_a_run_that_is_not_there(fails, tmp_path):
    for verb in ("evaluate", "report", "predict", "serve"):
        extra = ["x.png"] if verb == "predict" else []
        assert str(tmp_path / "nothing") in fails(verb, tmp_path / "nothing", *extra)


# ---- what is printed when all is well ----


def test_the_last_line_is_json(trimtab, tmp_path):
    result = trimtab("run", "wine", "--steps", 40, "--minutes", 1, "--out", tmp_path / "wine", "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert set(summary) == {"run", "verdict", "metrics", "cost", "budget"}
    assert summary["verdict"] == "met"
    assert set(summary["metrics"]["accuracy"]) == {"value", "low", "high"}
    assert set(summary["cost"]) == {"seconds", "megabytes", "milliseconds_p95"}
    assert "report.html" in result.stdout
    assert "trimtab serve" in result.stdout


def test_a_missed_budget_exits_with_3_and_says_by_how_much(trimtab, tmp_path):
    limits = ["--steps", 20, "--minutes", 1, "--megabytes", 0.001]
    result = trimtab("run", "wine", *limits, "--out", tmp_path / "wine")
    assert result.returncode == 3, result.stderr
    assert "The budget was MISSED: megabytes" in result.stdout
    assert "instead of 0.001 (" in result.stdout
    assert "times the limit)" in result.stdout
    assert (tmp_path / "wine" / "bundle" / "model.onnx").exists()


def test_plan_prints_a_plan_that_run_takes(trimtab, people_csv, tmp_path):
    result = trimtab("plan", people_csv, "--target", "buys", "--minutes", 1, "--steps", 10)
    assert result.returncode == 0, result.stderr
    (tmp_path / "my.toml").write_text(result.stdout)
    assert "# found: 600 rows, 2 classes" in result.stdout
    again = trimtab("run", tmp_path / "my.toml", "--out", tmp_path / "run")
    assert again.returncode == 0, again.stderr
    assert not (tmp_path / "runs").exists()


def test_train_stops_before_the_test_rows_and_run_goes_on_from_there(trimtab, tmp_path):
    directory = tmp_path / "wine"
    done = trimtab("train", "wine", "--steps", "40", "--minutes", "1", "--out", directory, "--json")
    assert done.returncode == 0, done.stderr
    summary, out = json.loads(done.stdout.splitlines()[-1]), done.stdout
    assert summary["run"] == str(directory)
    assert 0 <= summary["validation"]["accuracy"]["low"] < summary["validation"]["accuracy"]["value"] <= 1
    assert "the test rows are still sealed" in out
    assert (directory / "evaluation" / "learning_curves.svg").exists()
    assert not Ledger(directory / "ledger.jsonl").events("test_opened")
    weights = Artifact.load(directory / "model").sha256
    assert trimtab("run", directory / "plan.toml", "--resume").returncode == 0
    assert Artifact.load(directory / "model").sha256 == weights
    assert len(Ledger(directory / "ledger.jsonl").events("test_opened")) == 1


def test_a_range_test_suggests_a_rate_below_those_that_diverge(trimtab, tmp_path):
    done = trimtab("range-test", "wine", "--steps", "60", "--out", tmp_path / "sweep", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert 1e-5 <= found["suggestion"] < max(found["rates"])
    rows = (tmp_path / "sweep" / "range_test.csv").read_text().splitlines()
    assert rows[0] == "learning_rate,loss"
    assert len(rows) == 1 + len(found["rates"])
    assert (tmp_path / "sweep" / "range_test.svg").read_text().lstrip().startswith("<?xml")
    assert {path.name for path in tmp_path.iterdir()} == {"sweep"}  # no run directory is left


@pytest.mark.parametrize("data", ["wine", "wine/plan.toml"])
def test_resume_never_starts_anew(fails, trimtab, tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trimtab("run", "wine", "--steps", "20", "--minutes", "1", "--out", "wine")
    settings = ("--steps", "20", "--minutes", "1") if data == "wine" else ()
    error = fails("run", data, *settings, "--out", "again", "--resume")
    assert "there is no unfinished run of this plan at again; expected one to resume" in error
    assert not Path("again").exists()


def test_evaluate_prints_the_figures_again(digits_run, capsys):
    assert main(["evaluate", str(digits_run.directory), "--json"]) == 0
    output = capsys.readouterr().out
    assert "opened 1 time; the hashes" in output
    assert json.loads(output.splitlines()[-1]) == digits_run.to_dict()


def test_predict_pictures(digits_run, tmp_path, capsys):
    from trimtab.data import open_source

    dataset = open_source("digits").load(image_size=8)
    paths = []
    for row in (0, 1, 2):
        paths.append(tmp_path / f"{row}.png")
        Image.fromarray(dataset.images[row, :, :, 0]).save(paths[-1])
    assert main(["predict", str(digits_run.directory), *map(str, paths), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    expected = digits_run.load().predict(dataset.images[:3])
    assert [entry["class"] for entry in answer["predictions"]] == expected
    assert [entry["name"] for entry in answer["predictions"]] == [str(path) for path in paths]


@pytest.mark.parametrize("kind", ["digits", "people"])
def test_predict_with_numpy_alone(kind, digits_run, people_run, people_csv, tmp_path, capsys, monkeypatch):
    run, data = (people_run, people_csv) if kind == "people" else (digits_run, tmp_path / "a.png")
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    answers = []
    for engine in ("onnx", "numpy"):
        assert main(["predict", str(run.directory), str(data), "--json", "--engine", engine]) == 0
        answers.append(json.loads(capsys.readouterr().out.splitlines()[-1])["predictions"])
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for first, second in zip(*answers, strict=True):
        assert (first["name"], first["class"]) == (second["name"], second["class"])
        assert first["probabilities"] == pytest.approx(second["probabilities"], abs=1e-2)


def test_without_onnxruntime_the_other_engine_is_named(digits_run, people_run, fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    sentence = (
        "onnxruntime is not installed; expected it for the engine onnx; pip install onnxruntime, or use the engine "
        "numpy (--engine numpy), which works without it."
    )
    assert fails("predict", digits_run.directory, "a.png") == sentence
    assert fails("serve", people_run.directory, "--port", 0) == sentence


def test_evaluate_needs_no_onnxruntime(digits_run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["evaluate", str(digits_run.directory)]) == 0
    assert "sealed test rows" in capsys.readouterr().out


def test_an_engine_that_there_is_not(fails, digits_run):
    sentence = fails("predict", digits_run.directory, "a.png", "--engine", "numpi")
    assert sentence == "--engine is 'numpi'; expected one of onnx, numpy; did you mean 'numpy'? pick one."


def test_predict_takes_a_folder_of_pictures(digits_run, tmp_path, capsys):
    for name in ("b.png", "a.png"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert main(["predict", str(digits_run.directory), str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [entry["name"] for entry in answer["predictions"]] == [str(tmp_path / name) for name in ("a.png", "b.png")]


def test_a_missing_extra_is_one_sentence(monkeypatch, capsys):
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["plan", "digits"]) == 2
    assert capsys.readouterr().err == (
        "trimtab: sklearn is not installed; expected it for this; pip install 'trimtab[run]'.\n"
    )


def test_without_a_verb_the_help_is_shown(capsys):
    assert main([]) == 0
    assert "trimtab run digits" in capsys.readouterr().out


def test_predict_rows_to_a_file(people_run, people_csv, tmp_path, capsys):
    assert main(["predict", str(people_run.directory), str(people_csv), "--out", str(tmp_path / "out.csv")]) == 0
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "name,prediction,p_no,p_yes"
    assert len(lines) == 601
    assert float(lines[1].split(",")[2]) + float(lines[1].split(",")[3]) == pytest.approx(1, abs=1e-4)


def test_report_prints_where_the_page_is(digits_run, capsys):
    assert main(["report", str(digits_run.directory)]) == 0
    assert capsys.readouterr().out.strip() == str(digits_run.directory / "report.html")


def test_check_names_versions_machine_and_cache(capsys, cache):
    assert main(["check", "--quick"]) == 0
    output = capsys.readouterr().out
    for word in ("torch 2.", "threads", "python", "device", "engines    torch, numpy\n", str(cache)):
        assert word in output


@pytest.mark.slow
def test_the_smoke_run_works(capsys, cache):
    assert main(["check"]) == 0
    assert "smoke run  works" in capsys.readouterr().out
    assert not list(cache.glob("check-*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ensemble", "runs/x-cv", "--distill"], "interrupted; the same command goes on from what is there."),
        (["ensemble", "runs/x-cv"], "interrupted."),
    ],
)
def test_an_interrupt_says_whether_the_same_command_goes_on(arguments, said, monkeypatch, capsys):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("trimtab.ensembling.ensemble_verb", interrupt)
    assert main(arguments) == 130
    assert capsys.readouterr().err == f"trimtab: {said}\n"
