"""docs/from-scratch.md: its code runs and prints what it says, its links lead somewhere, no layer is left out."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from trimtab import numpy_nn
from trimtab.cli import _parser

PAGE = Path(__file__).parent.parent / "docs" / "from-scratch.md"
TEXT = PAGE.read_text()
# A snippet, and what it prints, which stands in a block of text right below it.
SNIPPET = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def prints():
    """Run all snippets in order in one namespace; what the page says that each prints, and what it printed."""
    namespace, found = {}, []
    for snippet in SNIPPET.finditer(TEXT):
        lines_before = TEXT[: snippet.start("code")].count("\n")
        code = compile("\n" * lines_before + snippet["code"], str(PAGE), "exec")  # an error then names the page's line
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        found.append((lines_before + 1, snippet["output"] or "", printed.getvalue()))
    return found


def test_the_snippets_run_and_print_what_the_page_says(prints):
    wrong = [(f"line {line}", said, printed) for line, said, printed in prints if said != printed]
    assert not wrong


def test_no_snippet_and_no_output_is_passed_over(prints):
    assert len(prints) == TEXT.count("```python") > 25
    assert sum(bool(said) for _, said, _ in prints) == TEXT.count("```text") > 10


def test_a_snippet_proves_something():
    for snippet in SNIPPET.finditer(TEXT):
        assert "assert" in snippet["code"] or snippet["output"] or "def " in snippet["code"], snippet["code"]


@pytest.mark.parametrize("name", sorted(numpy_nn.__all__))
def test_every_public_name_is_explained(name):
    prose = re.sub(r"^```.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    assert re.search(rf"(?:`|`nn\.|\*\*){name}\b", prose)


def test_every_link_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert len(links) > 20
    for link in links:
        assert link in anchors or (PAGE.parent / link).exists(), link


def test_every_command_is_one_that_trimtab_understands():
    commands = re.findall(r"^trimtab (.+)$", TEXT, re.MULTILINE)
    assert commands
    for command in commands:
        options, unknown = _parser().parse_known_args(shlex.split(command))
        assert not unknown
        assert callable(options.act)


def test_the_lines_are_short_enough_to_read():
    outside_tables = [line for line in TEXT.splitlines() if not line.startswith("|")]
    assert [line for line in outside_tables if len(line) > 120] == []
