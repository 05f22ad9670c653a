"""One self-contained page about a diagnosis: what was found, what was tried, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from trimtab.findings import Finding
from trimtab.report.drawings import inline_svg
from trimtab.storage import write_text

_TITLES = {
    "curves": ("Training rows against held-out rows", "A held-out loss that rises while the training loss falls means "
               "learning by heart."),
    "trials": ("What was tried", "Each line is a remedy with the interval of what it gained on held-out rows, all "
               "intervals together at 95%. Only what lies to the right of zero, interval and all, has helped."),
}  # fmt: skip


def write_diagnosis_page(
    path: Path, *, name: str, findings: Sequence[Finding], commands: Mapping[str, str], notes: Sequence[str]
) -> Path:
    """Write the page and return its path; plots beside it, ``curves.svg`` and ``trials.svg``, become part of it.

    Parameters
    ----------
    path
        Of the page.
    name
        Of the run.
    findings
        In the order to be shown.
    commands
        Code of a finding to what to type next.
    notes
        What a reader should know about the trials, a sentence each.
    """
    import jinja2

    templates = files("trimtab.report") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: (templates / file).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = sum(finding.state == "found" for finding in findings)
    view: dict[str, Any] = {
        "name": name,
        "headline": "Nothing was found" if not found else f"{found} {'cause' if found == 1 else 'causes'} found",
        "findings": findings,
        "trials": [(finding.code, trial) for finding in findings for trial in finding.trials],
        "commands": commands,
        "notes": notes,
        "plots": [_plot(path.parent, plot) for plot in _TITLES if (path.parent / f"{plot}.svg").exists()],
    }
    write_text(path, environment.get_template("diagnosis.html").render(view))
    return path


def _plot(directory: Path, name: str) -> dict[str, Any]:
    title, caption = _TITLES[name]
    text = (directory / f"{name}.svg").read_text(encoding="utf-8")
    return {"title": title, "caption": caption, "svg": inline_svg(text, name=name, title=title)}
