"""Data-parallel steps: milliseconds and bytes by way of summing gradients, and seconds to recover from killed workers.

    python benchmarks/distributed.py [--steps 40] [--rounds 5] [--kills 0]

Steps: one process with one thread against two with one thread each, the batch the same, on a small and a larger
network; every way takes its steps in turn within one pair of processes, round after round. Efficiency is the time of
one worker over twice that of two. Bytes are what the loopback device carried, so other traffic on it counts too.

Kills: `trimtab train` with two workers, a random one of which is killed (SIGKILL) so many times; seconds until the
workers that were started again go on from the checkpoint, and how often they were started for one kill.

Prints tables and writes them, with command and hardware, to benchmarks/results/distributed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.machine import describe_machine, package_versions
from trimtab.storage import write_json
from trimtab.training import Recipe
from trimtab.training.batches import Rows

RESULTS = Path(__file__).parent / "results" / "distributed.json"
BATCH = 64
NETWORKS = {
    "small": ("mlp", {"in_features": 32, "hidden": [64, 32], "num_classes": 10}),
    "larger": ("cnn", {"in_channels": 3, "image_size": 32, "channels": [32, 64, 128], "num_classes": 10}),
}
MEBIBYTE = 2**20


# ---- steps: what each worker does ----


def rows_of(builder: str) -> Rows:
    source = np.random.default_rng(0)
    labels = source.integers(0, 10, 1024)
    if builder == "mlp":
        return Rows.of(source.standard_normal((1024, 32), dtype=np.float32), labels)
    pictures = source.integers(0, 256, (1024, 32, 32, 3), dtype=np.uint8)
    return Rows.of(pictures, labels, mean=[0.5] * 3, std=[0.25] * 3)


def recipe_of(shards: int) -> Recipe:
    return Recipe(
        engine="torch",
        steps=1000,
        epochs_at_most=1000,
        batch_size=BATCH,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.01,
        schedule="constant",
        label_smoothing=0.0,
        augment="none",
        precision="float32",
        patience=0,
        threads=1,
        seed=0,
        shards=shards,
    )


def ways_of(network: str) -> dict[str, Any]:
    """Return what takes steps, by name; names that begin with "one" are for rank 0 alone."""
    from trimtab.training.distributed import averaging
    from trimtab.training.distributed.share import Share
    from trimtab.training.stepper import make_stepper

    builder, kwargs = NETWORKS[network]
    rows = rows_of(builder)
    found: dict[str, Any] = {}
    for name, size in (("one piece", 2**40), ("buckets", 0)):
        averaging._ONE_PIECE_BYTES = size
        found[name] = Share(builder, kwargs, rows, recipe_of(0))
    found["FSDP2"] = Share(builder, kwargs, rows, recipe_of(0), is_sharded=True)
    found["4 shards"] = Share(builder, kwargs, rows, recipe_of(4))
    found["one worker"] = make_stepper(builder, kwargs, rows, recipe_of(0))
    found["one worker, 4 shards"] = make_stepper(builder, kwargs, rows, recipe_of(4))
    return found


def work(steps: int, rounds: int) -> dict[str, Any]:
    import torch
    from torch import distributed

    from trimtab.training.distributed import Worker
    from trimtab.training.distributed.team import Team

    torch.set_num_threads(1)
    worker = Worker.of(os.environ)
    assert worker is not None  # noqa: S101 - started with the variables
    Team(worker)
    outcome: dict[str, Any] = {"collectives": collectives()}
    for network in NETWORKS:
        ways = ways_of(network)
        size = sum(array.nbytes for array in ways["one worker"].weights().values())
        times: dict[str, list[float]] = {name: [] for name in ways}
        carried: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                distributed.barrier()
                if worker.rank == 0 or not name.startswith("one worker"):
                    before = loopback_bytes()
                    times[name].append(milliseconds(lambda step, way=way: way.step(step, 1e-3), steps))
                    carried[name].append((loopback_bytes() - before) / steps)
        outcome[network] = {"weights_bytes": size, "milliseconds": times, "bytes": carried}
    distributed.barrier()
    return outcome


def milliseconds(do: Callable[[int], Any], steps: int) -> float:
    """Return the median over the steps."""
    found = []
    for step in range(steps):
        started = time.perf_counter()
        do(step)
        found.append(1000 * (time.perf_counter() - started))
    return statistics.median(found)


def collectives() -> dict[str, float]:
    """Return the milliseconds of what goes between workers."""
    import torch
    from torch import distributed

    from trimtab.training.distributed import channel

    rank = distributed.get_rank()
    found = {"command": milliseconds(lambda _: channel.send("step", 1, 0.1) if rank == 0 else channel.receive(), 100)}
    for name, count in (("all_reduce of 8 bytes", 2), ("of 1 MiB", MEBIBYTE // 4), ("of 16 MiB", 4 * MEBIBYTE)):
        vector = torch.zeros(count)
        found[name] = milliseconds(lambda _, vector=vector: distributed.all_reduce(vector), 20)
    return found


def loopback_bytes() -> int:
    for line in Path("/proc/net/dev").read_text().splitlines():
        if line.strip().startswith("lo:"):
            return int(line.split(":")[1].split()[8])
    return 0


def measure_steps(steps: int, rounds: int) -> dict[str, Any]:
    with socket.socket() as server, tempfile.TemporaryDirectory() as folder:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        server.close()
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        shared["GLOO_SOCKET_IFNAME"] = "lo"
        file = Path(folder) / "outcome.json"
        command = [sys.executable, __file__, "--steps", str(steps), "--rounds", str(rounds), "--worker", str(file)]
        processes = [subprocess.Popen(command, env={**os.environ, **shared, "RANK": str(rank)}) for rank in range(2)]
        for process in processes:
            if process.wait() != 0:
                raise SystemExit("a worker failed")
        found: dict[str, Any] = json.loads(file.read_text())
        return found


def print_steps(outcome: dict[str, Any]) -> None:
    print("between two workers, ms:", {name: round(value, 3) for name, value in outcome["collectives"].items()})
    for network in NETWORKS:
        found = outcome[network]
        one = statistics.median(found["milliseconds"]["one worker"])
        print(f"\n{network}: {found['weights_bytes']:,} bytes of weights, batch {BATCH}")
        print(f"{'way':<22}{'ms':>9}{'least':>9}{'most':>9}{'efficiency':>12}{'bytes a step':>15}")
        for name, times in found["milliseconds"].items():
            middle = statistics.median(times)
            efficiency = f"{one / (2 * middle):.0%}" if not name.startswith("one worker") else "-"
            carried = statistics.median(found["bytes"][name])
            print(f"{name:<22}{middle:>9.2f}{min(times):>9.2f}{max(times):>9.2f}{efficiency:>12}{carried:>15,.0f}")


# ---- kills ----


def measure_kills(kills: int) -> list[dict[str, float]]:
    """Kill a random worker so many times; return rank, seconds until training goes on, and starts, of each kill."""
    source = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        run, mark = Path(folder) / "run", Path(folder).name
        command = ["train", "digits", "--deterministic", "--minutes", "600", "--steps", "20000", "--patience", "0"]
        process = subprocess.Popen(
            [sys.executable, "-m", "trimtab", *command, "--workers", "2", "--out", str(run)],
            env={**os.environ, "TRIMTAB_BENCHMARK": mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: any((run / "checkpoints").glob("step_*")), process)
            found = []
            for number in range(kills):
                time.sleep(source.uniform(0, 5))
                found.append(kill_one(run, mark, source.randrange(2), process))
                print(f"kill {number + 1}: {found[-1]}", flush=True)
            process.send_signal(signal.SIGINT)
            if process.wait(600) != 0:
                raise SystemExit("the run did not come to its end")
            return found
        finally:
            process.kill()
            process.wait()


def kill_one(run: Path, mark: str, rank: int, process: subprocess.Popen[bytes]) -> dict[str, float]:
    before = len(events(run, "resumed")), len(events(run, "started"))
    killed = time.time()
    os.kill(worker_of(mark, rank), signal.SIGKILL)
    wait_for(lambda: len(events(run, "resumed")) > before[0], process)
    seconds = events(run, "resumed")[-1]["time"] - killed
    return {"rank": rank, "seconds": round(seconds, 2), "starts": len(events(run, "started")) - before[1]}


def events(run: Path, name: str) -> list[dict[str, Any]]:
    lines = (run / "ledger.jsonl").read_text().split("\n")[:-1]  # the last may be half written
    return [event for event in map(json.loads, lines) if event["event"] == name]


def worker_of(mark: str, rank: int) -> int:
    for folder in Path("/proc").iterdir():
        try:
            variables = set((folder / "environ").read_bytes().decode(errors="replace").split("\0"))
        except OSError:
            continue
        if {f"TRIMTAB_BENCHMARK={mark}", f"RANK={rank}"} <= variables:
            return int(folder.name)
    raise SystemExit(f"there is no worker {rank}")


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not condition():
        if process.poll() is not None:
            raise SystemExit("the run ended")
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--worker", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        outcome = work(options.steps, options.rounds)
        if os.environ["RANK"] == "0":
            write_json(Path(options.worker), outcome)
        os._exit(0)
    steps = measure_steps(options.steps, options.rounds)
    print(describe_machine())
    print_steps(steps)
    kills = measure_kills(options.kills) if options.kills else []
    if kills:
        seconds = [kill["seconds"] for kill in kills]
        once = sum(kill["starts"] == 1 for kill in kills)
        print(
            f"\n{len(kills)} kills: {once} recoveries in one restart; seconds median {statistics.median(seconds):.1f},"
        )
        print(f"most {max(seconds):.1f}")
    arguments = f"--steps {options.steps} --rounds {options.rounds} --kills {options.kills}"
    facts = {"command": f"python benchmarks/distributed.py {arguments}", "machine": describe_machine()}
    write_json(RESULTS, {**facts, "versions": package_versions(), "steps": steps, "kills": kills})


if __name__ == "__main__":
    main()
