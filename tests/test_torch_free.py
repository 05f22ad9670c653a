"""The main job where torch is not installed: data to delivered model, trained by the NumPy engine.

The environment holds what ``trimtab[run]`` requires and nothing else, so these tests also show that the extra names
everything that a run needs.
"""

import json
import subprocess
import time
import tomllib
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def distributions() -> set[str]:
    """Return trimtab, what its extra ``run`` requires, what that requires, and so on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [*project["dependencies"], *project["optional-dependencies"]["run"]]
    waiting += project["optional-dependencies"]["serve"]  # which `run` includes
    found = {"trimtab"}
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            waiting += metadata.requires(name) or []
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return the interpreter of a fresh environment, linked together from the packages of this one."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True, with_pip=False)
    (site,) = folder.glob("lib/*/site-packages")
    for distribution in map(metadata.distribution, distributions()):
        for entry in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            (site / entry).symlink_to(distribution.locate_file(entry))
    return folder / "bin" / "python"


@pytest.fixture
def bare(python, tmp_path):
    """Run the command line there: ``bare("run", "digits")`` returns the finished process."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "trimtab", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=110, check=False)

    return run


def test_torch_cannot_be_imported_there(python):
    result = subprocess.run([str(python), "-c", "import torch"], capture_output=True, text=True, check=False)
    assert result.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'torch'"


@pytest.mark.slow
def test_numpy_learns_the_digits_within_a_minute(bare):
    started = time.monotonic()
    result = bare("run", "digits", "--engine", "numpy", "--minutes", 0.9, "--json")
    seconds = time.monotonic() - started
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["metrics"]["accuracy"]["value"] >= 0.97
    assert seconds <= 60


def test_numpy_is_chosen_where_there_is_no_torch_and_the_user_is_told(bare, tmp_path):
    result = bare("run", "digits", "--steps", 30, "--minutes", 1, "--out", tmp_path / "digits")
    assert result.returncode == 0, result.stderr
    assert "trained by the NumPy engine: torch is not installed" in result.stdout
    plan = tomllib.loads((tmp_path / "digits" / "plan.toml").read_text())
    assert plan["training"]["engine"] == "numpy"
    assert (tmp_path / "digits" / "bundle" / "model.onnx").exists()
    assert (tmp_path / "digits" / "report.html").exists()


def test_asking_for_torch_there_is_one_sentence(bare, tmp_path):
    result = bare("run", "digits", "--engine", "torch", "--out", tmp_path / "digits")
    assert result.returncode == 2
    assert result.stderr == (
        "trimtab: engine is 'torch', which is not installed; expected an engine that is; "
        "pip install 'trimtab[train]', or change it to numpy or leave it out.\n"
    )
    assert not (tmp_path / "digits").exists()


@pytest.mark.slow
def test_the_check_runs_a_whole_job_there(bare):
    result = bare("check")
    assert result.returncode == 0, result.stderr
    assert "engines    numpy (torch is not installed; pip install 'trimtab[train]' adds it)\n" in result.stdout
    assert "smoke run  works: wine trained, exported, evaluated (" in result.stdout
