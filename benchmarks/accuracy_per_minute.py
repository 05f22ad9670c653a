"""Accuracy within equal wall-clock limits, from a folder of JPEGs: trimtab's default against the defaults of others.

    python benchmarks/accuracy_per_minute.py --data DIR --environments DIR [--minutes 3 10] [--rounds 1] [--resume]
    python benchmarks/accuracy_per_minute.py ... --only trimtab keras            # some of the systems
    python benchmarks/accuracy_per_minute.py ... --minutes 1 --images 5000 --out trial.json

DIR/cifar10-train.parquet is unpacked into a folder of class folders and 10,000 held-out pictures, the same in every
round. The systems take turns, one process at a time, in an order that moves on by one each round; the seed of a round
is its number. A limit covers everything from the start of the process to the model file: imports, reading and
decoding, planning, training, and what a system does afterwards (trimtab evaluates, compresses and exports). A process
that is not done by 1.15 times its limit is killed and has no accuracy. The held-out pictures are predicted by a second
process from the delivered model alone, outside the limit and timed apart, and scored here.

trimtab is run as `trimtab run FOLDER --minutes M`. The recipe of each peer, and where it comes from, stands at the
head of its script in benchmarks/peers/. Peers are installed into environments of their own. All are offline, may use
as many cores as `--threads` says, and choose their threads by their own default.

Every finished process is saved at once to benchmarks/results/accuracy_per_minute.json; `--resume` skips what is there.
A missed bar makes the exit code 1.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from peers.pictures import FILE, read_labels, unpack
from peers.systems import (
    SYSTEMS,
    install,
    pinned_versions,
    predict_command,
    read_predictions,
    run_process,
    train_command,
    warm_up,
)

from trimtab.evaluation.intervals import wilson
from trimtab.evaluation.paired import compare_right
from trimtab.machine import describe_machine, package_versions
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "accuracy_per_minute.json"
KILLED_AT = 1.15  # of the limit
SECONDS_TO_PREDICT = 600.0
ALL_IMAGES = 50_000
LEADS_BY_AT_LEAST = {10.0: 0.03}  # minutes: over each peer
ACCURACY_AT_LEAST = {3.0: 0.84, 10.0: 0.90, 60.0: 0.94}  # minutes: of trimtab
Cell = dict[str, Any]  # what one training process came to


def main() -> None:
    options = parse()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    unpack(options.data, options.work, options.images)
    pythons = {system: install(system, options.environments) for system in options.only}
    for system, python in pythons.items():
        warm_up(system, python, options.work / "home" / system)
    result = start_result(options, pythons)
    for system, minutes, number in turns(options):
        others = [cell for cell in result["cells"] if key_of(cell) != (system, minutes, number)]
        if len(others) < len(result["cells"]):
            continue
        cell = measure(system, pythons[system], minutes, number, options.work)
        result["cells"] = [*others, cell]
        result["table"] = summarize(result["cells"])
        write_json(options.out, result)
        print(say(cell), flush=True)
    print(f"\n{to_markdown(result['table'])}\n\n{json.dumps(result['machine'])}\n{json.dumps(result['versions'])}")
    is_met = options.images < ALL_IMAGES or report_bars(result["table"])  # a trial has no bars
    print(f"written to {options.out}")
    sys.exit(0 if is_met else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    work = Path(tempfile.gettempdir()) / "accuracy-per-minute"
    parser.add_argument("--data", type=Path, required=True, help=f"directory with {FILE}")
    parser.add_argument("--environments", type=Path, required=True, help="directory of the peers' environments (8 GB)")
    parser.add_argument("--minutes", type=float, nargs="+", default=[3.0, 10.0], help="limits (default 3 10)")
    parser.add_argument("--rounds", type=int, default=1, help="turns of each system (default 1)")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="leave out the others")
    parser.add_argument("--threads", type=int, default=2, help="cores that a system may use (default 2)")
    parser.add_argument("--images", type=int, default=ALL_IMAGES, help="fewer pictures, for a trial")
    parser.add_argument("--work", type=Path, default=work, help=f"pictures, models and logs (default {work})")
    parser.add_argument("--resume", action="store_true", help="skip what the file of results already holds")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file for the results")
    options = parser.parse_args()
    if not (options.data / FILE).exists():
        parser.error(f"there is no {FILE} in {options.data}")
    for name in ("data", "work", "environments", "out"):  # the processes run elsewhere
        setattr(options, name, getattr(options, name).absolute())
    return options


def start_result(options: argparse.Namespace, pythons: dict[str, Path]) -> dict[str, Any]:
    """Return what is saved, with the cells of before when resuming."""
    setting = {"images": options.images, "threads": options.threads, "machine": describe_machine()}
    versions = {
        system: package_versions() if system == "trimtab" else pinned_versions(system, python)
        for system, python in pythons.items()
    }
    cells: list[Cell] = []
    if options.resume and options.out.exists():
        before = json.loads(options.out.read_text())
        cells = [cell for cell in before["cells"] if cell["status"] != "failed"]  # these are tried again
        versions = before["versions"] | versions
        if {name: before[name] for name in setting} != setting:
            sys.exit(f"{options.out} was measured under other conditions; leave --resume out, or give another --out")
    shown = {options.data: "DIR", options.environments: "DIR", options.work: "DIR", options.out: "FILE"}
    words = [shown.get(Path(word).absolute(), word) for word in sys.argv[1:]]  # a path says nothing elsewhere
    command = " ".join(["python benchmarks/accuracy_per_minute.py", *words])
    return {"command": command, **setting, "versions": versions, "table": summarize(cells), "cells": cells}


def turns(options: argparse.Namespace) -> Iterator[tuple[str, float, int]]:
    """Yield system, minutes and round; who comes first moves on by one each round."""
    for number in range(options.rounds):
        for minutes in options.minutes:
            first = number % len(options.only)
            for system in (*options.only[first:], *options.only[:first]):
                yield system, minutes, number


def key_of(cell: Cell) -> tuple[str, float, int]:
    return cell["system"], cell["minutes"], cell["round"]


# ---- one process ----


def measure(system: str, python: Path, minutes: float, number: int, work: Path) -> Cell:
    """Train and predict; return what it came to. Model and logs stay in a folder of their own."""
    place, seconds = work / "runs" / f"{system}-{minutes:g}-{number}", 60 * minutes
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    home, cache = work / "home" / system, str(place / "cache")  # an empty cache: pictures are decoded in each run
    cell: Cell = {"system": system, "minutes": minutes, "round": number, "load_before": os.getloadavg()[0]}
    command = train_command(system, python, work / "train", seconds, place / "model", number)
    ended = run_process(command, KILLED_AT * seconds, place / "train.log", home, TRIMTAB_CACHE=cache)
    cell |= {"wall_seconds": ended.wall_seconds, "cpu_seconds": ended.cpu_seconds}
    cell["overshoot"] = max(0.0, ended.wall_seconds / seconds - 1)
    if ended.code not in (0, 3 if system == "trimtab" else 0):  # 3: done, though the limit was missed
        return {**cell, "status": "killed" if ended.code is None else "failed"}
    out = place / "predictions.csv"
    command = predict_command(system, python, place / "model", work / "held-out", out)
    ended = run_process(command, SECONDS_TO_PREDICT, place / "predict.log", home, TRIMTAB_CACHE=cache)
    cell["predict_seconds"] = ended.wall_seconds
    return {**cell, "status": "failed"} if ended.code != 0 else {**cell, "status": "done", **score(out, work)}


def score(out: Path, work: Path) -> Cell:
    """Return the accuracy with its interval, and which pictures were right, a bit each in the order of their names."""
    labels, predicted = read_labels(work), read_predictions(out)
    if labels.keys() != predicted.keys():
        sys.exit(f"{out} has {len(predicted)} predictions; expected one for each of the {len(labels)} held-out files")
    right = np.array([predicted[name] == label for name, label in labels.items()])
    accuracy = wilson(float(right.mean()), len(right), level=0.95)
    bits = base64.b64encode(np.packbits(right).tobytes()).decode()
    return {"accuracy": asdict(accuracy), "held_out": len(right), "right": bits}


def say(cell: Cell) -> str:
    line = f"{cell['system']:<12}{cell['minutes']:>4g} min  round {cell['round']}  {cell['wall_seconds']:7.1f} s"
    if cell["status"] != "done":
        return f"{line}  {cell['status']}; its logs are in the folder given with --work"
    accuracy = cell["accuracy"]
    return f"{line}  accuracy {accuracy['value']:.4f} [{accuracy['low']:.4f}, {accuracy['high']:.4f}]"


# ---- all of them ----


def summarize(cells: list[Cell]) -> list[dict[str, Any]]:
    """Return a row per limit and system, the limits in order, the systems as in `SYSTEMS`."""
    keys = sorted({(cell["minutes"], SYSTEMS.index(cell["system"])) for cell in cells})
    return [summarize_system(cells, minutes, SYSTEMS[place]) for minutes, place in keys]


def summarize_system(cells: list[Cell], minutes: float, system: str) -> dict[str, Any]:
    """Return a system's figures under one limit.

    The interval is that of one round's number of pictures, around the mean of the rounds: more rounds average over
    seeds, not over pictures. The spread over rounds stands beside it.
    """
    mine = [cell for cell in cells if (cell["minutes"], cell["system"]) == (minutes, system)]
    done = [cell for cell in mine if cell["status"] == "done"]
    row: dict[str, Any] = {"system": system, "minutes": minutes, "rounds": len(mine), "done": len(done)}
    row["wall_seconds"] = spread([cell["wall_seconds"] for cell in mine])
    row["overshoot"] = max(cell["overshoot"] for cell in mine)
    if done:
        values = [cell["accuracy"]["value"] for cell in done]
        row["accuracy"] = asdict(wilson(statistics.mean(values), done[0]["held_out"], level=0.95))
        row["rounds_accuracy"] = spread(values)
        row["predict_seconds"] = spread([cell["predict_seconds"] for cell in done])
        row["trimtab_leads"] = lead(cells, done)
    return row


def lead(cells: list[Cell], theirs: list[Cell]) -> dict[str, Any] | None:
    """Return by how much trimtab is better on the same pictures, over the rounds that both finished.

    A picture is one group over the rounds: its answers in several rounds are not independent.
    """
    if theirs[0]["system"] == "trimtab":
        return None
    ours = {cell["round"]: cell for cell in cells if is_trimtab(cell, theirs[0]["minutes"])}
    pairs = [(ours[cell["round"]], cell) for cell in theirs if cell["round"] in ours]
    if not pairs:
        return None
    a, b = (np.concatenate([right_of(pair[side]) for pair in pairs]) for side in (1, 0))
    pictures = None if len(pairs) == 1 else np.tile(np.arange(len(a) // len(pairs)), len(pairs))
    return compare_right(a, b, groups=pictures).to_dict()


def is_trimtab(cell: Cell, minutes: float) -> bool:
    return cell["system"] == "trimtab" and cell["minutes"] == minutes and cell["status"] == "done"


def right_of(cell: Cell) -> np.ndarray:
    bits = np.frombuffer(base64.b64decode(cell["right"]), np.uint8)
    return np.unpackbits(bits, count=cell["held_out"]).astype(bool)


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def to_markdown(rows: list[dict[str, Any]]) -> str:
    columns = ["limit", "system", "n", "accuracy (95%)", "rounds", "trimtab leads by, points (95%)", "p"]
    columns += ["wall, s", "over", "predict, s"]
    lines = [f"| {' | '.join(columns)} |", f"|{len(columns) * '---|'}"]
    for row in rows:
        cells = [f"{row['minutes']:g} min", row["system"], f"{row['done']} of {row['rounds']}"]
        cells += accuracy_cells(row) if row["done"] else ["none"] + 3 * [""]
        wall = row["wall_seconds"]
        cells += [f"{wall['median']:.1f} (at most {wall['high']:.1f})", f"{100 * row['overshoot']:.1f}%"]
        cells.append(f"{row['predict_seconds']['median']:.1f}" if row["done"] else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def accuracy_cells(row: dict[str, Any]) -> list[str]:
    accuracy, rounds, found = row["accuracy"], row["rounds_accuracy"], row["trimtab_leads"]
    cells = [f"{accuracy['value']:.4f} [{accuracy['low']:.4f}, {accuracy['high']:.4f}]"]
    cells.append(f"{rounds['low']:.4f} to {rounds['high']:.4f}" if row["done"] > 1 else "")
    if found is None:
        return [*cells, "", ""]
    points = [100 * found[name] for name in ("difference", "low", "high")]
    p = f"{found['p_value']:.2g}" if found["p_value"] >= 1e-6 else "< 1e-6"
    return [*cells, "{:+.2f} [{:+.2f}, {:+.2f}]".format(*points), p]


def report_bars(rows: list[dict[str, Any]]) -> bool:
    """Print what the project asks of itself, and return whether nothing was missed; no result counts as missed."""
    is_met = True
    for row in rows:
        minutes, found = row["minutes"], row.get("trimtab_leads")
        if row["system"] == "trimtab" and minutes in ACCURACY_AT_LEAST:
            value, bar, what = row["accuracy"]["value"] if row["done"] else None, ACCURACY_AT_LEAST[minutes], "accuracy"
        elif row["system"] != "trimtab" and minutes in LEADS_BY_AT_LEAST and row["done"]:
            value, bar, what = found and found["difference"], LEADS_BY_AT_LEAST[minutes], f"lead over {row['system']}"
        else:
            continue
        word = "met" if value is not None and value >= bar else "MISSED"
        shown = "no result" if value is None else f"{value:.4f}"
        print(f"bar: trimtab's {what} at {minutes:g} minutes, at least {bar:.2f}: {shown} {word}")
        is_met &= word == "met"
    return is_met


if __name__ == "__main__":
    main()
