"""The main job from data to delivered model, in one process and over kills, repeats and missed budgets."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import trimtab
from trimtab.artifact import Artifact
from trimtab.errors import ExportError, InputError, IntegrityError
from trimtab.evaluation.temperature import TemperatureChoice
from trimtab.ledger import Ledger


def weights(run):
    return Artifact.load(run.directory / "model").sha256


def test_a_run_on_pictures_delivers_what_it_promises(digits_run):
    assert digits_run.verdict.is_met
    accuracy = digits_run.evaluation.metrics["accuracy"]
    assert accuracy.value > 0.9
    assert accuracy.low < accuracy.value < accuracy.high
    names = {path.name for path in digits_run.directory.iterdir()}
    assert names >= {"plan.toml", "ledger.jsonl", "data", "history.csv", "model", "evaluation", "compression", "bundle"}
    assert names >= {"report.html", "run.json"}
    assert "checkpoints" not in names
    for plot in ("confusion", "roc", "learning_curves"):
        assert (digits_run.directory / "evaluation" / f"{plot}.svg").read_text().lstrip().startswith("<?xml")
    assert (digits_run.directory / "data" / "first_batch.png").read_bytes().startswith(b"\x89PNG")


def test_the_figures_are_those_of_the_delivered_model(digits_run):
    """Load the bundle, predict the test rows again, and find the accuracy that was reported."""
    from trimtab.data import Split, open_source

    split = Split.load(digits_run.directory / "data" / "split")
    dataset = open_source("digits").load(image_size=8)
    rows = split._test
    chosen = digits_run.load().predict_proba(dataset.images[rows]).argmax(1)
    assert np.mean(chosen == dataset.labels[rows]) == digits_run.evaluation.metrics["accuracy"].value


@pytest.mark.parametrize(("settings", "variant"), [({"max_drop": 100.0}, "int8"), ({"quantize": False}, "float32")])
def test_numpy_runs_the_delivered_variant(settings, variant, tmp_path):
    run = trimtab.run("wine", out=tmp_path / "wine", steps=60, minutes=1, **settings)
    onnx, numpy = (trimtab.load(run.directory, engine=engine) for engine in ("onnx", "numpy"))
    assert onnx.manifest["model"]["variant"] == variant
    delivered, trained = Artifact.load(run.directory / "bundle" / "artifact"), Artifact.load(run.directory / "model")
    assert ("quantization" in delivered.meta) == (variant == "int8")
    assert "quantization" not in trained.meta
    rows = [{"alcohol": alcohol, "proline": 10 * alcohol**2} for alcohol in np.linspace(11, 15, 50)]
    np.testing.assert_allclose(numpy.predict_proba(rows), onnx.predict_proba(rows), atol=1e-2)


@pytest.fixture(scope="module")
def noisy_npz(tmp_path_factory):
    """Labels that are partly chance, so that a temperature has something to mend."""
    random = np.random.default_rng(0)
    features = random.standard_normal((3000, 4))
    labels = features[:, 0] + features[:, 1] + 0.7 * random.standard_normal(3000) > 0
    path = tmp_path_factory.mktemp("noisy") / "noisy.npz"
    np.savez(path, X=features, y=labels.astype(int))
    return path


@pytest.mark.parametrize(("settings", "variant"), [({"max_drop": 100.0}, "int8"), ({"quantize": False}, "float32")])
def test_a_temperature_that_helps_is_part_of_everything_delivered(settings, variant, noisy_npz, tmp_path):
    run = trimtab.run(noisy_npz, out=tmp_path / "run", steps=150, minutes=1, label_smoothing=0.4, **settings)
    (event,) = Ledger(run.directory / "ledger.jsonl").events("calibrated")
    assert event["is_kept"]
    assert event["temperature"] < 0.8  # smoothing makes a model less sure than it should be
    onnx, numpy = (trimtab.load(run.directory, engine=engine) for engine in ("onnx", "numpy"))
    assert (onnx.manifest["temperature"], onnx.manifest["model"]["variant"]) == (event["temperature"], variant)
    features = np.load(noisy_npz)["X"][:200]
    np.testing.assert_allclose(numpy.predict_proba(features), onnx.predict_proba(features), atol=1e-3)
    assert "temperature" not in Artifact.load(run.directory / "model").meta
    plain = trimtab.run(
        noisy_npz, out=tmp_path / "plain", steps=150, minutes=1, label_smoothing=0.4, calibrate=False, **settings
    )
    assert weights(plain) == weights(run)
    assert plain.load().manifest["temperature"] == 1.0
    assert not Ledger(plain.directory / "ledger.jsonl").events("calibrated")
    assert run.evaluation.metrics["log_loss"].value < plain.evaluation.metrics["log_loss"].value
    assert run.evaluation.metrics["accuracy"].value == plain.evaluation.metrics["accuracy"].value


def test_a_run_that_goes_on_keeps_the_temperature_that_it_chose(people_run, tmp_path):
    import shutil

    shutil.copytree(people_run.directory, tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()  # what a kill just before the end leaves
    ledger = Ledger(tmp_path / "run" / "ledger.jsonl")
    choice = TemperatureChoice.from_dict(ledger.events("calibrated")[-1])
    ledger.append("calibrated", **dataclasses.replace(choice, is_kept=True, temperature=1.25).to_dict())
    continued = trimtab.run(tmp_path / "run")
    assert continued.load().manifest["temperature"] == 1.25
    assert len(Ledger(tmp_path / "run" / "ledger.jsonl").events("calibrated")) == 2


def test_a_network_that_gives_no_numbers_is_refused_by_the_export(monkeypatch, tmp_path):
    def diverged(artifact, rows, **_):
        return np.full((len(rows), 3), np.nan, np.float32)

    monkeypatch.setattr("trimtab.training.stepper.predict_probabilities", diverged)
    with pytest.raises(ExportError, match="are not finite; expected finite probabilities from both models"):
        trimtab.run("wine", steps=5, minutes=1, out=tmp_path / "run")


def test_the_test_rows_are_opened_once_and_the_ledger_says_so(digits_run):
    ledger = Ledger(digits_run.directory / "ledger.jsonl")
    assert [event["opening"] for event in ledger.events("test_opened")] == [1]
    events = [event["event"] for event in ledger.events()]
    assert events.index("trained") < events.index("test_opened") < events.index("finished")


def test_parts_do_not_overlap(digits_run):
    from trimtab.data import Split

    split = Split.load(digits_run.directory / "data" / "split")
    parts = [set(rows.tolist()) for rows in (split.train, split.validation, split._test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1797


def test_a_table_with_missing_values_needs_no_other_flag(people_run):
    assert people_run.evaluation.metrics["accuracy"].value > 0.8
    model = people_run.load()
    probabilities, warnings = model.predict_proba_with_warnings([{"age": 33, "job": "astronaut"}])
    assert probabilities.shape == (1, 2)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert any("astronaut" in text for text in warnings)
    assert any("member" in text for text in warnings)


def test_a_labelled_file_is_predicted_without_complaint(people_run, people_csv):
    probabilities, warnings = people_run.load().predict_proba_with_warnings(people_csv)
    assert probabilities.shape == (600, 2)
    assert warnings == ()


def test_open_run_gives_what_run_gave(digits_run):
    again = trimtab.open_run(digits_run.directory)
    assert again.to_dict() == digits_run.to_dict()
    assert again.plan == digits_run.plan


def test_a_second_run_never_overwrites(digits_run):
    second = trimtab.run("digits", out=digits_run.directory, steps=20, minutes=1)
    assert second.directory.name == "digits-2"


def test_a_finished_plan_is_repeated_bit_for_bit(digits_run):
    repeated = trimtab.run(digits_run.directory)  # or its plan.toml
    assert repeated.directory != digits_run.directory
    assert weights(repeated) == weights(digits_run)
    assert Ledger(repeated.directory / "ledger.jsonl").events("replayed")[0]["is_identical"]


def test_a_timed_run_is_repeated_bit_for_bit(tmp_path):
    first = trimtab.run("wine", out=tmp_path / "wine", minutes=0.2, epochs_at_most=100_000)
    corrections = Ledger(first.directory / "ledger.jsonl").events("trained")[0]["corrections"]
    assert corrections[0]["reason"].startswith("the probe took")
    second = trimtab.run(first.directory / "plan.toml")
    assert weights(second) == weights(first)


def test_a_run_by_numpy_is_repeated_bit_for_bit_and_loads_no_torch(tmp_path):
    code = (
        "import sys, trimtab; trimtab.run('digits', engine='numpy', steps=40, minutes=1, out=sys.argv[1]); "
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "digits")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert result.stdout.strip() == "False"
    repeated = trimtab.run(tmp_path / "digits")
    assert repeated.plan.engine == "numpy"
    assert Ledger(repeated.directory / "ledger.jsonl").events("replayed")[0]["is_identical"]


def test_a_budget_that_cannot_be_met_is_delivered_and_marked(tmp_path):
    run = trimtab.run("wine", out=tmp_path / "wine", steps=30, minutes=1, megabytes=0.001)
    assert not run.verdict.is_met
    (line,) = run.verdict.excesses
    assert line.name == "megabytes"
    assert line.excess > 0
    manifest = json.loads((run.directory / "bundle" / "manifest.json").read_text())
    assert manifest["verdict"]["verdict"] == "missed"
    assert run.load().predict([{"alcohol": 13.0}])[0] in run.evaluation.class_names


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_weights(tmp_path):
    """kill -9 in the middle of training, the same command again: the weights of a run that was left alone."""
    settings = ["--steps", "900", "--minutes", "2", "--batch-size", "32", "--threads", "1"]
    command = [sys.executable, "-m", "trimtab", "run", "digits", *settings]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([*command, "--out", str(killed)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(killed.glob("checkpoints/step_*/state.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "model").exists(), "the run was over before it could be killed"
    for out in (killed, whole):
        subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    assert not (tmp_path / "killed-2").exists()
    assert Ledger(killed / "ledger.jsonl").events("resumed")
    assert Artifact.load(killed / "model").sha256 == Artifact.load(whole / "model").sha256


def test_interrupting_finishes_with_what_there_is(tmp_path):
    command = [sys.executable, "-m", "trimtab", "run", "wine", "--minutes", "1", "--epochs-at-most", "1000000"]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "wine")], stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "wine" / "history.csv").exists():
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped by the user" in output
    assert trimtab.open_run(tmp_path / "wine").evaluation.rows > 0


def test_an_unfinished_run_has_no_result_yet(tmp_path):
    from trimtab.directory import claim
    from trimtab.plan import Plan

    plan = Plan(data="wine")
    claim(tmp_path / "wine", plan, plan.to_toml()).release()
    with pytest.raises(InputError, match="is not finished; expected a finished run; continue it with `trimtab run"):
        trimtab.open_run(tmp_path / "wine")


def test_altered_figures_are_refused(people_run, tmp_path):
    import shutil

    shutil.copytree(people_run.directory, tmp_path / "run")
    path = tmp_path / "run" / "evaluation" / "metrics.json"
    path.write_text(path.read_text().replace('"value": 0.', '"value": 0.9', 1))
    with pytest.raises(IntegrityError, match=r"metrics\.json is not the file that was written"):
        trimtab.open_run(tmp_path / "run")


def test_an_edited_plan_is_carried_out_anew_and_not_repeated(people_run, tmp_path):
    import shutil

    shutil.copytree(people_run.directory, tmp_path / "run")
    plan = tmp_path / "run" / "plan.toml"
    plan.write_text(plan.read_text().replace("steps = 150", "steps = 60"))
    again = trimtab.run(plan)
    ledger = Ledger(again.directory / "ledger.jsonl")
    assert ledger.events("trained")[0]["corrections"][0]["total_steps"] == 60
    assert not ledger.events("replayed")


@pytest.mark.slow
def test_a_killed_repetition_goes_on_repeating(digits_run, tmp_path):
    """Repeat a run, kill the repetition in mid-training, and continue it from its own directory."""
    import shutil

    shutil.copytree(digits_run.directory, tmp_path / "digits")
    command = [sys.executable, "-m", "trimtab", "run", str(tmp_path / "digits")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    second = tmp_path / "digits-2"
    while not (second / "history.csv").exists():
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.wait()
    assert not (second / "report.html").exists()
    continued = trimtab.run(second)
    assert continued.directory == second
    assert weights(continued) == weights(digits_run)
    assert Ledger(second / "ledger.jsonl").events("replayed")[0]["is_identical"]


def test_a_built_in_name_means_the_built_in_whatever_lies_around(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wine").mkdir()
    run = trimtab.run("wine", steps=5, out=tmp_path / "out")
    assert run.plan.data == "wine"
    assert any("'wine' is the built-in set" in text for text in run.warnings)


def test_arrays_predict_where_arrays_trained(tmp_path):
    random = np.random.default_rng(0)
    features = random.standard_normal((120, 3))
    np.savez(tmp_path / "a.npz", X=features, y=(features[:, 0] > 0).astype(int))
    run = trimtab.run(tmp_path / "a.npz", steps=200, out=tmp_path / "run")
    chosen = run.load().predict(features)
    assert np.mean([name == str(int(row[0] > 0)) for name, row in zip(chosen, features, strict=True)]) > 0.85
    with pytest.raises(InputError, match=r"the array is float64 \[2, 5\]; expected \[N, 3\], a column each for x0"):
        run.load().predict(np.zeros((2, 5)))


def test_an_altered_bundle_is_refused(people_run, tmp_path):
    import shutil

    shutil.copytree(people_run.directory, tmp_path / "run")
    path = tmp_path / "run" / "bundle" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match=r"model\.onnx is not the file that was written"):
        trimtab.load(tmp_path / "run")


def test_an_unknown_setting_suggests_the_nearest():
    with pytest.raises(TypeError, match="no setting 'minute'; expected a field of Plan; did you mean 'minutes'"):
        trimtab.run("wine", minute=3)


@pytest.fixture
def copied(people_run, tmp_path):
    """A copy of a finished run, to be tampered with."""
    import shutil

    return shutil.copytree(people_run.directory, tmp_path / "runs" / "people")


def test_a_ledger_that_was_cut_off_or_deleted_is_named(copied):
    path = copied / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines[:-1] if '"finished"' not in line))
    with pytest.raises(
        IntegrityError, match=r"ledger\.jsonl ends before the run did; expected the opening of the test"
    ):
        trimtab.open_run(copied)
    path.unlink()
    with pytest.raises(IntegrityError, match=r"ledger\.jsonl is missing or empty"):
        trimtab.open_run(copied)


@pytest.mark.parametrize("file", ["data/split/test.npy", "data/split/split.json", "evaluation/predictions.csv"])
def test_a_file_that_the_figures_rest_on_is_missed_when_it_is_gone(copied, file):
    (copied / file).unlink()
    with pytest.raises(IntegrityError, match="is not the"):
        trimtab.open_run(copied)


def test_another_runs_bundle_is_not_taken_for_this_ones(copied, digits_run):
    import shutil

    shutil.rmtree(copied / "bundle")
    shutil.copytree(digits_run.directory / "bundle", copied / "bundle")
    with pytest.raises(IntegrityError, match=r"bundle/model\.onnx is not the file that was written; expected the hash"):
        trimtab.open_run(copied)


def test_measuring_again_gives_the_same_figures_and_spends_nothing(copied):
    from trimtab.console import Console
    from trimtab.stages.again import measure_again

    recorded = trimtab.open_run(copied).evaluation
    again = measure_again(copied, Console(is_quiet=True))
    assert (again.largest_difference, again.label_flips, again.look) == (0, 0, 1)
    assert again.evaluation.to_dict() == recorded.to_dict()
    openings = Ledger(copied / "ledger.jsonl").events("test_opened")
    assert [(event["opening"], event["level"]) for event in openings] == [(1, pytest.approx(0.975))] * 2
    assert openings[0]["models"] == openings[1]["models"]


def test_a_second_model_beside_the_first_is_the_second_look(copied, people_csv):
    second = trimtab.run(people_csv, target="buys", out=copied.parent / "second", steps=20, minutes=1)
    (event,) = Ledger(second.directory / "ledger.jsonl").events("test_opened")
    assert (event["opening"], event["others"]) == (2, ["people"])
    assert second.evaluation.metrics["accuracy"].level == pytest.approx(1 - 0.05 / 6)
    page = (second.directory / "report.html").read_text()
    assert "This is look number 2 at the same test rows, also in people." in page
    assert "they are at 99.17% here" in page
