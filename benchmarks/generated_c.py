"""Generated C against ONNX Runtime, one picture at a time, one thread: five networks, in float32 and int8.

    python benchmarks/generated_c.py [--rounds 30] [--networks cnn,vit]

For each network, with random weights, the C is compiled as its README says and loaded as a shared library; the ONNX
file is the one that was exported of the same artifact. Both answer the same picture in turn in one process, and have
to agree. A ratio is taken within each round; its median, lowest and highest are printed. Prints a table and writes it,
with command, versions, compiler and hardware, to benchmarks/results/generated_c.json.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.compression import int8_artifact, quantize_int8
from trimtab.deployment import export_onnx
from trimtab.deployment.c import to_program, write_source
from trimtab.deployment.c.checking import OPTIONS, find_compiler
from trimtab.deployment.session import Session
from trimtab.machine import describe_machine, package_versions
from trimtab.models import build, measure_size
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "generated_c.json"
SIZE, CLASSES, TURN_SECONDS = 32, 10, 0.02
MOST_DIFFERENCE = 0.02
PICTURES = {"in_channels": 3, "image_size": SIZE, "num_classes": CLASSES}
META = {
    "kind": "image",
    "class_names": [str(number) for number in range(CLASSES)],
    "image_size": SIZE,
    "channels": 3,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "cnn": ("cnn", {**PICTURES, "channels": [64, 128, 256]}),
    "narrow cnn": ("cnn", {**PICTURES, "channels": [32, 64, 128]}),
    "separable": ("separable_cnn", {**PICTURES, "channels": [64, 128, 256]}),
    "resnet": ("resnet", {**PICTURES, "channels": [64, 128, 256]}),
    "vit": ("vit", {**PICTURES, "width": 128, "depth": 6, "heads": 4, "patch": 4}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="turns of each side (default 30)")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="some of them, separated by commas")
    options = parser.parse_args()
    compiler = find_compiler()
    if compiler is None:
        parser.exit(2, "there is no C compiler on the PATH; expected cc, gcc or clang; install one.\n")
    rows = []
    for name in options.networks.split(","):
        for form in ("float32", "int8"):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(time_one(name, form, Path(folder), compiler, options.rounds))
            print(describe(rows[-1]), flush=True)
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    command = f"python benchmarks/generated_c.py --rounds {options.rounds}"
    facts = {"machine": describe_machine(), "versions": package_versions(), "compiler": version}
    write_json(RESULTS, {"command": command, **facts, "options": list(OPTIONS), "table": rows})
    print(f"written to {RESULTS}")


def time_one(name: str, form: str, folder: Path, compiler: str, rounds: int) -> dict[str, Any]:
    builder, kwargs = NETWORKS[name]
    rng = np.random.default_rng(0)
    artifact, path = make_artifact(builder, kwargs, rng), folder / "model.onnx"
    pictures = np.kron(rng.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8), np.ones((1, 4, 4, 1), np.uint8))
    export_onnx(artifact, path)
    if form == "int8":
        quantize_int8(path, {"image": pictures}, path)
        artifact = int8_artifact(artifact, path)
    picture = np.ascontiguousarray(pictures[:1])
    run_c, sizes = load_c(artifact, picture, folder, compiler)
    session = Session(path)

    def run_onnx() -> np.ndarray:
        return session.run({"image": picture})[0]

    difference = float(np.abs(run_c() - run_onnx()).max())
    if difference > MOST_DIFFERENCE:
        raise SystemExit(f"the answers for {name} in {form} differ by {difference:.2g}")
    seconds = [(seconds_of(run_c), seconds_of(run_onnx)) for _ in range(rounds)]
    ratios = [c / onnx for c, onnx in seconds]
    return {
        "network": name,
        "form": form,
        "macs": measure_size(builder, kwargs, (3, SIZE, SIZE)).macs,
        "c_ms": 1000 * statistics.median(c for c, _ in seconds),
        "onnxruntime_ms": 1000 * statistics.median(onnx for _, onnx in seconds),
        "ratio": {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)},
        "largest_difference": difference,
        **sizes,
    }


def make_artifact(builder: str, kwargs: dict[str, Any], rng: np.random.Generator) -> Artifact:
    """Return a network as drawn, with the statistics of some noise."""
    network = build(numpy_nn, builder, kwargs)
    network.reset_parameters(rng)
    network(rng.standard_normal((16, 3, SIZE, SIZE), np.float32))
    return Artifact(builder=builder, kwargs=kwargs, arrays=network.state_dict(), meta=META)


def load_c(
    artifact: Artifact, picture: np.ndarray, folder: Path, compiler: str
) -> tuple[Callable[[], np.ndarray], dict[str, int]]:
    """Return what answers the picture, and the sizes of the compiled model."""
    source = write_source(artifact, to_program(artifact), name="model", sha256="")
    for name, text in source.files.items():
        (folder / name).write_text(text)
    command = [compiler, *OPTIONS, "-shared", "-fPIC", "model.c", "-o", "model.so"]
    subprocess.run(command, cwd=folder, check=True)
    predict, work = ctypes.CDLL(str(folder / "model.so")).model_predict, ctypes.create_string_buffer(source.work_bytes)
    answer = np.empty(CLASSES, np.float32)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (picture, answer)]

    def run() -> np.ndarray:
        predict(*pointers, work)
        return answer

    file_bytes = os.path.getsize(folder / "model.so")
    return run, {"weight_bytes": source.weight_bytes, "work_bytes": source.work_bytes, "library_bytes": file_bytes}


def seconds_of(call: Callable[[], Any]) -> float:
    """Return the processor seconds of one call, from as many as a turn holds."""
    call()
    count, started = 0, time.thread_time()
    while (elapsed := time.thread_time() - started) < TURN_SECONDS:
        call()
        count += 1
    return elapsed / count


def describe(row: dict[str, Any]) -> str:
    ratio = row["ratio"]
    spread = f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
    times = f"C {row['c_ms']:7.3f} ms   ONNX Runtime {row['onnxruntime_ms']:7.3f} ms"
    return f"{row['network']:12} {row['form']:8} {row['macs'] / 1e6:6.1f} M   {times}   ratio {spread}"


if __name__ == "__main__":
    main()
