"""docs/compression.md: its figures are those that the benchmark wrote, and its commands parse."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from trimtab.cli import _parser

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "compression.md").read_text()
FOUND = json.loads((ROOT / "benchmarks" / "results" / "compression.json").read_text())
TABLES = {
    **{f"formats of the {name}": table for name, table in FOUND["formats"].items()},
    "pruning": FOUND["pruning"]["table"],
    "front": {name: row for name, row in FOUND["front"]["table"].items() if f"| {name} |" in TEXT},
}


def row_of(name, row):
    """Return the line of a table that a figure stands in."""
    lost = "" if "lost_points" not in row else "{lost_points:+.2f} ({lost_low:+.2f} to {lost_high:+.2f})".format(**row)
    cells = [name, f"{row['megabytes']:.3f}", f"{row['macs'] / 1e6:.1f}", f"{row['p50_ms']:.2f}"]
    cells += [f"{row['times_as_fast']:.2f}", f"{row['accuracy']:.4f}", lost]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("table", TABLES)
def test_every_figure_is_the_one_that_was_measured(table):
    assert len(TABLES[table]) >= 3
    for name, row in TABLES[table].items():
        assert row_of(name, row) in TEXT


def test_commands_are_ones_that_trimtab_understands():
    commands = re.findall(r"^trimtab (.+?)(?:  #.*)?$", TEXT, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        assert not _parser().parse_known_args(shlex.split(command, comments=True))[1]
