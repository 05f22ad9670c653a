"""The NumPy engine against PyTorch, ONNX Runtime and a public NumPy engine: time and memory, side by side.

    python benchmarks/numpy_engine.py [--rounds 15]
    pip install --no-deps tinynn                       # beforehand, to have it in the comparison

All sides run in turn in one process, in float32, on the same numbers; before each one's turn the process rests, since
PyTorch's threads go on spinning after their work. A ratio is taken within each round; its median, lowest and highest
are printed. Memory is that of fresh processes. The bars are those that the project set itself; a missed one makes the
exit code 1. Prints tables and writes them, with command, versions and hardware, to
benchmarks/results/numpy_engine.json.

What is timed:
- `step`: forward, backward and Adam of Conv(3->64) ReLU Pool Conv(64->128) ReLU Pool Linear(8192->10), 3x3 kernels,
  64 pictures of 32 x 32; `bound` is its multiplications, done directly, at the speed of one large matrix product;
- `mlp`: the same for 784-256-256-10 with ReLU, 64 rows;
- `inference`: the network that trimtab picks for CIFAR-10 in 8 minutes, 64 pictures, raw pixels to probabilities.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from trimtab import numpy_nn
from trimtab.machine import available_threads, describe_machine, package_versions
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "numpy_engine.json"
REST_SECONDS, TURN_SECONDS = 0.25, 0.1
STEP_GFLOP = 2e-9 * 64 * (1024 * 27 * 64 * 2 + 256 * 576 * 128 * 3 + 8192 * 10 * 3)  # no gradient of the pictures
CIFAR = {"in_channels": 3, "image_size": 32, "channels": [32, 64, 96, 128], "num_classes": 10}
Call = Callable[[], Any]

# (what, threads): (side, against, at most)
BARS = {
    ("step", 1): [("numpy", "torch", 0.65), ("numpy", "torch channels_last", 0.80), ("numpy im2col", "torch", 0.95)],
    ("step", 2): [("numpy", "torch", 0.75), ("numpy", "torch channels_last", 0.90), ("numpy im2col", "torch", 0.95)],
    ("step, against tinynn", 1): [("numpy", "tinynn", 1 / 3)],
    ("mlp", 1): [("numpy", "torch", 0.85)],
    ("inference", 1): [("numpy", "onnxruntime", 1.3)],
    ("inference", 2): [("numpy", "onnxruntime", 1.3)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each side (default 15)")
    parser.add_argument(
        "--memory-of", choices=["numpy", "torch"], help=argparse.SUPPRESS
    )  # what this file calls itself
    options = parser.parse_args()
    restart_without("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    if options.memory_of:
        print(peak_megabytes(options.memory_of))
        return
    tables = [time_sides(what, threads, options.rounds) for what, threads in BARS if is_possible(what, threads)]
    memory = compare_memory()
    is_met = all(bar["met"] for table in tables for bar in table["bars"]) and memory["met"]
    print("every bar is met" if is_met else "a bar was MISSED")
    command = f"python benchmarks/numpy_engine.py --rounds {options.rounds}"
    result = {"command": command, "machine": describe_machine(), "versions": package_versions()}
    write_json(RESULTS, {**result, "tables": tables, "memory": memory})
    print(f"written to {RESULTS}")
    sys.exit(0 if is_met else 1)


def restart_without(*names: str) -> None:
    """Start this program anew without these variables: on some machines they are set to other processors' values."""
    if [os.environ.pop(name) for name in names if name in os.environ]:
        os.execv(sys.executable, [sys.executable, *sys.argv])


def is_possible(what: str, threads: int) -> bool:
    """Return whether the machine has what is needed; say so where it does not."""
    if "tinynn" in what and find_spec("tinynn") is None:
        print("left out: tinynn is not installed; pip install --no-deps tinynn\n")
        return False
    if threads > available_threads():
        print(f"left out: {what} on {threads} threads; there are {available_threads()}\n")
        return False
    return True


# ---- timing ----


