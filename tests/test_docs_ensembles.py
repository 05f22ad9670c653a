"""The page about ensembles: its commands parse, and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from trimtab.cli import _parser

PAGE = Path(__file__).parent.parent / "docs" / "ensembles.md"
TEXT = PAGE.read_text()
COMMANDS = [line.split("#")[0].strip() for line in TEXT.splitlines() if line.startswith("trimtab ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_are_ones_that_the_parser_takes(command):
    options = _parser().parse_args(shlex.split(command)[1:])
    assert options.runs[0] == "runs/photos-cv"


def test_every_option_is_explained():
    parser = next(iter(_parser()._subparsers._group_actions)).choices["ensemble"]
    options = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}
    words = set(re.findall(r"[\w-]+", TEXT)) - {"out", "json"}  # an English word, and how files end
    explained = {name for name in options if {name, name.removeprefix("--").replace("-", "_")} & words}
    assert options - explained == {"--help", "--json", "--out"}


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(links) == 3
    assert all((PAGE.parent / link).exists() for link in links)
