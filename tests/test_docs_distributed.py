"""docs/distributed.md: its commands are understood, its links lead somewhere, its sums are right."""

import json
import re
import shlex
import statistics
from pathlib import Path

import pytest

from trimtab.cli import _parser

PAGE = Path(__file__).parent.parent / "docs" / "distributed.md"
TEXT = PAGE.read_text()
JOINED = re.sub(r"\\\n\s*", "", TEXT)
COMMANDS = re.findall(r"^trimtab ([^#\n]+)", JOINED, re.MULTILINE)
UNDER_TORCHRUN = re.findall(r"torchrun [^\n]*-m trimtab ([^\n]+)", JOINED)


@pytest.mark.parametrize("command", [*COMMANDS, *UNDER_TORCHRUN])
def test_every_command_is_one_that_trimtab_understands(command):
    options, unknown = _parser().parse_known_args(shlex.split(command))
    assert not unknown
    assert callable(options.act)


def test_no_command_was_passed_over():
    assert len(COMMANDS) == 3
    assert len(UNDER_TORCHRUN) == 2


def test_the_cluster_of_kubernetes_runs_the_same_command():
    words = re.search(r"command: \[(.*?)\]", TEXT, re.DOTALL)[1].replace("\n", " ").split(",")
    command = " ".join(word.strip() for word in words)
    torchrun, trimtab = command.split(" -m trimtab ")
    assert "--rdzv-endpoint=train-0.train:29500" in torchrun
    assert not _parser().parse_known_args(shlex.split(trimtab))[1]


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links == ["../benchmarks/results/distributed.json"]
    assert (PAGE.parent / links[0]).exists()


def test_the_measured_figures_are_those_of_the_benchmark():
    found = json.loads((PAGE.parent / "../benchmarks/results/distributed.json").read_text())
    kills, larger, small = found["kills"], found["steps"]["larger"], found["steps"]["small"]
    assert {kill["starts"] for kill in kills} == {1}
    assert f"All {len(kills)} killed workers" in TEXT
    assert f"within {max(kill['seconds'] for kill in kills):.1f} seconds" in TEXT
    alone, *shared = (
        statistics.median(larger["milliseconds"][way]) for way in ("one worker", "one piece", "buckets", "4 shards")
    )
    efficiencies = [round(50 * alone / each) for each in shared]
    assert f"shared at {min(efficiencies)} to {max(efficiencies)}% efficiency" in TEXT.replace("\n", " ")
    assert f"takes {statistics.median(small['milliseconds']['one worker']):.1f} ms alone" in TEXT.replace("\n", " ")


def test_the_times_follow_from_the_formula():
    """2 (W - 1) / W * 4 P bytes at 1 Gbit/s, and 2 (W - 1) hops of 0.1 ms."""
    for parameters, shown in ((465_000, (15, 26, 29)), (11_200_000, (360, 630, 710))):
        for workers, milliseconds in zip((2, 8, 64), shown, strict=True):
            seconds = 2 * (workers - 1) / workers * 4 * parameters / 125e6
            assert 1000 * seconds == pytest.approx(milliseconds, rel=0.02)
    assert [round(0.2 * (workers - 1), 1) for workers in (2, 8, 64)] == [0.2, 1.4, 12.6]


def test_the_lines_are_short_enough_to_read():
    assert [line for line in TEXT.splitlines() if len(line) > 120 and not line.startswith("|")] == []
