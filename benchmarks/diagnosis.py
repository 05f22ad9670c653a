"""Whether `trimtab diagnose` names the causes that were put in, and none where none was; skore's checks beside it.

    python benchmarks/diagnosis.py --environments DIR                # everything: about half an hour on one core
    python benchmarks/diagnosis.py --resume --only overfit clean     # some causes, what is not there yet
    python benchmarks/diagnosis.py --development --out trial.json    # other seeds, to choose cases and rules by

Each case is a data set with one thing made wrong, at one of three grades, or with nothing made wrong
(benchmarks/injected.py). A run is trained on it by the NumPy engine for a fixed number of steps, and diagnosed: the
cause is named when its code is found, and on clean data every code that is found is a false alarm. A difference of five
points is what the test rows are asked to show.

skore (benchmarks/peers/check_skore.py, in an environment of its own) gets the rows, the division and the network of the
same cases, where one of its checks speaks of the cause:

    SKD001 overfitting -> OVERFIT                     SKD004, SKD005 rare classes -> IMBALANCE
    SKD002 no better than a dummy -> UNDERFIT, NO_SIGNAL       SKD011 golden feature -> LEAKAGE
    SKD009 worse than boosted trees -> UNDERFIT

SKD002 counts for both, and SKD009, which is always shown, when it says "significantly worse".

Cases and rules were chosen by seeds from 0 on (`--development`); the seeds of a report, from 5000 on, were not looked
at before. Prints a table and writes it with every finding, command, versions and hardware to
benchmarks/results/diagnosis.json, after each case.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from injected import OF_DATA, SETTINGS, Case, cases, write
from peers.asking_skore import SKORE, ask_skore, hand_over

import trimtab
from trimtab.evaluation.intervals import wilson
from trimtab.findings import CODES
from trimtab.machine import describe_machine, package_versions
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "diagnosis.json"
FIRST_SEED = {"development": 0, "report": 5000}
POINTS = 5.0
FALSE_ALARMS_AT_MOST, NAMED_AT_LEAST = 0.05, 0.9
Cell = dict[str, Any]


def main() -> None:
    options = parse()
    result = start_result(options)
    for case, seed in chosen(options):
        key = {"cause": case.cause, "kind": case.kind, "grade": case.grade, "seed": seed}
        if not any(key.items() <= cell.items() for cell in result["cells"]):
            result["cells"].append(key | examine(case, seed, options))
            result["table"] = summarize(result["cells"])
            write_json(options.out, result)
    if options.environments is not None:
        result["versions"]["skore"] = ask_skore(result["cells"], options.environments, options.work)
        result["table"] = summarize(result["cells"])
        write_json(options.out, result)
    print(to_text(result["table"]))
    sys.exit(0 if report_bars(result["table"]) else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    work = Path(tempfile.gettempdir()) / "diagnosis-cases"
    parser.add_argument("--only", nargs="+", metavar="CAUSE", help=f"clean, {', '.join(CODES)}; small letters will do")
    parser.add_argument("--grades", nargs="+", type=int, metavar="N", help="0 is clean, 3 the strongest")
    parser.add_argument("--clean", type=int, default=10, help="clean data sets of each kind (default 10)")
    parser.add_argument("--strongest", type=int, default=10, help="data sets of each cause at grade 3 (default 10)")
    parser.add_argument("--weaker", type=int, default=3, help="data sets at grades 1 and 2 (default 3)")
    parser.add_argument("--minutes", type=float, default=10, help="of each diagnosis (default 10)")
    parser.add_argument("--development", action="store_true", help="seeds that cases and rules may be chosen by")
    parser.add_argument("--environments", type=Path, help="directory of peers' environments; without it no skore")
    parser.add_argument("--work", type=Path, default=work, help=f"what skore is given (default {work})")
    parser.add_argument("--resume", action="store_true", help="keep what the file of results already holds")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file for the results")
    options = parser.parse_args()
    options.purpose = "development" if options.development else "report"
    options.work = options.work / options.purpose
    options.work.mkdir(parents=True, exist_ok=True)
    return options


def start_result(options: argparse.Namespace) -> dict[str, Any]:
    """Return what is saved, with the cells of before when resuming."""
    shown = {str(options.environments): "DIR", str(options.work.parent): "DIR", str(options.out): "FILE"}
    command = " ".join(["python benchmarks/diagnosis.py", *(shown.get(word, word) for word in sys.argv[1:])])
    about = {"command": command, "machine": describe_machine(), "versions": package_versions()}
    if not (options.resume and options.out.exists()):
        return about | {"purpose": options.purpose, "commands": [command], "cells": [], "table": []}
    before = json.loads(options.out.read_text())
    if (before["purpose"], before["machine"]) != (options.purpose, about["machine"]):
        sys.exit(f"{options.out} was measured for another purpose or elsewhere; leave --resume out, or give --out")
    commands = list(dict.fromkeys([*before["commands"], command]))
    return before | about | {"versions": before["versions"] | about["versions"], "commands": commands}


def chosen(options: argparse.Namespace) -> list[tuple[Case, int]]:
    """Return the cases and seeds that were asked for."""
    wanted = None if options.only is None else {word.lower().replace("-", "_") for word in options.only}
    counts, first = (options.clean, options.weaker, options.weaker, options.strongest), FIRST_SEED[options.purpose]
    return [
        (case, first + number)
        for case in cases()
        if (wanted is None or case.cause.lower() in wanted) and (options.grades is None or case.grade in options.grades)
        for number in range(counts[case.grade])
    ]


# ---- one case ----


def examine(case: Case, seed: int, options: argparse.Namespace) -> Cell:
    """Run and diagnose one data set; return the states of all codes, and every trial."""
    data, started = case.make(seed), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        place, reading = write(data, Path(folder))
        settings = SETTINGS | case.settings | reading | {"seed": seed}
        run = trimtab.run(place, out=Path(folder) / "run", **settings)
        found = trimtab.diagnose(run.directory, minutes=options.minutes, points=POINTS)
        if data.features.ndim == 2 and (case.cause == "clean" or case.cause in SKORE):
            hand_over(case, seed, data, run, options.work)
    states = {finding.code: finding.state for finding in found.findings}
    named = ", ".join(code for code, state in states.items() if state == "found") or "nothing"
    seconds = time.process_time() - started
    print(f"{case.cause} {case.kind} {case.grade}, seed {seed}: found {named} in {seconds:.1f} CPU-s", flush=True)
    return {
        "clean_of": case.clean_of if case.cause == "clean" else (),
        "states": states,
        "severities": {finding.code: finding.severity for finding in found.found},
        "accuracy": run.evaluation.metrics["accuracy"].value,
        "gains": {
            finding.code: max(
                (gain or 0.0 for gain in finding.evidence.get("accuracy_gains", {}).values()), default=0.0
            )
            for finding in found.found
        },
        "trials": [
            {"cause": finding.code, **{name: getattr(trial, name) for name in ("remedy", "gain", "low", "has_helped")}}
            for finding in found.findings
            for trial in finding.trials
        ],
        "cpu_seconds": round(seconds, 1),
    }


# ---- all of them ----


def summarize(cells: list[Cell]) -> list[dict[str, Any]]:
    """Return a row per code: how often it was named at each grade, and how often where it was not put in.

    What is wrong with data alone is there or not. So any case into which it was not put can raise a false alarm of it,
    clean ones aside. Other codes are false alarms on clean data only: what is mislabeled is overfitted, too. Where a
    code is not applicable it cannot be a false alarm, and does not count.
    """
    table = []
    for code in CODES:
        row: dict[str, Any] = {"code": code}
        groups = {
            f"named_{grade}": [c for c in cells if (c["cause"], c["grade"]) == (code, grade)] for grade in (1, 2, 3)
        }
        able = [c for c in cells if c["states"][code] in ("found", "not found")]
        groups["false_alarms"] = [c for c in able if code in c["clean_of"]]
        groups["elsewhere"] = [c for c in able if code in OF_DATA and c["cause"] not in ("clean", code)]
        for name, group in groups.items():
            for who, says in (("trimtab", named_by_us), ("skore", named_by_skore)):
                answers = [answer for cell in group if (answer := says(cell, code)) is not None]
                if answers:
                    row[f"{who}_{name}"] = share_of(answers)
        gains = [cell["gains"].get(code, 0.0) for cell in groups["named_3"] if named_by_us(cell, code)]
        row["points_recovered"] = 100 * float(np.mean(gains)) if any(gains) else None
        table.append(row)
    return table


def named_by_us(cell: Cell, code: str) -> bool:
    return bool(cell["states"][code] == "found")


def named_by_skore(cell: Cell, code: str) -> bool | None:
    """Return ``None`` where skore was not asked, or has no check for it."""
    found: bool | None = cell.get("skore", {}).get(code)
    return found


def share_of(answers: list[bool]) -> dict[str, Any]:
    value = sum(answers) / len(answers)
    return {"count": sum(answers), "n": len(answers), "share": asdict(wilson(value, len(answers), level=0.95))}


def to_text(table: list[dict[str, Any]]) -> str:
    """Return the table in Markdown; skore's figures after a stroke."""
    lines = ["| code | alarms on clean data | on other causes | grade 1 | grade 2 | grade 3 |", f"|{6 * '---|'}"]
    for row in table:
        cells = [beside(row, name) for name in ("false_alarms", "elsewhere", "named_1", "named_2", "named_3")]
        lines.append(f"| `{row['code']}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def beside(row: dict[str, Any], name: str) -> str:
    shown = [row.get(f"{who}_{name}") for who in ("trimtab", "skore")]
    return " / ".join(f"{one['count']} of {one['n']}" for one in shown if one is not None)


def report_bars(table: list[dict[str, Any]]) -> bool:
    """Print what the project asks of itself, and return whether nothing was missed; no result counts as missed."""
    is_met = True
    for row in table:
        alarm, named = value_of(row, "trimtab_false_alarms"), value_of(row, "trimtab_named_3")
        missed = [] if alarm is not None and alarm <= FALSE_ALARMS_AT_MOST else [f"false alarms {alarm}"]
        missed += [] if named is not None and named >= NAMED_AT_LEAST else [f"named {named}"]
        if row["code"] in SKORE and not is_better(row):
            missed.append("not better than skore")
        print(f"bar: {row['code']}: {'met' if not missed else 'MISSED: ' + ', '.join(missed)}")
        is_met &= not missed
    return is_met


def is_better(row: dict[str, Any]) -> bool:
    """Return whether the share named less the share of false alarms is above skore's; where equal, with all grades."""
    if value_of(row, "skore_named_3") is None or value_of(row, "skore_false_alarms") is None:
        return False
    ours, theirs = (balance(row, who) for who in ("trimtab", "skore"))
    return ours > theirs


def balance(row: dict[str, Any], who: str) -> tuple[float, float]:
    """Return the share named at the strongest grade, and that over all grades, each less the share of false alarms."""
    alarms = [row[name] for name in (f"{who}_false_alarms", f"{who}_elsewhere") if name in row]
    alarm = sum(one["count"] for one in alarms) / sum(one["n"] for one in alarms)
    named = [value_of(row, f"{who}_named_{grade}") or 0.0 for grade in (1, 2, 3)]
    return named[2] - alarm, sum(named) / 3 - alarm


def value_of(row: dict[str, Any], name: str) -> float | None:
    found: float | None = row[name]["share"]["value"] if name in row else None
    return found


if __name__ == "__main__":
    main()
