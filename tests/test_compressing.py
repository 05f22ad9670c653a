"""`trimtab compress`: what is tried, measured, delivered, written, refused, and how it goes on after being killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

import trimtab
from trimtab import compressing
from trimtab.artifact import Artifact
from trimtab.cli import main
from trimtab.console import Console
from trimtab.data import Split
from trimtab.deployment.c.checking import find_compiler
from trimtab.deployment.c.session import CSession
from trimtab.deployment.numpy_session import NumpySession
from trimtab.ledger import Ledger

NETWORK = {"model": "cnn", "options": {"channels": [16, 32, 32]}, "engine": "numpy"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run on digits."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return trimtab.run("digits", out=out, steps=120, minutes=2, **NETWORK).directory


@pytest.fixture
def run(whole, tmp_path):
    """A copy of it that may be written to."""
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture(scope="module")
def small(whole, tmp_path_factory):
    """The same, compressed below what its formats give: so smaller networks were trained."""
    run = shutil.copytree(whole, tmp_path_factory.mktemp("small") / "run")
    bytes_of_int8 = (run / "compression" / "as-trained" / "int8" / "model.onnx").stat().st_size
    return run, trimtab.compress(run, megabytes=0.4 * bytes_of_int8 / 1e6, max_drop=50, minutes=0.6)


def test_the_first_format_within_the_limit_is_delivered_and_nothing_smaller_is_tried(run):
    float_size = (run / "compression" / "as-trained" / "float32" / "model.onnx").stat().st_size / 1e6
    made = trimtab.compress(run, megabytes=0.6 * float_size, max_drop=5, minutes=1)
    assert [rung.name for rung in made.rungs] == ["float32", "float16"]
    assert made.choice.rung.name == "float16"
    assert made.choice.is_good_enough
    assert made.verdict.is_met


def test_delivered_bundle_is_the_rung_runs_in_both_engines_and_leaves_the_runs_own(run):
    before = (run / "bundle" / "model.onnx").read_bytes()
    made = trimtab.compress(run, megabytes=0.05, max_drop=10, minutes=0.5)
    pictures = [np.full((8, 8), 16 * value, np.uint8) for value in range(8)]
    onnx, numpy = (trimtab.load(made.directory, engine=engine) for engine in ("onnx", "numpy"))
    np.testing.assert_allclose(onnx.predict_proba(pictures), numpy.predict_proba(pictures), atol=1e-4)
    assert onnx.manifest["model"]["variant"] == made.choice.rung.number_format
    assert onnx.manifest["cost"]["megabytes"] == pytest.approx(made.choice.rung.megabytes)
    assert (made.directory / "bundle" / "model.onnx").stat().st_size == round(1e6 * made.choice.rung.megabytes)
    assert (run / "bundle" / "model.onnx").read_bytes() == before
    trimtab.open_run(run)


def test_for_the_numpy_engine_its_file_is_limited_and_its_time_measured(run):
    native = trimtab.compress(run, megabytes=1, max_drop=10, minutes=0.5)
    whole = native.rungs[0]
    made = trimtab.compress(run, megabytes=0.6 * whole.megabytes, max_drop=10, minutes=0.5, target="numpy")
    size = (run / "compression" / "as-trained" / "float32" / "artifact" / "weights.safetensors").stat().st_size
    assert made.rungs[0].megabytes == pytest.approx(size / 1e6)
    assert made.rungs[0].latency != whole.latency  # not taken over
    assert "Timed in the NumPy engine" in (made.directory / "compression.html").read_text()


@pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")
def test_for_c_the_compiled_library_is_measured_and_answers_alike(run):
    made = trimtab.compress(run, max_drop=10, minutes=0.5, target="c")
    int8 = next(rung for rung in made.rungs if rung.name == "int8")
    artifact = Artifact.load(run / "compression" / "as-trained" / "int8" / "artifact")
    compiled = CSession(artifact)
    assert int8.megabytes == pytest.approx(compiled.size / 1e6, rel=0.01)
    pictures = {"image": np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)}
    np.testing.assert_allclose(compiled.run(pictures), NumpySession(artifact).run(pictures), atol=1e-4)


@pytest.mark.slow
def test_smaller_networks_are_trained_when_no_format_fits_with_a_control_beside_them(small):
    _, made = small
    networks = {rung.network for rung in made.rungs}
    kinds = {name.split(", ")[-1].split(" ")[0] for name in networks}
    assert {"pruned", "distilled", "alone"} <= kinds
    assert len(made.claims) == 2
    assert all(claim.control.endswith("alone") for claim in made.claims)
    best = made.choice.rung
    assert made.choice.is_good_enough
    limit = made.verdict.lines[1].limit
    group = [rung for rung in made.rungs if rung.group == best.group and rung.megabytes <= limit]
    assert len(group) >= 3
    assert best.accuracy.value == max(rung.accuracy.value for rung in group)


@pytest.mark.slow
def test_pruned_network_is_the_same_builder_with_narrower_arguments(small):
    run, made = small
    rung = next(rung for rung in made.rungs if rung.network.startswith("pruned"))
    folder = made.directory / rung.network.replace("%", "").replace(" ", "-") / "model"
    pruned, whole = Artifact.load(folder), Artifact.load(run / "model")
    assert pruned.builder == whole.builder
    assert all(narrow < wide for narrow, wide in zip(pruned.kwargs["channels"], whole.kwargs["channels"], strict=True))


@pytest.mark.slow
def test_pruning_in_two_steps_trains_a_wider_network_on_the_way_that_is_no_rung(small, tmp_path):
    run = shutil.copytree(small[0], tmp_path / "run")
    limit = small[1].verdict.lines[1].limit
    made = trimtab.compress(run, megabytes=limit, max_drop=50, minutes=0.6, pruning_steps=2)
    last = next(rung.network for rung in made.rungs if rung.network.startswith("pruned"))
    folder = made.directory / last.replace("%", "").replace(" ", "-")
    way = folder.with_name(f"{folder.name}-step-1")
    wide, between, narrow = (Artifact.load(path / "model").kwargs["channels"] for path in (run, way, folder))
    assert all(a > b > c for a, b, c in zip(wide, between, narrow, strict=True))
    assert not any("step" in rung.network for rung in made.rungs)
    seconds = {json.loads((path / "network.json").read_text())["seconds"] for path in (way, folder)}
    assert len(seconds) == 1


@pytest.mark.slow
def test_a_second_call_takes_over_every_rung(small):
    run, made = small
    told = []
    console = Console(is_quiet=True)
    console.stage = lambda name, text: told.append((name, text))
    again = trimtab.compress(run, megabytes=made.verdict.lines[1].limit, max_drop=50, minutes=0.6, console=console)
    assert [rung.name for rung in again.rungs] == [rung.name for rung in made.rungs]
    assert [rung.latency for rung in again.rungs] == [rung.latency for rung in made.rungs]
    assert again.seconds < made.seconds / 2


@pytest.mark.slow
def test_a_killed_ladder_goes_on_with_the_rung_it_was_on(small, monkeypatch):
    import trimtab.stages.compressing as stage

    run, made = small
    last = made.rungs[-1].network.replace("%", "").replace(",", "").replace(" ", "-")
    shutil.rmtree(made.directory / last)
    trained = []
    original = stage.train_smaller

    def counting(case, network, folder, *arguments, **settings):
        if not (folder / "model").exists():
            trained.append(folder.name)
        return original(case, network, folder, *arguments, **settings)

    monkeypatch.setattr(stage, "train_smaller", counting)
    trimtab.compress(run, megabytes=made.verdict.lines[1].limit, max_drop=50, minutes=0.6)
    assert trained == [last]


@pytest.mark.slow
def test_networks_of_one_width_get_the_same_seconds(small):
    _, made = small
    seconds = [json.loads(path.read_text())["seconds"] for path in made.directory.glob("*/network.json")]
    assert len(seconds) >= 3
    assert len(set(seconds)) == 1
    assert seconds[0] >= 3
    assert made.seconds < 45


@pytest.mark.slow
def test_networks_made_in_another_way_or_damaged_are_not_taken_over(small, monkeypatch):
    import trimtab.stages.compressing as stage

    run, made = small
    trained = []

    def counting(case, network, folder, *arguments, **settings):
        trained.append((folder.name, (folder / "model").exists()))
        raise KeyboardInterrupt

    (made.directory / "teacher.npz").write_bytes(b"PK cut off")
    (made.directory / "as-trained" / "float16" / "rung.json").write_text('{"key": "')
    monkeypatch.setattr(stage, "train_smaller", counting)
    limits = {"megabytes": made.verdict.lines[1].limit, "max_drop": 50, "minutes": 0.6}
    with pytest.raises(KeyboardInterrupt):
        trimtab.compress(run, importance="taylor", **limits)
    assert trained[0][0].startswith("pruned")
    assert not trained[0][1]


def test_too_few_rows_to_show_anything_are_said_and_nothing_is_trained(tmp_path):
    run = trimtab.run("wine", out=tmp_path / "run", engine="numpy", steps=30, minutes=1)
    made = trimtab.compress(run.directory, max_drop=0.5, minutes=0.5)
    assert "validation rows cannot show that less than" in made.notes[0]
    assert "give --max-drop" in made.notes[0]
    assert {rung.network for rung in made.rungs} == {"as trained"}


def claim(name, a_only, b_only, rows=1000):
    from trimtab.evaluation.paired import compare_right
    from trimtab.stages.compressing import Claim

    right_a, right_b = np.zeros((2, rows), bool)
    right_a[:a_only] = right_b[a_only : a_only + b_only] = True
    return Claim(network=name, control="alone", comparison=compare_right(right_a, right_b))


def test_of_several_claims_only_those_are_shown_that_survive_holms_correction():
    barely = claim("barely", 20, 35)  # p is about 0.04
    assert compressing._claim_rows([barely])[0]["is_shown"]
    rows = compressing._claim_rows([barely, claim("no", 20, 22), claim("clear", 20, 90), claim("worse", 90, 20)])
    assert [row["is_shown"] for row in rows] == [False, False, True, False]


@pytest.mark.slow
def test_a_ladder_killed_outright_goes_on_and_keeps_what_was_finished(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    limit = 0.4e-6 * (run / "compression" / "as-trained" / "int8" / "model.onnx").stat().st_size
    words = ["compress", str(run), "--megabytes", str(limit), "--max-drop", "50", "--minutes", "0.6", "--json"]
    command = [sys.executable, "-m", "trimtab", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = run / "compression"
    wait_for(lambda: list(folder.glob("pruned*/checkpoints/*")) or list(folder.glob("pruned*/model")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/rung.json")}
    assert len(finished) >= 4
    assert not (folder / "ladder.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    made = json.loads((folder / "ladder.json").read_text())
    assert {rung["network"].split(" ")[0] for rung in made["rungs"]} >= {"as", "pruned"}
    trimtab.load(folder)


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def test_rows_of_a_group_count_as_one(tmp_path):
    random = np.random.default_rng(0)
    lines = ["patient,a,b,kind"]
    for patient in range(120):
        shift = random.normal()
        for _ in range(5):
            kind = "sick" if shift + random.normal(0, 0.5) > 0 else "well"
            lines.append(f"{patient},{shift + random.normal(0, 0.3):.4f},{random.normal():.4f},{kind}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    settings = {"target": "kind", "group": "patient", "engine": "numpy", "steps": 60, "minutes": 1}
    made = trimtab.run(tmp_path / "table.csv", out=tmp_path / "run", **settings)
    rungs = trimtab.compress(made.directory, megabytes=1, max_drop=50, minutes=0.3).rungs
    split = Split.load(made.directory / "data" / "split")
    width = rungs[0].accuracy.high - rungs[0].accuracy.low
    value, rows = rungs[0].accuracy.value, len(split.validation)
    assert width > 1.2 * 2 * 1.96 * (value * (1 - value) / rows) ** 0.5  # wider than of as many independent rows


def test_float_layers_that_an_earlier_attempt_needed_and_this_one_does_not_are_cleared_away(run):
    left = run / "compression" / "as-trained" / "int8-with-float-layers"
    left.mkdir()
    (left / "trial.onnx").write_bytes(b"half")
    made = trimtab.compress(run, max_drop=30, minutes=0.5)
    assert "int8 with float layers" not in [rung.name for rung in made.rungs]
    assert not left.exists()


def test_an_importance_that_the_network_does_not_have_is_refused():
    kwargs = {"in_channels": 1, "image_size": 8, "num_classes": 2, "width": 8, "depth": 1, "heads": 2, "patch": 4}
    case = SimpleNamespace(artifact=Artifact(builder="vit", kwargs=kwargs, arrays={}))
    with pytest.raises(trimtab.TrimtabError, match="--importance is 'scale' for a vit"):
        compressing._check_importance(case, "scale")
    compressing._check_importance(case, "magnitude")


def test_calibration_touches_neither_validation_nor_test_rows(run, monkeypatch):
    """Every row that a quantization reads is a training row."""
    import trimtab.stages.formats as formats

    split = Split.load(run / "data" / "split")
    used = []
    original = formats.Judge.calibration_rows

    def noting(self, *arguments):
        rows = original(self, *arguments)
        used.extend(rows.tolist())
        return rows

    monkeypatch.setattr(formats.Judge, "calibration_rows", noting)
    trimtab.compress(run, megabytes=0.02, max_drop=0, minutes=0.2)
    assert len(set(used)) > 100
    assert set(used) <= set(split.train.tolist())
    assert not set(used) & set(split.validation.tolist())


def test_nothing_good_enough_is_said_and_exits_with_3(run, capsys):
    code = main(["compress", str(run), "--megabytes", "0.001", "--minutes", "0.1"])
    printed = capsys.readouterr().out
    assert code == 3
    assert "MISSED     nothing that was tried meets all that was asked for" in printed
    assert "none is within 0.001 MB; this is nearest" in printed


def test_what_is_printed_and_written(run, capsys):
    code = main(["compress", str(run), "--megabytes", "1", "--max-drop", "5", "--minutes", "0.5", "--json"])
    printed = capsys.readouterr().out
    assert code == 0
    summary = json.loads(printed.splitlines()[-1])
    assert summary["delivered"] == "float32"
    assert json.loads((run / "compression" / "ladder.json").read_text())["rungs"] == summary["rungs"]
    page = (run / "compression" / "compression.html").read_text()
    assert "Delivered: float32" in page
    assert "<svg" in page
    events = Ledger(run / "ledger.jsonl").events("compressed")
    assert events[-1]["delivered"] == "float32"


def test_test_rows_are_opened_once_for_each_file_that_is_delivered(run):
    before = len(Ledger(run / "ledger.jsonl").events("test_opened"))
    trimtab.compress(run, megabytes=1, max_drop=5, minutes=0.5)
    assert len(Ledger(run / "ledger.jsonl").events("test_opened")) == before + 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"megabytes": 0.0}, "--megabytes is 0; expected a number above 0"),
        ({"milliseconds": -1.0}, "--milliseconds is -1; expected a number above 0"),
        ({"minutes": float("inf")}, "--minutes is inf; expected a number above 0"),
        ({"max_drop": -0.5}, "--max-drop is -0.5; expected points of accuracy, 0 to 100"),
        ({"importance": "luck"}, "--importance is 'luck'; expected one of magnitude, taylor, scale"),
        ({"pruning_steps": 0}, "--pruning-steps is 0; expected 1 to 4"),
        ({"target": "toaster"}, "--target is 'toaster'; expected one of native, numpy, c"),
        ({"threads": 0}, "--target-cpu-threads is 0; expected 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(whole, settings, message):
    with pytest.raises(trimtab.TrimtabError, match=message.replace("(", r"\(")):
        trimtab.compress(whole, **settings)


def test_a_run_that_is_not_there_is_refused(tmp_path, capsys):
    assert main(["compress", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err
