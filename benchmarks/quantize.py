"""The settings of int8 quantization, one changed at a time from the shipped ones: speed, accuracy, cost of calibrating.

    python benchmarks/quantize.py RUN [RUN ...]     # finished picture runs, as `trimtab run` leaves them

All variants come from the run's float model and the same training rows, each built in a fresh process, so that peak
memory is its own. Latency is that of the model file on one row and one thread, without decoding. The variants take
turns in one process; their ratio to float is taken within each round, and the spread is from the tenth to the
ninetieth percentile of the rounds. "again" has the shipped settings too: how far it is from "shipped" is noise.
Accuracy is on the validation rows; drops are in points, with the one-sided 95% bound that the guard uses.

Prints a table per run and writes them, with command, versions and hardware, to benchmarks/results/quantize.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.compression import quantize as shipped  # with its private parts: what does not vary cannot drift
from trimtab.data import Split
from trimtab.deployment import Predictor
from trimtab.deployment.session import Session, import_onnxruntime
from trimtab.evaluation import compare_accuracy, peak_memory_megabytes, upper_bound_of_drop
from trimtab.machine import describe_machine, package_versions
from trimtab.opened import open_run
from trimtab.pipeline import Run, prepare
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "quantize.json"
SETTINGS = {"activation_type": "QUInt8", "calibrate_method": "MinMax", "reduce_range": True, "per_channel": True}
CHANGES: dict[str, dict[str, Any]] = {
    "again": {},
    "int8 activations": {"activation_type": "QInt8"},
    "percentile": {"calibrate_method": "Percentile"},
    "8-bit weights": {"reduce_range": False},
    "per tensor": {"per_channel": False},
}
CALIBRATION_ROWS = 512  # as many as a run takes
ROUNDS_AT_LEAST = 20
CALLS, WARM_UP_CALLS = 20, 5  # of a variant in a round, a row each; the first ones bring its weights into the cache


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directory of a finished picture run")
    parser.add_argument("--seconds", type=float, default=20, help="of timing per run (default 20)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file for the results")
    options = parser.parse_args()
    results = []
    for path in options.runs:
        results.append(compare_variants(path, options.seconds))
        print(format_result(results[-1]), flush=True)
    command = f"python benchmarks/quantize.py {' '.join(sys.argv[1:])}"
    result = {"command": command, "machine": describe_machine(), "versions": package_versions(), "runs": results}
    write_json(options.out, result)
    print(f"written to {options.out}")


def compare_variants(path: Path, seconds: float) -> dict[str, Any]:
    """Build and measure every variant of one run's float model."""
    run = open_run(path)
    calibration, validation, labels = open_rows(run)
    delivered = run.load()
    with tempfile.TemporaryDirectory() as name:
        files = {"float": Path(name) / "float.onnx"}  # a copy: the tool writes beside what it reads
        shutil.copyfile(path / "compression" / "as-trained" / "float32" / "model.onnx", files["float"])
        costs: dict[str, dict[str, float]] = {"float": {}}
        for variant in ("shipped", *CHANGES):
            files[variant] = Path(name) / f"{variant}.onnx"
            costs[variant] = build_apart(files["float"], list(delivered.feeds(calibration)), files[variant], variant)
        if files["again"].read_bytes() != files["shipped"].read_bytes():
            sys.exit("SETTINGS give another model than quantize_int8; bring them in line with compression/quantize.py")
        megabytes = {variant: file.stat().st_size / 1e6 for variant, file in files.items()}
        sessions = {variant: Session(file, threads=1) for variant, file in files.items()}
    times_ms = time_in_turn(sessions, [next(delivered.feeds(row)) for row in validation[:CALLS]], seconds)
    predictors = {name: Predictor(delivered.manifest, session, threads=1) for name, session in sessions.items()}
    probabilities = {name: predictor.predict_proba(validation) for name, predictor in predictors.items()}
    variants = [
        {"variant": variant, "changes": CHANGES.get(variant, {}), "megabytes": megabytes[variant], **costs[variant]}
        | latency_figures(times_ms[variant], times_ms["float"])
        | accuracy_figures(labels, probabilities["float"], probabilities[variant])
        for variant in files
    ]
    about = {"run": path.name, "model": run.plan.model, "options": run.plan.options}
    counts = {"calibration_rows": len(calibration), "validation_rows": len(labels), "rounds": len(times_ms["float"])}
    return {**about, **counts, "variants": variants}


