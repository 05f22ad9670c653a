"""One self-contained HTML page about a run, for somebody who was not there.

What is shown where. How things are said is in `trimtab.report.wording`; nothing is measured or computed here beyond
what a drawing needs. The page loads nothing and runs nothing, and says so to the browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from trimtab.report import wording
from trimtab.report.files import RunFiles, read_run
from trimtab.storage import write_text

_MOST_CLASSES = 30
_MOST_CELLS = 14  # of a row that was predicted wrong
_PLOTS = {
    "confusion": (
        "What was taken for what",
        "A row is a true class, a column what the model said. Right answers are blue, on the diagonal; mistakes are "
        "orange. The stronger the color, the larger the share of the row; mistakes are drawn stronger than their "
        "share, so that rare ones can be seen.",
    ),
    "classes": (
        "How well each class is known",
        "The weakest first. F1 is high only when most of a class is found and most of what is named so is right. The "
        "line is where the true value lies, 95 times in 100: the fewer examples of a class, the longer.",
    ),
    "roc": (
        "Finding more against crying wolf",
        "Each curve asks one class against the rest. The closer it comes to the upper left corner, the more of the "
        "class is found before others are mistaken for it. Guessing gives the dashed line. Shaded: where the true "
        "curve of the worst class lies at each place, 95 times in 100.",
    ),
    "precision_recall": (
        "Finding more against being wrong more often",
        "The more of a class is to be found (to the right), the more of what is named so is wrong (downward). This "
        "tells more than the curves of hits and false alarms where a class is rare. Guessing gives the dashed line, "
        "which is the class's share of all examples.",
    ),
    "reliability": (
        "Whether its probabilities can be taken at their word",
        "On the dashed line, what is said with 80% is right 80 times in 100. Below it the model is too sure of "
        "itself, above it not sure enough. The strip shows how often each probability was given; the dot is all "
        "examples together.",
    ),
    "scores": (
        "How sure it was",
        "How probabilities are spread, each group of examples for itself, however small. The less the two overlap, the "
        "better a probability tells one group from the other.",
    ),
    "learning_curves": (
        "How it learned",
        "One point for each time it was measured on the validation rows. A validation loss that rises again while the "
        "training loss falls means learning by heart.",
    ),
    "tradeoff": (
        "Size, time and accuracy",
        "Each point is a form of the model that was tried, with the 95% interval of its accuracy. In blue, and named, "
        "is what no other beats in size, time and accuracy at once; in orange is what is delivered; dashed lines are "
        "limits.",
    ),
}


def write_report(run_directory: Path) -> Path:
    """Write ``report.html`` into the directory of a run and return its path.

    Parameters
    ----------
    run_directory
        Holds run.json, bundle/, evaluation/, compression/table.json, ledger.jsonl; the page says what is missing.

    Raises
    ------
    InputError
        If the directory is not that of a run.
    IntegrityError
        If one of its files cannot be read.
    """
    found = read_run(run_directory)
    path = run_directory / "report.html"
    write_text(path, render(found, name=run_directory.resolve().name))
    return path


def render(found: RunFiles, *, name: str) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    found
        The files of the run.
    name
        Used when the run does not say its own.
    """
    page: str = environment().get_template("report.html").render(_view(found, name))
    return page


def environment() -> Any:
    """Return the templates of pages, with the filters that say things in plain words."""
    import jinja2

    templates = files("trimtab.report") / "templates"
    found = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: (templates / file).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(number=wording.number, percent=wording.percent, points=wording.points, plain=wording.plain)
    return found


def _view(found: RunFiles, name: str) -> dict[str, Any]:
    metrics = found.metrics.get("metrics") or found.manifest.get("metrics", {})
    limits = found.manifest.get("verdict", {}).get("limits", [])
    return {
        "name": found.run.get("name", name),
        "run": found.run,
        "manifest": found.manifest,
        "headline": wording.headline(found.manifest, metrics),
        "verdict_word": found.manifest.get("verdict", {}).get("verdict"),
        "verdict": wording.verdict(limits) if limits else "The budget was not compared with any cost.",
        "warnings": list(dict.fromkeys(event.get("text", "") for event in found.events_named("warning"))),
        "limits": [_limit(line) for line in limits],
        "accuracy": wording.accuracy_sentence(metrics, found.metrics.get("rows")),
        "chance": wording.chance_sentence(found.metrics.get("support", {})),
        "opened": wording.opened_sentence(found.events_named("test_opened")),
        "figures": [_figure(key, metrics[key]) for key in wording.METRICS if key in metrics],
        "plots": _plots(found),
        "mistakes": [_mistake(mistake, found.pictures) for mistake in found.mistakes],
        "classes": _classes(found.metrics),
        "classes_left_out": max(0, len(found.metrics.get("per_class", {})) - _MOST_CLASSES),
        "candidates": found.candidates,
        "parity": wording.parity_sentence(found.parity),
        "remedies": _remedies(found),
        "decisions": _decisions(found),
        "corrections": _corrections(found),
        "first_batch": _png(found.first_batch),
    }