def time_sides(what: str, threads: int, rounds: int) -> dict[str, Any]:
    """Run all sides in turn, print their times and ratios, and return them."""
    import torch

    torch.set_num_threads(threads)
    sides = {"step": step_sides, "mlp": mlp_sides, "inference": inference_sides}.get(what, tinynn_sides)(threads)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    with numpy_nn.threads(threads):
        for _ in range(rounds + 1):
            for name, call in sides.items():
                seconds[name].append(time_turn(call))
    seconds = {name: values[1:] for name, values in seconds.items()}
    table = {"what": what, "threads": threads, "rounds": rounds, "milliseconds": {}, "bars": []}
    print(f"{what}, {threads} thread{'s' if threads > 1 else ''}, n = {rounds}")
    for name, values in seconds.items():
        table["milliseconds"][name] = spread([1000 * value for value in values])
        print(f"  {name:<24}{show(table['milliseconds'][name], 1)} ms")
    if what == "step":
        table["gemm_bound"] = gemm_bound(threads, table["milliseconds"]["numpy"]["median"])
    for side, against, limit in BARS[what, threads]:
        ratio = spread([mine / theirs for mine, theirs in zip(seconds[side], seconds[against], strict=True)])
        bar = {"side": side, "against": against, "ratio": ratio, "at_most": limit, "met": ratio["median"] <= limit}
        table["bars"].append(bar)
        print(f"  {side} / {against:<20} {show(ratio, 2)}   bar {limit:.2f} {'met' if bar['met'] else 'MISSED'}")
    print(flush=True)
    return table


def time_turn(call: Call) -> float:
    """Return the seconds of a call, on average over a tenth of a second, after a rest and one to warm up."""
    time.sleep(REST_SECONDS)
    call()
    started, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - started < TURN_SECONDS:
        call()
        count += 1
    return (time.perf_counter() - started) / count


def gemm_bound(threads: int, step_ms: float) -> dict[str, float]:
    """Return what the step would take if nothing but its products, done directly, took time."""
    a, b = (np.random.default_rng(0).standard_normal((2048, 2048), np.float32) for _ in range(2))
    shares = [a[: 2048 // threads]] * threads
    times = []
    with numpy_nn.threads(threads):
        edges = list(range(threads + 1))
        for _ in range(7):
            started = time.perf_counter()
            numpy_nn.shards.run_shards(edges, lambda start, stop: shares[start] @ b)
            times.append(time.perf_counter() - started)
    speed = 2e-9 * 2048**3 / statistics.median(times)
    bound_ms = 1000 * STEP_GFLOP / speed
    speeds = f"{STEP_GFLOP:.2f} GFLOP at {speed:.0f} GFLOP/s"
    print(f"  bound: {speeds}: {bound_ms:.1f} ms; step / bound {step_ms / bound_ms:.2f}")
    return {
        "gflop": STEP_GFLOP,
        "gflop_per_second": speed,
        "milliseconds": bound_ms,
        "step_over_bound": step_ms / bound_ms,
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def show(values: dict[str, float], digits: int) -> str:
    return f"{values['median']:8.{digits}f} ({values['low']:.{digits}f} to {values['high']:.{digits}f})"


# ---- one training step ----


def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((64, 3, 32, 32), np.float32), rng.integers(0, 10, 64)


def convolutional(nn: Any, **settings: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1, **settings),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1, **settings),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8192, 10),
    )


def perceptron(nn: Any) -> Any:
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))


