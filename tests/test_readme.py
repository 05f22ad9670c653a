"""The README's code runs, its commands parse, and the files it names are there."""

import json
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
    assert len(blocks("python")) == 4


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


def test_the_network_from_scratch_learns(capsys):
    exec(compile(blocks("python")[1], "README.md", "exec"), {})
    assert 0 < float(capsys.readouterr().out) < 0.5  # 2.3 at first


def test_the_evaluation_says_what_it_promises(capsys):
    exec(compile(blocks("python")[2], "README.md", "exec"), {})
    output = capsys.readouterr().out
    assert "accuracy                 0.8" in output
    assert output.splitlines()[-1].startswith("sharp is better by ")


def test_the_classifier_works_with_scikit_learn(capsys):
    exec(compile(blocks("python")[3], "README.md", "exec"), {})
    area, found = capsys.readouterr().out.splitlines()
    assert 0.95 < float(area) <= 1
    assert re.fullmatch(r"\{'hidden': \[.*\]\} \(2, 2\)", found)


@pytest.mark.parametrize("code", blocks("python"))
def test_the_code_needs_no_more_than_fifteen_lines(code):
    assert len([line for line in code.splitlines() if line]) <= 15


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
    headings = {f"#{title.lower().replace(' ', '-')}" for title in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    for link in links:
        assert link in headings if link.startswith("#") else (ROOT / link).exists(), link


def test_the_result_table_holds_the_figures_that_the_benchmark_wrote():
    results = json.loads((ROOT / "benchmarks" / "results" / "main_job.json").read_text())
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "kB" in line]
    assert len(rows) == len(results["jobs"])
    for row, job in zip(rows, results["jobs"], strict=True):
        assert f"{job['accuracy']['median']:.3f} ({job['accuracy']['low']:.3f} to {job['accuracy']['high']:.3f})" in row
        assert f"{1000 * job['megabytes']['median']:.0f} kB" in row
        assert f"{job['milliseconds_p95']['median']:.2f} ms" in row
        assert f"{job['wall_seconds']['median']:.0f} s" in row


def test_the_engine_table_holds_the_figures_that_the_benchmark_wrote():
    results = json.loads((ROOT / "benchmarks" / "results" / "numpy_engine.json").read_text())
    rows = [line for line in TEXT.splitlines() if re.search(r"thread.* ms \|", line)]
    expected = []
    for table in results["tables"]:
        times = table["milliseconds"]
        for bar in (bar for bar in table["bars"] if bar["side"] == "numpy"):
            ratio, digits = bar["ratio"], 1 if times["numpy"]["median"] < 10 else 0
            cells = [f"{times[side]['median']:.{digits}f} ms" for side in ("numpy", bar["against"])]
            expected.append([*cells, f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"])
    assert len(rows) == len(expected) == 8
    for row, cells in zip(rows, expected, strict=True):
        assert all(cell in row for cell in cells), row
    memory = results["memory"]
    (row,) = [line for line in TEXT.splitlines() if line.startswith("| peak memory")]
    assert f"{memory['numpy']['median']:.0f} MB" in row
    assert f"{memory['torch']['median']:.0f} MB" in row
    assert f"n = {results['tables'][0]['rounds']} " in TEXT
