"""`trimtab package --format c`: what it writes, what it finds out about it, and what it says."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.deployment.c_cases import make_artifact, make_feeds, needs_compiler

import trimtab
from trimtab.artifact import Artifact
from trimtab.cli import main
from trimtab.deployment import load
from trimtab.deployment.c import packaging
from trimtab.deployment.c.checking import DIFFERS, NOT_CHECKED, NOT_COMPILED, VERIFIED
from trimtab.deployment.server_check import golden_answer
from trimtab.errors import InputError

FILES = ["README.txt", "check.json", "main.c", "pets.c", "pets.h"]


@pytest.fixture
def bundle(oracle: SimpleNamespace, tmp_path: Path, image_artifact: Artifact) -> Path:
    made: Path = oracle.write_bundle(tmp_path / "run" / "bundle", image_artifact)
    golden = golden_answer(load(made))
    made = oracle.write_bundle(tmp_path / "run" / "bundle", image_artifact, golden=golden)
    return made


def with_compiler(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str | None) -> None:
    """Have the PATH lead to a compiler that is this shell script, or to none."""
    folder.mkdir()
    if script is not None:
        (folder / "cc").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@needs_compiler
def test_a_bundle_becomes_c_that_is_verified(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", str(bundle.parent), "--format", "c", "--json"]) == 0
    folder = tmp_path / "run" / "package" / "c"
    assert sorted(os.listdir(folder)) == FILES
    lines = capsys.readouterr().out.splitlines()
    assert f"delivered  {folder}" in lines
    said, report = json.loads(lines[-1]), json.loads((folder / "check.json").read_text())
    assert said == {"directory": str(folder), **report}
    assert report["verdict"] == VERIFIED
    assert report["examples"] == 73
    assert report["largest_difference"] < 1e-5
    assert report["label_flips"] == 0
    assert report["options"] == ["-O3", "-march=native"]
    assert re.search(r"^#define PETS_WEIGHTS_SHA256 \"[0-9a-f]{64}\"$", (folder / "pets.h").read_text(), re.M)


@needs_compiler
def test_a_table_and_an_int8_model_are_verified(
    oracle: SimpleNamespace, table_artifact: Artifact, tmp_path: Path
) -> None:
    table = oracle.write_bundle(tmp_path / "table", table_artifact)
    assert trimtab.package(table, format="c").check.verdict == VERIFIED
    assert sorted(os.listdir(tmp_path / "table-c")) == FILES
    trained, path = make_artifact("cnn"), tmp_path / "int8.onnx"
    int8 = oracle.make_int8(trained, make_feeds(trained, 100), path)
    found = trimtab.package(oracle.write_bundle(tmp_path / "int8", int8, model=path), format="c").check
    assert (found.verdict, found.tolerance) == (VERIFIED, 1e-4)


def test_the_same_bundle_gives_the_same_files(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_compiler(monkeypatch, tmp_path / "bin", None)
    for name in ("one", "other", "other"):
        trimtab.package(bundle, format="c", out=tmp_path / name)
    one, other = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "other"))
    assert one == other


def test_without_a_compiler_it_says_that_nothing_is_checked(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_compiler(monkeypatch, tmp_path / "bin", None)
    assert main(["package", str(bundle.parent), "--format", "c"]) == 0
    output = capsys.readouterr().out
    assert "check      not checked: no C compiler on the PATH\n" in output
    assert "delivered" not in output
    report = json.loads((tmp_path / "run" / "package" / "c" / "check.json").read_text())
    assert (report["verdict"], report["examples"], report["largest_difference"]) == (NOT_CHECKED, 0, None)


def test_c_that_does_not_compile_is_said_in_the_compilers_words(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = '[ "$1" = --version ] && echo "cc 1.0" && exit 0; echo "pets.c:1: it is odd" >&2; exit 1'
    with_compiler(monkeypatch, tmp_path / "bin", script)
    assert main(["package", str(bundle.parent), "--format", "c"]) == 1
    output = capsys.readouterr().out
    assert "check      failed to compile (cc 1.0)\n           pets.c:1: it is odd\n" in output
    assert json.loads((tmp_path / "run" / "package" / "c" / "check.json").read_text())["verdict"] == NOT_COMPILED


@needs_compiler
def test_c_that_answers_otherwise_is_not_delivered(
    bundle: Path, image_artifact: Artifact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = {key: 1.1 * array if array.ndim > 1 else array for key, array in image_artifact.arrays.items()}
    other = packaging.to_program(dataclasses.replace(image_artifact, arrays=arrays))
    monkeypatch.setattr(packaging, "to_program", lambda _: other)
    assert main(["package", str(bundle.parent), "--format", "c"]) == 3
    output = capsys.readouterr().out
    assert "check      compiled but answers otherwise: 73 examples differ by at most 0." in output
    assert "delivered" not in output


@needs_compiler
def test_a_golden_answer_that_is_not_given_is_said(
    oracle: SimpleNamespace, image_artifact: Artifact, tmp_path: Path
) -> None:
    made = oracle.write_bundle(tmp_path / "pets", image_artifact, golden=[0.1, 0.2, 0.7])
    found = trimtab.package(made, format="c").check
    assert found.verdict == DIFFERS
    assert found.message == "the answer to the bundle's example is not the golden one"


def test_a_folder_with_something_else_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    message = f"{tmp_path}/mine holds something else; expected an empty folder or an earlier package; choose another "
    with pytest.raises(InputError, match=f"^{re.escape(message)}--out\\.$"):
        trimtab.package(bundle, format="c", out=tmp_path / "mine")
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]


def test_an_unknown_format_and_a_missing_run_are_named(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no format 'C'; expected one of c; did you mean 'c'\? pick one\.$"):
        trimtab.package(bundle, format="C")
    with pytest.raises(InputError, match=r"nothing; expected a bundle"):
        trimtab.package(tmp_path / "nothing", format="c")


def test_a_model_that_has_no_form_in_c_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Artifact) -> Any:
        raise ValueError("layer 3 is SiLU(); expected one that has a kernel in C.")

    monkeypatch.setattr(packaging, "to_program", refuse)
    with pytest.raises(
        InputError, match=r"cannot become C \(layer 3 is SiLU\(\); expected one that has a kernel in C\)"
    ):
        trimtab.package(bundle, format="c")


@needs_compiler
def test_the_example_reads_what_a_picture_library_writes(bundle: Path, tmp_path: Path) -> None:
    """The README's one command, and its way to make a picture's bytes."""
    import subprocess

    from PIL import Image

    folder = trimtab.package(bundle, format="c").directory
    readme = (folder / "README.txt").read_text()
    command = re.search(r"^    (cc .*)$", readme, re.M)
    making = re.search(r"^    (Image\..*)$", readme, re.M)
    assert command is not None
    assert making is not None
    compiler = command[1].replace("cc ", f"{packaging.checking.find_compiler()} ", 1)
    subprocess.run(compiler, shell=True, cwd=folder, check=True, timeout=60)
    picture = np.random.default_rng(0).integers(0, 256, (40, 31, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    code = making[1].replace("picture.png", str(tmp_path / "picture.png"))
    done = subprocess.run([folder / "pets"], input=eval(code), capture_output=True, check=True, timeout=60)
    printed = [float(line.split()[0]) for line in done.stdout.decode().splitlines() if line]
    np.testing.assert_allclose(printed, load(bundle, engine="numpy").predict_proba(picture)[0], atol=1e-5)
