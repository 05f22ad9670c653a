"""One self-contained HTML page about an audit of data: what was found first, with pictures, then everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.findings import Finding, in_order
from trimtab.report.page import environment
from trimtab.storage import write_text

SHEETS = {
    "DUPLICATES": ("duplicates.png", "The first and the last of each set of copies, side by side."),
    "LABEL_NOISE": ("suspects.png", "What a quick model takes them for, and their label. They may well be right."),
}
_SHOWN_ROWS = 10


def write_audit_page(directory: Path, findings: Sequence[Finding], *, name: str, summary: str, command: str) -> Path:
    """Write ``audit.html`` into a directory and return its path; contact sheets that lie there are taken into it.

    Parameters
    ----------
    directory
        Of the audit.
    findings
        In any order.
    name, summary
        Of the data.
    command
        That repeats the audit.
    """
    ordered = in_order(findings)
    found = [one for one in ordered if one.state == "found"]
    page = (
        environment()
        .get_template("audit.html")
        .render(
            name=name,
            summary=summary,
            command=command,
            headline=headline(found),
            found=[_card(one, directory) for one in found],
            others=[one for one in ordered if one.state != "found"],
            suspects=_suspects(ordered, directory),
        )
    )
    path = directory / "audit.html"
    write_text(path, page)
    return path


def headline(found: Sequence[Finding]) -> str:
    """Return in a few words how much was found."""
    if not found:
        return "Nothing was found"
    critical = sum(one.severity == "critical" for one in found)
    start = "One finding" if len(found) == 1 else f"{len(found)} findings"
    return f"{start}, {critical} critical" if critical else f"{start}, none critical"


def _card(finding: Finding, directory: Path) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "summary": finding.summary,
        "remedy": finding.remedy,
        "method": finding.method,
        "page": finding.page,
        "columns": finding.evidence.get("columns", ()),
        "rows": _rows(finding.evidence),
        **_sheet(finding.code, directory),
    }


def _suspects(findings: Sequence[Finding], directory: Path) -> dict[str, Any] | None:
    """Return suspect labels where they are worth a look although no finding."""
    for one in findings:
        if one.code == "LABEL_NOISE" and one.state != "found" and one.evidence.get("suspects_shown"):
            return {"summary": one.summary, "rows": _rows(one.evidence), **_sheet(one.code, directory)}
    return None


def _sheet(code: str, directory: Path) -> dict[str, Any]:
    from trimtab.report.drawings import png_data

    file, caption = SHEETS.get(code, ("", ""))
    if not file or not (directory / file).is_file():
        return {"sheet": None, "caption": ""}
    return {"sheet": png_data((directory / file).read_bytes()), "caption": caption}


def _rows(evidence: Mapping[str, Any]) -> list[str]:
    """Return the copies or suspects of an audit by name, a line each."""
    sets = [
        f"{', '.join(map(str, one['names'][:4]))}: labeled {', '.join(dict.fromkeys(one['labels']))} ({one['kind']})"
        for one in evidence.get("sets_shown", ())
    ]
    suspects = [
        f"{one['name']}: labeled {one['label']}, looks like {one['suggested']}"
        for one in evidence.get("suspects_shown", ())
    ]
    return (sets + suspects)[:_SHOWN_ROWS]