def _decisions(found: RunFiles) -> list[dict[str, Any]]:
    """Return each decision once, as made by the last attempt; that between the candidates has its own table."""
    last = {event.get("name"): event for event in found.events_named("decision")}
    return [event for name, event in last.items() if name != "variant"]


def _remedies(found: RunFiles) -> dict[str, Any]:
    """Return what was tried to do better, or why nothing was; empty where a run was not to try."""
    tried, skipped = found.events_named("remedies"), found.events_named("remedies_skipped")
    if tried:
        event = tried[-1]
        left = f" There was no time for {', '.join(event['untried'])}." if event["untried"] else ""
        return {"text": f"{event['reasons']['remedies']}.{left}", "tried": event["tried"], "chosen": event["accepted"]}
    return {"text": f"Remedies: none tried, since {skipped[-1]['reason']}."} if skipped else {}


def _corrections(found: RunFiles) -> list[dict[str, Any]]:
    """Return what training followed in the end: attempts that were cut off may have planned otherwise."""
    trained = found.events_named("trained")
    events = trained[-1].get("corrections", []) if trained else found.events_named("schedule_corrected")
    return [event for event in events if event.get("step", 0) > 0]


def _limit(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of the budget table; the bar ends at what is larger, limit or measurement, plus some air."""
    label, unit, what = wording.LIMITS.get(line["name"], (line["name"], "", ""))
    limit, measured = line["limit"], line["measured"]
    largest = 1.12 * max(measured, limit or 0.0) or 1.0
    return {
        "label": label,
        "unit": unit,
        "what": what,
        "measured": wording.number(measured),
        "limit": None if limit is None else f"{limit:g}",
        "is_met": line["met"],
        "excess": "" if line["met"] else wording.excess(line),
        "share": f"{measured / limit:.0%}" if limit else "",
        "fill": round(100 * measured / largest, 1),
        "mark": None if limit is None else round(100 * limit / largest, 1),
    }


def _figure(name: str, estimate: Mapping[str, Any]) -> dict[str, Any]:
    label, meaning = wording.METRICS[name]
    has_bar = name not in wording.NUMBERS and estimate.get("value") is not None and estimate.get("low") is not None
    return {
        "label": label,
        "meaning": meaning,
        "value": wording.figure(name, estimate.get("value")),
        "interval": wording.interval(name, estimate),
        "method": estimate.get("method", ""),
        "bar": {key: round(100 * estimate[key], 2) for key in ("low", "high", "value")} if has_bar else None,
    }


def _plots(found: RunFiles) -> list[dict[str, Any]]:
    from trimtab.report.drawings import inline_svg, is_wide

    return [
        {
            "title": title,
            "caption": caption,
            "svg": inline_svg(text, name=name, title=title),
            "is_wide": is_wide(text),
        }
        for name, (title, caption) in _PLOTS.items()
        if (text := found.plots.get(name)) is not None
    ]


def _mistake(mistake: Mapping[str, Any], pictures: Mapping[str, bytes]) -> dict[str, Any]:
    row = dict(mistake.get("row") or {})
    shown = {key: "missing" if value in (None, "") else value for key, value in list(row.items())[:_MOST_CELLS]}
    return {
        "name": mistake["name"],
        "true": mistake["true"],
        "predicted": mistake["predicted"],
        "probability": mistake["probability"],
        "picture": _png(pictures.get(str(mistake.get("image")))),
        "cells": shown,
        "cells_left_out": len(row) - len(shown),
    }


def _classes(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the classes with their figures, the weakest first; one whose F1 is undefined is the weakest."""
    per_class = metrics.get("per_class", {})
    weakest = sorted(per_class, key=lambda name: (per_class[name]["f1"]["value"] or 0.0, name))[:_MOST_CLASSES]
    return [
        {
            "name": name,
            "rows": metrics["support"].get(name, 0),
            "figures": [
                {
                    "value": wording.figure(metric, per_class[name][metric]["value"]),
                    "interval": wording.interval(metric, per_class[name][metric]),
                    "method": per_class[name][metric]["method"],
                }
                for metric in ("recall", "precision", "f1", "roc_auc")
            ],
        }
        for name in weakest
    ]


def _png(content: bytes | None) -> str | None:
    from trimtab.report.drawings import png_data

    return None if content is None else png_data(content)
