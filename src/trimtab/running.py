"""``trimtab run``, ``trimtab train`` and ``trimtab plan``: what they do and what they print."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from shlex import quote
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trimtab.pipeline import Run

_SHOWN = 15  # lines of a range test


def run_verb(options: argparse.Namespace, settings: Mapping[str, Any]) -> int:
    """Carry out a run, print what came of it, and return the exit code: 3 when a limit was missed."""
    from trimtab.pipeline import run

    result = run(options.data, **_asked(options), **settings)
    _print_result(result)
    if options.json:
        print(json.dumps(result.to_dict()))
    return 0 if result.verdict.is_met else 3


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `trimtab run` and `trimtab train` hand on besides the data and the plan's settings."""
    from trimtab.console import Console

    names = ("out", "started", "command", "resume", "counted_until")
    return {"console": Console(), **{name: getattr(options, name) for name in names}}


def _print_result(result: Run) -> None:
    from trimtab.console import describe_excess, describe_size, verdict_table

    directory = result.directory
    print(f"\n{result.evaluation.to_table()}\n\n{verdict_table(result.verdict)}\n")
    if not result.verdict.is_met:
        parts = [
            f"{line.name} {line.measured:.4g} instead of {line.limit:.4g} ({describe_excess(line)})"
            for line in result.verdict.excesses
        ]
        print(f"The budget was MISSED: {'; '.join(parts)}. The best model found is delivered and marked so.\n")
    shown = quote(str(directory))
    print(f"report     {directory / 'report.html'}")
    print(f"model      {directory / 'bundle'} ({describe_size(result.cost.megabytes)})")
    print(f"repeat     trimtab run {quote(str(directory / 'plan.toml'))}")
    print(f"next       trimtab serve {shown}    or    trimtab predict {shown} {_example_input(result)}")


def _example_input(result: Run) -> str:
    """Return something that exists to predict for, if there is something."""
    mistake = result.directory / "evaluation" / "mistakes" / "00.png"
    if mistake.exists():
        return quote(str(mistake))
    return "PICTURE.jpg" if result.plan.image_size else "ROWS.csv"


def train_verb(options: argparse.Namespace, settings: Mapping[str, Any]) -> int:
    """Train, and print where the network is and how to go on."""
    from trimtab.pipeline import train

    result = train(options.data, **_asked(options), **settings)
    history = result.directory / "history.csv"
    print("\non the validation rows, which chose the weights, so a little too good; the test rows are still sealed")
    print(f"{result.validation.to_table()}\n")
    print(f"model      {result.directory / 'model'}")
    print(f"history    {history} and {result.curves}")
    print(f"next       trimtab run {quote(str(result.directory / 'plan.toml'))}    tests, compresses and delivers it")
    if options.json:
        summary = {"run": str(result.directory), "validation": result.validation.to_dict()["metrics"]}
        print(json.dumps(summary))
    return 0


def range_test_verb(options: argparse.Namespace, settings: Mapping[str, Any]) -> int:
    """Sweep over learning rates, and print the losses and the rate that is suggested."""
    from trimtab.console import Console
    from trimtab.pipeline import range_test

    found, directory = range_test(options.data, out=options.out, console=Console(), **settings)
    shown = range(0, len(found.rates), max(1, len(found.rates) // _SHOWN))
    print("\nlearning rate   training loss, running mean")
    for index in shown:
        print(f"{found.rates[index]:>13.2e}   {found.losses[index]:.4f}")
    end = "the loss rose to several times its lowest value there" if found.has_diverged else "the highest rate tried"
    print(f"{found.rates[-1]:>13.2e}   {found.losses[-1]:.4f}   ({end})")
    print(f"\nwritten    range_test.csv and range_test.svg in {directory}")
    print(f"suggested  --learning-rate {found.suggestion:.2g}    (a start for a search, not its end)")
    if options.json:
        print(json.dumps({"suggestion": found.suggestion, "rates": found.rates, "losses": found.losses}))
    return 0


def plan_verb(options: argparse.Namespace, settings: Mapping[str, Any]) -> int:
    """Print what was found in the data and the plan that a run would carry out."""
    from trimtab.pipeline import prepare
    from trimtab.plan import plan_text
    from trimtab.request import plan_to_resolve

    source, facts, plan, reasons = prepare(plan_to_resolve(options.data, settings))
    counts = sorted(zip(source.class_counts, source.class_names, strict=True), reverse=True)
    shown = ", ".join(f"{name} {count:,}" for count, name in counts[:10])
    more = f", and {len(counts) - 10} more" if len(counts) > 10 else ""
    print(f"# found: {facts.rows:,} {'pictures' if facts.kind == 'image' else 'rows'}, {facts.classes} classes")
    print(f"# rows by class: {shown}{more}")
    if source.median_size:
        height, width = source.median_size
        print(f"# pictures: median {width} x {height}, {'grey' if facts.channels == 1 else 'color'}")
    for warning in source.warnings:
        print(f"# note: {warning}")
    print(plan_text(plan, reasons), end="")
    return 0
