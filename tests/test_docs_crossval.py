"""docs/cross-validation.md: its commands parse, every kind is explained, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from trimtab.cli import _parser
from trimtab.generalization.folds import KINDS

PAGE = Path(__file__).parent.parent / "docs" / "cross-validation.md"
TEXT = PAGE.read_text()
COMMANDS = re.findall(r"^trimtab [^#\n]+", TEXT, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_are_ones_that_the_parser_takes(command):
    assert callable(_parser().parse_args(shlex.split(command)[1:]).act)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_explained(kind):
    assert f"| `{kind}` |" in TEXT


def test_files_that_are_named_are_there():
    assert len(COMMANDS) == 5
    for name in re.findall(r"python (benchmarks/\S+\.py)", TEXT):
        assert (PAGE.parent.parent / name).exists()
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (PAGE.parent / link).exists()


def test_the_lines_are_short_enough_to_read():
    assert [line for line in TEXT.splitlines() if len(line) > 126] == []