def open_rows(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pictures to calibrate on, from the training rows, and the validation rows' pictures and labels."""
    dataset = prepare(run.plan)[0].load(image_size=run.plan.image_size)
    if dataset.images is None:
        sys.exit(f"{run.directory} is a run on a table; expected a picture run; give another directory")
    split = Split.load(run.directory / "data" / "split")
    if split.data_hash != dataset.content_hash:
        sys.exit(f"the data of {run.directory} changed since that run; expected the same content; train it again")
    count = min(CALIBRATION_ROWS, len(split.train))
    rows = np.sort(np.random.default_rng(1).choice(split.train, count, replace=False))
    return dataset.images[rows], dataset.images[split.validation], dataset.labels[split.validation]


def build_apart(float_onnx: Path, feeds: list[shipped.Feeds], out: Path, variant: str) -> dict[str, float]:
    """Run `build` in a process of its own, whose peak memory is that of this variant."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(build, float_onnx, feeds, out, variant).result()


def build(float_onnx: Path, feeds: list[shipped.Feeds], out: Path, variant: str) -> dict[str, float]:
    """Write the int8 model of a variant; return the seconds and how far they raised this process's peak memory."""
    import_onnxruntime()  # telemetry off before the first import
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    before, started = peak_memory_megabytes(), time.perf_counter()
    if variant == "shipped":
        shipped.quantize_int8(float_onnx, feeds, out)
    else:
        settings = {**SETTINGS, **CHANGES[variant]}
        with shipped.silent():
            quantize_static(
                float_onnx,
                out,
                shipped._Reader(shipped._batches(feeds)),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*shipped._OPERATORS, *shipped._POOLS],
                weight_type=QuantType.QInt8,
                activation_type=QuantType[settings["activation_type"]],
                calibrate_method=CalibrationMethod[settings["calibrate_method"]],
                reduce_range=settings["reduce_range"],
                per_channel=settings["per_channel"],
            )
        onnx.save(shipped._float_logits(onnx.load(out)), out)
    return {"build_seconds": time.perf_counter() - started, "build_megabytes": peak_memory_megabytes() - before}


def time_in_turn(sessions: dict[str, Session], rows: list[shipped.Feeds], seconds: float) -> dict[str, list[float]]:
    """Return each session's median milliseconds per call, round by round; each round starts with another one."""
    names = list(sessions)
    times_ms: dict[str, list[float]] = {name: [] for name in names}
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(times_ms[names[0]]) < ROUNDS_AT_LEAST:
        for name in names:
            calls = []
            for row in rows:
                before = time.perf_counter()
                sessions[name].run(row)
                calls.append(1000 * (time.perf_counter() - before))
            times_ms[name].append(float(np.median(calls[WARM_UP_CALLS:])))
        names = names[1:] + names[:1]
    return times_ms


def latency_figures(times_ms: list[float], float_ms: list[float]) -> dict[str, Any]:
    low, median, high = (float(value) for value in np.percentile(np.divide(times_ms, float_ms), (10, 50, 90)))
    ratio = {"median": median, "low": low, "high": high}
    return {"milliseconds_p50": float(np.median(times_ms)), "ratio_to_float": ratio}


def accuracy_figures(labels: np.ndarray, base: np.ndarray, changed: np.ndarray) -> dict[str, float]:
    comparison = compare_accuracy(labels, base, changed)
    return {
        "accuracy": float(np.mean(changed.argmax(1) == labels)),
        "drop_points": 100 * (comparison.a_only - comparison.b_only) / comparison.rows,
        "drop_bound_points": 100 * upper_bound_of_drop(comparison),
        "agreement": float(np.mean(changed.argmax(1) == base.argmax(1))),
    }


def format_result(result: dict[str, Any]) -> str:
    lines = [
        f"{result['run']}: {result['model']} {result['options']}, calibrated on {result['calibration_rows']} rows, "
        f"measured on {result['validation_rows']:,} validation rows and in {result['rounds']:,} rounds",
        f"{'variant':<17}{'ms':>7}  {'x float (spread)':<19}{'MB':>7}{'accuracy':>10}{'drop':>7}{'bound':>7}"
        f"{'agree':>8}{'build s':>9}{'build MB':>10}",
    ]
    for row in result["variants"]:
        ratio = row["ratio_to_float"]
        build = f"{row['build_seconds']:>9.1f}{row['build_megabytes']:>10.0f}" if "build_seconds" in row else ""
        lines.append(
            f"{row['variant']:<17}{row['milliseconds_p50']:>7.3f}  "
            f"{ratio['median']:.3f} ({ratio['low']:.3f}-{ratio['high']:.3f}){row['megabytes']:>7.3f}"
            f"{row['accuracy']:>10.4f}{row['drop_points']:>+7.2f}{row['drop_bound_points']:>+7.2f}"
            f"{row['agreement']:>8.4f}{build}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
