"""Two and more workers on one machine against one process."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.training.distributed.conftest import ends_of, start_workers, train_by
from tests.training.distributed.program import arguments_of, describe

from trimtab.training import loop

KWARGS = {"in_channels": 1, "image_size": 8, "channels": [8, 16], "num_classes": 3, "dropout": 0.0}
CNN = {"builder": "cnn", "kwargs": KWARGS}
DROPOUT = {"builder": "cnn", "kwargs": {**KWARGS, "dropout": 0.3}}
LARGE = {"builder": "mlp", "kwargs": {"in_features": 12, "hidden": [512, 512], "num_classes": 2, "dropout": 0.0}}
SETTINGS = {"steps": 20, "augment": "light"}
# Name: what is trained, by one process and by two workers, in full precision and without dropout.
SAME_CURVES = {
    "batch_norm": {**CNN, "recipe": SETTINGS},
    "uneven_parts": {**CNN, "recipe": {**SETTINGS, "batch_size": 15}},
    "in_parts": {**CNN, "recipe": {**SETTINGS, "accumulate": 3}},
    "mixed_rows": {**CNN, "recipe": {**SETTINGS, "mixup": 0.4, "label_smoothing": 0.1, "l1": 1e-4, "l2": 1e-3}},
    "averaged": {**CNN, "recipe": {**SETTINGS, "ema": 0.9}},
    "buckets": {**LARGE, "recipe": {"steps": 20, "optimizer": "sgd"}},
    "sharded": {**CNN, "recipe": SETTINGS, "is_sharded": True},
    "sharded_muon": {**CNN, "recipe": {**SETTINGS, "optimizer": "muon"}, "is_sharded": True},
    "sharded_long_evaluation": {**CNN, "recipe": {"steps": 4}, "is_sharded": True, "validation": 1031},
}
DETERMINISTIC = {
    "dropout": {**DROPOUT, "recipe": {**SETTINGS, "shards": 4}},
    "uneven_parts": {**DROPOUT, "recipe": {**SETTINGS, "shards": 4, "batch_size": 15, "accumulate": 2}},
    "long_evaluation": {**DROPOUT, "recipe": {"steps": 4, "shards": 4}, "validation": 1600},
}
KILLED = {
    "by default": {**DROPOUT, "recipe": SETTINGS},
    "deterministic": {**DROPOUT, "recipe": {**SETTINGS, "shards": 4}},
    "averaged": {**DROPOUT, "recipe": {**SETTINGS, "ema": 0.9}},
    "sharded": {**DROPOUT, "recipe": SETTINGS, "is_sharded": True},
}
TIMED = {"timed": {**CNN, "recipe": {"steps": None, "epochs_at_most": 2}, "seconds": 1e6}}


def alone(case):
    return describe(loop.train(*arguments_of(case)))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two workers make of all cases."""
    return train_by(2, tmp_path_factory.mktemp("two"), SAME_CURVES | TIMED)


@pytest.mark.parametrize("name", SAME_CURVES)
def test_the_loss_curve_is_that_of_one_process(two, name):
    expected, found = alone(SAME_CURVES[name])["history"], two[name]["history"]
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for loss in ("train_loss", "validation_loss"):
        np.testing.assert_allclose([row[loss] for row in found], [row[loss] for row in expected], rtol=0, atol=1e-5)


def test_weights_and_running_statistics_are_those_of_one_process(two):
    expected, found = alone(SAME_CURVES["uneven_parts"])["weights"], two["uneven_parts"]["weights"]
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-4, err_msg=name)


def test_a_timed_run_tries_modes_and_uses_the_passes_it_may(two):
    assert two["timed"]["history"][-1]["step"] == 20


@pytest.mark.slow
def test_the_last_worker_may_have_fewer_rows(tmp_path):
    case = SAME_CURVES["batch_norm"]
    (found,) = train_by(3, tmp_path, {"three": case}).values()
    losses = [[row["validation_loss"] for row in history] for history in (found["history"], alone(case)["history"])]
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3, 4])
def test_deterministic_weights_do_not_depend_on_the_number_of_workers(tmp_path, workers):
    found = train_by(workers, tmp_path, DETERMINISTIC)
    for name, case in DETERMINISTIC.items():
        expected = alone(case)
        assert found[name]["sha256"] == expected["sha256"], name
        assert found[name]["history"][-1]["validation_loss"] == expected["history"][-1]["validation_loss"], name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What two workers make of the cases when none is killed."""
    return train_by(2, tmp_path_factory.mktemp("whole"), KILLED)


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_a_killed_run_resumes_to_the_same_weights(whole, tmp_path, name):
    case = KILLED[name]
    with pytest.raises(AssertionError, match="another worker does not answer"):
        train_by(2, tmp_path, {"run": {**case, "die_at": 13}})
    resumed = train_by(2, tmp_path, {"run": case})["run"]
    (step,) = resumed["resumed"]
    assert 0 < step < 13
    assert resumed["sha256"] == whole[name]["sha256"]


@pytest.mark.slow
def test_a_deterministic_run_goes_on_with_another_number_of_workers(tmp_path):
    case = DETERMINISTIC["dropout"]
    with pytest.raises(AssertionError, match="another worker does not answer"):
        train_by(2, tmp_path, {"run": {**case, "die_at": 13}})
    trained = loop.train(*arguments_of(case), checkpoints=tmp_path / "run")
    assert describe(trained)["sha256"] == alone(case)["sha256"]


@pytest.mark.slow
def test_a_lost_worker_ends_the_others_within_seconds(tmp_path):
    (tmp_path / "cases.json").write_text(json.dumps({"run": {**CNN, "recipe": {"steps": 10**6}}}))
    processes = start_workers(2, Path(__file__).with_name("program.py"), tmp_path)
    _wait_for(tmp_path / "step")
    processes[1].kill()
    started = time.monotonic()
    errors = ends_of(processes)
    assert time.monotonic() - started < 10
    assert "WorkerLost: another worker does not answer" in errors[0]


def _wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_importing_the_package_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import trimtab.training.distributed, trimtab.launching"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
