"""docs/findings.md: a section for each code where `Finding.page` points, commands that parse, links that lead on."""

import re
import shlex
from pathlib import Path

import pytest

from trimtab.cli import _parser
from trimtab.findings import CODES, Finding

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "findings.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))


def test_there_is_a_section_for_each_code_and_no_other():
    assert set(SECTIONS) == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_section_says_how_it_is_checked_its_limits_and_what_to_do(code):
    for title in ("**How.**", "**Limits.**", "**What to do.**"):
        assert title in SECTIONS[code]


@pytest.mark.parametrize("code", CODES)
def test_the_page_of_a_finding_is_its_section(code):
    anchor = Finding(code=code, state="not checked", summary="").page.removeprefix("docs/findings.md#")
    assert anchor == code.lower() or f'<a id="{anchor}"></a>\n\n## {code}\n' in TEXT


def test_commands_are_ones_that_trimtab_understands():
    commands = re.findall(r"^trimtab (.+?)(?:  #.*)?$", TEXT, re.MULTILINE)
    assert commands
    for command in commands:
        assert not _parser().parse_known_args(shlex.split(command, comments=True))[1]


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / link).exists(), link