def numpy_step(network: Any, x: np.ndarray, y: np.ndarray) -> Call:
    network.input_gradient = False
    optimizer = numpy_nn.Adam(network.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        network.backward(numpy_nn.cross_entropy(network(x), y)[1])
        optimizer.step()

    return step


def torch_step(network: Any, x: np.ndarray, y: np.ndarray, *, is_channels_last: bool = False) -> Call:
    import torch

    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    if is_channels_last:
        network = network.to(memory_format=torch.channels_last)
        inputs = inputs.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()

    return step


def step_sides(threads: int) -> dict[str, Call]:
    from torch import nn

    data = pictures()
    return {
        "torch": torch_step(convolutional(nn), *data),
        "torch channels_last": torch_step(convolutional(nn), *data, is_channels_last=True),
        "numpy": numpy_step(convolutional(numpy_nn), *data),
        "numpy im2col": numpy_step(convolutional(numpy_nn, algorithm="im2col"), *data),
    }


def mlp_sides(threads: int) -> dict[str, Call]:
    from torch import nn

    rng = np.random.default_rng(0)
    data = rng.standard_normal((64, 784), np.float32), rng.integers(0, 10, 64)
    return {"torch": torch_step(perceptron(nn), *data), "numpy": numpy_step(perceptron(numpy_nn), *data)}


def tinynn_sides(threads: int) -> dict[str, Call]:
    """Return our step and that of tinynn, which lays pictures out channels-last."""
    from tinynn.core import layer, loss, model, net, optimizer

    x, y = pictures()
    layers = [layer.Conv2D([3, 3, 3, 64]), layer.ReLU(), layer.MaxPool2D([2, 2])]
    layers += [layer.Conv2D([3, 3, 64, 128]), layer.ReLU(), layer.MaxPool2D([2, 2])]
    layers += [layer.Flatten(), layer.Dense(10)]
    peer = model.Model(net.Net(layers), loss.SoftmaxCrossEntropy(), optimizer.Adam(1e-3))
    inputs, targets = np.ascontiguousarray(x.transpose(0, 2, 3, 1)), np.eye(10, dtype=np.float32)[y]

    def step() -> None:
        _, grads = peer.backward(peer.forward(inputs), targets)
        peer.apply_grads(grads)

    return {"tinynn": step, "numpy": numpy_step(convolutional(numpy_nn), x, y)}


# ---- inference ----


def inference_sides(threads: int) -> dict[str, Call]:
    """Return ONNX Runtime and the NumPy engine on the same exported network, checked to give the same answers."""
    from trimtab.artifact import Artifact
    from trimtab.deployment import export_onnx
    from trimtab.deployment.numpy_session import NumpySession
    from trimtab.deployment.session import Session
    from trimtab.models import build

    rng = np.random.default_rng(0)
    network = build(numpy_nn, "cnn", CIFAR).reset_parameters(rng)
    network(rng.standard_normal((64, 3, 32, 32), np.float32))  # so that there are statistics to fold
    meta = {"kind": "image", "class_names": list("abcdefghij"), "image_size": 32, "channels": 3}
    meta |= {"mean": [0.49, 0.48, 0.45], "std": [0.25, 0.24, 0.26]}
    artifact = Artifact(builder="cnn", kwargs=CIFAR, arrays=network.state_dict(), meta=meta)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(artifact, path)
        theirs = Session(path, threads=threads)
    ours = NumpySession(artifact, threads=threads)
    feeds = {"image": rng.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)}
    difference = float(np.abs(theirs.run(feeds) - ours.run(feeds)).max())
    if difference > 1e-4:
        raise SystemExit(f"the answers differ by {difference}; expected the same; nothing is timed.")
    return {"onnxruntime": lambda: theirs.run(feeds), "numpy": lambda: ours.run(feeds)}


# ---- memory ----


def compare_memory() -> dict[str, Any]:
    """Print and return what the training step takes, each time in a fresh process."""
    found = {}
    for side in ("torch", "numpy"):
        command = [sys.executable, __file__, "--memory-of", side]
        runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(3)]
        found[side] = spread([json.loads(run) for run in runs])
    found["met"] = found["numpy"]["median"] <= found["torch"]["median"]
    print("peak memory of `step` beyond what the process had before, n = 3")
    for side in ("torch", "numpy"):
        print(f"  {side:<24}{show(found[side], 0)} MB")
    print(f"  bar: at most torch's   {'met' if found['met'] else 'MISSED'}\n", flush=True)
    return found


def peak_megabytes(side: str) -> float:
    """Return by how much ten steps on one thread raise the largest resident size of this process."""
    x, y = pictures()
    if side == "torch":
        import torch
        from torch import nn

        torch.set_num_threads(1)
        torch_step(convolutional(nn), x[:1], y[:1])()  # loads the libraries
        step = torch_step(convolutional(nn), x, y)
    else:
        numpy_step(convolutional(numpy_nn), x[:1], y[:1])()
        step = numpy_step(convolutional(numpy_nn), x, y)
    before = _largest_resident_kilobytes()
    with numpy_nn.threads(1):
        for _ in range(10):
            step()
    return (_largest_resident_kilobytes() - before) / 1000


def _largest_resident_kilobytes() -> int:
    """Return it from Linux's own books: what `resource` says includes the process that started this one."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


if __name__ == "__main__":
    main()
