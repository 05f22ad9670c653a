"""One self-contained HTML page about a cross-validation. Nothing is measured here; the page loads and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from trimtab.errors import IntegrityError
from trimtab.report import wording
from trimtab.report.drawings import inline_svg
from trimtab.storage import write_text

_KINDS = {
    "stratified": "each fold has the classes in the same shares",
    "grouped": "groups stay whole",
    "stratified-grouped": "groups stay whole, and each fold has the classes in about the same shares",
    "time": "each fold is tested on what comes after the rows it was trained on",
    "leave-one-group-out": "each fold is tested on one group and trained on all others",
}

_METRICS = {"balanced_accuracy": ("Balanced accuracy", "how much of a class is found; every class counts the same")}


def write_folds_report(directory: Path) -> Path:
    """Write ``report.html`` into the directory of a cross-validation and return its path.

    Parameters
    ----------
    directory
        Holds evaluation/crossval.json and evaluation/fold_curves.svg.

    Raises
    ------
    IntegrityError
        If the former is missing or cannot be read.
    """
    import jinja2

    templates = files("trimtab.report") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: (templates / file).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    path = directory / "report.html"
    write_text(path, environment.get_template("folds.html").render(_view(directory)))
    return path


def _view(directory: Path) -> dict[str, Any]:
    found = _read(directory / "evaluation" / "crossval.json")
    curves = directory / "evaluation" / "fold_curves.svg"
    accuracy = found["metrics"]["accuracy"]
    return {
        "run": found["run"],
        "headline": f"{wording.percent(accuracy['value'])} of unseen examples named right, over {_count(found)}",
        "kind": _KINDS.get(found["kind"], ""),
        "figures": [_figure(name, figure) for name, figure in found["metrics"].items()],
        "folds": _folds(found),
        "curves": inline_svg(curves.read_text(encoding="utf-8"), name="curves", title="learning curves of the folds"),
    }


def _count(found: Mapping[str, Any]) -> str:
    times = f" in {found['repeats']} repeats" if found["repeats"] > 1 else ""
    return f"{len(found['folds'])} folds{times}"


def _figure(name: str, figure: Mapping[str, Any]) -> dict[str, Any]:
    label, meaning = wording.METRICS.get(name) or _METRICS[name]
    values = [value for value in figure["per_fold"] if value is not None]
    ends = [min(values), max(values)] if values else []
    return {
        "label": label,
        "meaning": meaning,
        "value": wording.figure(name, figure["value"]),
        "interval": wording.interval(name, figure) or figure["method"],
        "method": figure["method"],
        "spread": " to ".join(wording.figure(name, value) for value in ends),
    }


def _folds(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each fold with its rows, steps and two of its figures."""
    shown = ("accuracy", "log_loss")
    values = {name: found["metrics"][name]["per_fold"] for name in shown}
    return [
        {**fold, **{name: wording.figure(name, values[name][index]) for name in shown}}
        for index, fold in enumerate(found["folds"])
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise IntegrityError(
            f"{path} is missing or not what was written", "a JSON object", "cross-validate anew"
        ) from error
