"""The files of a run directory that the page is made from, read once; what is missing is empty."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.errors import InputError, IntegrityError

PLOTS = ("confusion", "classes", "roc", "precision_recall", "reliability", "scores", "learning_curves")
_LARGEST_PICTURE = 2_000_000  # bytes; a page that is mailed stays small


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What was found.

    Attributes
    ----------
    run, manifest, metrics, parity
        Content of run.json, bundle/manifest.json, evaluation/metrics.json and bundle/parity.json; empty when there
        is no such file.
    mistakes, candidates
        Content of evaluation/mistakes.json and compression/table.json.
    events
        The lines of ledger.jsonl that are whole.
    plots
        Name -> SVG text, of those there are.
    pictures
        File name -> PNG content, of those that ``mistakes`` names.
    first_batch
        PNG content of data/first_batch.png.
    """

    run: dict[str, Any]
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    parity: dict[str, Any]
    mistakes: list[dict[str, Any]]
    candidates: list[dict[str, Any]]
    events: list[dict[str, Any]]
    plots: dict[str, str]
    pictures: dict[str, bytes]
    first_batch: bytes | None

    def events_named(self, name: str) -> list[dict[str, Any]]:
        """Return the events of this name, in order."""
        return [event for event in self.events if event.get("event") == name]


def read_run(directory: Path) -> RunFiles:
    """Return what the directory of a run holds.

    Raises
    ------
    InputError
        If there is no run: none of run.json, bundle/manifest.json, evaluation/metrics.json, ledger.jsonl.
    IntegrityError
        If a file there is cannot be read as what it should be; names it.
    """
    known = ("run.json", "bundle/manifest.json", "evaluation/metrics.json", "ledger.jsonl")
    if not any((directory / name).is_file() for name in known):
        raise InputError(
            f"{directory} holds none of {', '.join(known)}",
            "the directory of a run",
            "give a directory that `trimtab run` made, such as runs/digits",
        )
    evaluation = directory / "evaluation"
    mistakes = _read_json(evaluation / "mistakes.json", list)
    plots = {name: evaluation / f"{name}.svg" for name in PLOTS} | {"tradeoff": directory / "compression" / "table.svg"}
    named = {str(mistake["image"]) for mistake in mistakes if mistake.get("image")}
    pictures = {name: _picture(evaluation / "mistakes" / Path(name).name) for name in named}
    return RunFiles(
        run=_read_json(directory / "run.json", dict),
        manifest=_read_json(directory / "bundle" / "manifest.json", dict),
        metrics=_read_json(evaluation / "metrics.json", dict),
        parity=_read_json(directory / "bundle" / "parity.json", dict),
        mistakes=mistakes,
        candidates=_read_json(directory / "compression" / "table.json", list),
        events=_read_events(directory / "ledger.jsonl"),
        plots={name: path.read_text(encoding="utf-8") for name, path in plots.items() if path.is_file()},
        pictures={name: content for name, content in pictures.items() if content is not None},
        first_batch=_picture(directory / "data" / "first_batch.png"),
    )


def _read_json(path: Path, kind: type[Any]) -> Any:
    if not path.is_file():
        return kind()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _unreadable(path, "JSON") from error
    if not isinstance(content, kind):
        raise _unreadable(path, f"a JSON {'object' if kind is dict else 'array'}")
    return content


def _read_events(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]  # a run that is killed may leave half a line
    try:
        return [dict(json.loads(line)) for line in whole if line.strip()]
    except (ValueError, TypeError) as error:
        raise _unreadable(path, "one JSON object per line") from error


def _picture(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() and path.stat().st_size <= _LARGEST_PICTURE else None


def _unreadable(path: Path, expected: str) -> IntegrityError:
    return IntegrityError(f"{path} is not what was written", expected, "restore it from a copy or run again")
