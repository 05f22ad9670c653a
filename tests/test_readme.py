"""The README's code runs, its commands parse, and the files it names are there."""

import re
import shlex
from pathlib import Path

import pytest

from trimtab.cli import _parser

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


COMMANDS = sorted(
    {
        line.split("#")[0].strip().rstrip("&").strip()
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("trimtab ")
    }
)


def test_there_is_something_to_test():
    assert len(COMMANDS) >= 9
    assert len(blocks("python")) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_trimtab_understands(command):
    options, unknown = _parser().parse_known_args(shlex.split(command)[1:])
    assert not unknown
    assert callable(options.act)


def test_the_python_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[0], "README.md", "exec"), {})
    output = capsys.readouterr().out
    assert output.startswith("met Estimate(value=0.9")
    assert output.rstrip().endswith("(2, 2)")
    assert (tmp_path / "runs" / "breast_cancer" / "report.html").exists()


def test_the_code_needs_no_more_than_fifteen_lines():
    assert len([line for line in blocks("python")[0].splitlines() if line]) <= 15


def test_every_file_named_in_the_trees_exists(digits_run):
    run_tree, source_tree = blocks("")
    for name in re.findall(r"[├└]── ([\w./]+)", run_tree):
        assert (digits_run.directory / name).exists(), name
    names = re.findall(r"(?:[├└]── |\s)((?:\w+/)|(?:\w+\.py))(?=\s)", source_tree)
    assert len(names) > 15
    for name in names:
        assert (ROOT / "src" / "trimtab" / name).exists(), name


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_linked_file_exists():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_result_table_holds_the_figures_that_the_benchmark_wrote():
    import json

    results = json.loads((ROOT / "benchmarks" / "results" / "main_job.json").read_text())
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "kB" in line]
    assert len(rows) == len(results["jobs"])
    for row, job in zip(rows, results["jobs"], strict=True):
        assert f"{job['accuracy']['median']:.3f} ({job['accuracy']['low']:.3f} to {job['accuracy']['high']:.3f})" in row
        assert f"{1000 * job['megabytes']['median']:.0f} kB" in row
        assert f"{job['milliseconds_p95']['median']:.2f} ms" in row
        assert f"{job['wall_seconds']['median']:.0f} s" in row
