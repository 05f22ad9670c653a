"""Kills at random moments (-9), then the same command again: the weights must be those of a run left alone.

    python benchmarks/kills.py [--kills 100] [--kills-per-run 6] [--workers 1] [--seed 0]

One `trimtab train digits` of fixed length, with dropout, shuffling and augmentation, is left alone. Then the same
command is killed several times, with all processes that it started, and started again until it ends. Half of the
kills come at any moment of the run, start and end included; the others wait until a checkpoint is being written.
After each kill every directory that looks like a checkpoint must verify, and in the end the weights must have the
SHA-256 of those that were left alone.

Prints a line per run and writes all kills, with command, versions and hardware, to benchmarks/results/kills.json, or
kills-2-workers.json with ``--workers 2``. Exits with 1 if anything was not as it must be.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from trimtab.ledger import Ledger
from trimtab.machine import describe_machine, package_versions
from trimtab.storage import write_json
from trimtab.training.checkpoints import read_checkpoint

RESULTS = Path(__file__).parent / "results"
SETTINGS = ["--steps", "1600", "--batch-size", "32", "--dropout", "0.2", "--augment", "light", "--ema", "0.9"]
WRITING_SECONDS = 0.008  # a small checkpoint takes longer than that
LONGEST_SECONDS = 300.0  # for one attempt: something is stuck after that


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--kills-per-run", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    settings = [*SETTINGS, "--threads", "1", *(["--workers", str(options.workers)] if options.workers > 1 else [])]
    moments, runs = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRIMTAB_CACHE"] = f"{folder}/cache"
        started = time.monotonic()
        finish(start(Path(folder) / "whole", settings))
        usual_seconds = time.monotonic() - started
        weights = weights_of(Path(folder) / "whole")
        print(f"left alone: {usual_seconds:.1f} s, weights {weights[:12]}", flush=True)
        while (done := sum(len(run["kills"]) for run in runs)) < options.kills:
            out = Path(folder) / f"killed-{len(runs)}"
            count = min(options.kills_per_run, options.kills - done)
            runs.append(one_run(out, settings, count, usual_seconds, weights, moments))
            print(format_run(runs[-1]), flush=True)
    save(options, settings, usual_seconds, runs)
    is_right = all(run["is_identical"] and not run["halves"] for run in runs)
    sys.exit(0 if is_right else 1)


def start(out: Path, settings: list[str]) -> subprocess.Popen[bytes]:
    """Start the command in a process group of its own."""
    command = [sys.executable, "-m", "trimtab", "train", "digits", "--out", str(out), *settings]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end, which must be a good one."""
    _, errors = process.communicate(timeout=LONGEST_SECONDS)
    if process.returncode != 0:
        sys.exit(f"the command exited with {process.returncode}: {errors.decode()[-2000:]}")


def one_run(
    out: Path, settings: list[str], count: int, usual_seconds: float, weights: str, moments: random.Random
) -> dict[str, Any]:
    """Kill a run ``count`` times or until it ends, let it end, and return what was found."""
    kills: list[dict[str, Any]] = []
    while len(kills) < count:
        process = start(out, settings)
        kill = wait_and_kill(process, out, usual_seconds, moments)
        if kill is None:  # it was over before
            break
        kills.append(kill)
    finish(start(out, settings))
    found = weights_of(out)
    return {"kills": kills, "is_identical": found == weights, "halves": sum(kill["halves"] for kill in kills)}


def wait_and_kill(
    process: subprocess.Popen[bytes], out: Path, usual_seconds: float, moments: random.Random
) -> dict[str, Any] | None:
    """Kill at a moment; return what was there then, or ``None`` if the process ended by itself."""
    waits_for_writing = moments.random() < 0.5
    moment = moments.uniform(0, WRITING_SECONDS) if waits_for_writing else moments.uniform(0, usual_seconds)
    started = time.monotonic()
    while waits_for_writing and not is_writing(out):
        if process.poll() is not None or time.monotonic() - started > LONGEST_SECONDS:
            break
        time.sleep(0.0002)
    time.sleep(moment)
    if process.poll() is not None:
        finish(process)
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    complete = sorted((out / "checkpoints").glob("step_*"))
    checkpoints = [read_checkpoint(directory) for directory in complete]
    return {
        "moment": "checkpoint" if waits_for_writing else "any",
        "seconds": time.monotonic() - started,
        "was_writing": is_writing(out),
        "last_event": last_event(out),
        "step": max((checkpoint.step for checkpoint in checkpoints if checkpoint), default=None),
        "checkpoints": len(checkpoints),
        "halves": sum(checkpoint is None for checkpoint in checkpoints),
    }


def is_writing(out: Path) -> bool:
    """Return whether a checkpoint is half written, or half removed."""
    return any((out / "checkpoints").glob(".step_*.tmp"))


def last_event(out: Path) -> str | None:
    """Return what the ledger says last."""
    events = Ledger(out / "ledger.jsonl").events()
    return str(events[-1]["event"]) if events else None


def weights_of(out: Path) -> str:
    """Return the hash of the trained weights."""
    return str(Ledger(out / "ledger.jsonl").events("trained")[-1]["weights_sha256"])


def format_run(run: dict[str, Any]) -> str:
    kills = run["kills"]
    steps = ", ".join("-" if kill["step"] is None else str(kill["step"]) for kill in kills)
    return (
        f"{len(kills)} kills, {sum(kill['was_writing'] for kill in kills)} while a checkpoint was written, newest steps"
        f" {steps}; {run['halves']} half checkpoints; weights {'identical' if run['is_identical'] else 'DIFFERENT'}"
    )


def save(options: argparse.Namespace, settings: list[str], usual_seconds: float, runs: list[dict[str, Any]]) -> None:
    kills = [kill for run in runs for kill in run["kills"]]
    summary = {
        "kills": len(kills),
        "while_writing_a_checkpoint": sum(kill["was_writing"] for kill in kills),
        "half_checkpoints": sum(run["halves"] for run in runs),
        "runs": len(runs),
        "identical": sum(run["is_identical"] for run in runs),
    }
    print(" ".join(f"{name} {value};" for name, value in summary.items()))
    if options.kills < 20:  # a trial, not a result
        return
    path = RESULTS / ("kills.json" if options.workers == 1 else f"kills-{options.workers}-workers.json")
    command = " ".join(["python benchmarks/kills.py", *sys.argv[1:]])
    result = {"command": command, "settings": settings, "machine": describe_machine(), "versions": package_versions()}
    write_json(path, {**result, **summary, "usual_seconds": usual_seconds, "by_run": runs})
    print(f"written to {path}")


if __name__ == "__main__":
    main()
