"""docs/evaluation.md: its code runs, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "evaluation.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_there_are_snippets_and_they_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(SNIPPETS) == 2
    for snippet in SNIPPETS:
        exec(compile(snippet, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] at 95%, Wilson", printed[0])
    assert printed[1].startswith("a is better by ")
    assert printed[2] == "0.0102 [0.0026, 0.0178], p = 0.02"


def test_links_lead_to_files() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link
