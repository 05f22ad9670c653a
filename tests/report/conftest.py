"""Run directories that look like those of real runs: pictures within the budget, a table above it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trimtab.budget import Budget, Cost
from trimtab.evaluation import evaluate
from trimtab.evaluation.plots import plot_evaluation, plot_learning_curves
from trimtab.ledger import Ledger
from trimtab.report import save_grid, save_picture
from trimtab.storage import write_json

ANIMALS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="session")
def picture_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(
        tmp_path_factory.mktemp("runs") / "photos",
        class_names=ANIMALS,
        rows=2000,
        budget=Budget(minutes=8, megabytes=1, milliseconds=5),
        megabytes=0.312,
        pictures=True,
    )


@pytest.fixture(scope="session")
def missed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(
        tmp_path_factory.mktemp("runs") / "income",
        class_names=("<=50K", ">50K"),
        rows=3000,
        budget=Budget(minutes=8, megabytes=0.25),
        megabytes=0.312,
        pictures=False,
    )


@pytest.fixture
def bare_run(tmp_path: Path) -> Callable[..., Path]:
    def write(**files: Any) -> Path:
        directory = tmp_path / "bare"
        for name, content in {"run": {"name": "bare"}, **files}.items():
            write_json(directory / f"{name.replace('__', '/')}.json", content)
        return directory

    return write


def write_run(
    directory: Path, *, class_names: tuple[str, ...], rows: int, budget: Budget, megabytes: float, pictures: bool
) -> Path:
    random = np.random.default_rng(3)
    labels, probabilities = _predictions(random, rows, len(class_names))
    evaluation = evaluate(labels, probabilities, class_names=class_names)
    folder = directory / "evaluation"
    write_json(folder / "metrics.json", evaluation.to_dict())
    plot_evaluation(evaluation, folder)
    plot_learning_curves(_history(12), folder / "learning_curves.svg")
    write_json(folder / "mistakes.json", _mistakes(random, folder, class_names, pictures))
    _write_bundle(directory, evaluation.to_dict()["metrics"], budget, megabytes, class_names)
    write_json(directory / "compression" / "table.json", _candidates(megabytes))
    _write_ledger(directory)
    write_json(directory / "run.json", _summary(directory.name, class_names, pictures))
    if pictures:
        save_grid(random.integers(0, 255, (64, 16, 16, 3), dtype=np.uint8), directory / "data" / "first_batch.png")
    return directory


def _predictions(random: np.random.Generator, rows: int, classes: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    labels = random.integers(classes, size=rows)
    scores = random.normal(size=(rows, classes)) + 2.4 * np.eye(classes)[labels]
    exponentials = np.exp(1.4 * scores)
    return labels, exponentials / exponentials.sum(axis=1, keepdims=True)


def _history(epochs: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 1.9 * 0.78**epoch + 0.2,
            "validation_loss": 1.8 * 0.8**epoch + 0.4 + 0.004 * epoch,
            "validation_accuracy": 0.84 - 0.6 * 0.75**epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def _mistakes(
    random: np.random.Generator, folder: Path, class_names: tuple[str, ...], pictures: bool
) -> list[dict[str, Any]]:
    mistakes = []
    for rank in range(12 if pictures else 6):
        mistake: dict[str, Any] = {
            "name": f"test/{class_names[0]}/{rank:04d}.png" if pictures else f"row {1700 + 31 * rank}",
            "true": class_names[0],
            "predicted": class_names[1],
            "probability": 0.998 - 0.01 * rank,
        }
        if pictures:
            mistake["image"] = f"{rank:02d}.png"
            image = random.integers(40, 215, (4, 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            save_picture(image, folder / "mistakes" / mistake["image"])
        else:
            mistake["row"] = {"age": 30 + rank, "workclass": "Private", "occupation": None, "<b>hours</b>": 40.0}
        mistakes.append(mistake)
    return mistakes


def _candidates(megabytes: float) -> list[dict[str, Any]]:
    original = {
        "variant": "float32",
        "megabytes": 3.7 * megabytes,
        "accuracy": 0.8312,
        "drop": None,
        "drop_upper_bound": None,
        "milliseconds_p50": 0.71,
        "delivered": False,
        "reason": "",
    }
    smaller = {
        "variant": "int8",
        "megabytes": megabytes,
        "accuracy": 0.8294,
        "drop": 0.0018,
        "drop_upper_bound": 0.0047,
        "milliseconds_p50": 0.26,
        "delivered": True,
        "reason": "3.7 times smaller, and it loses less than a point",
    }
    return [original, smaller]


def _write_bundle(
    directory: Path, metrics: dict[str, Any], budget: Budget, megabytes: float, class_names: tuple[str, ...]
) -> None:
    cost = Cost(
        seconds=471.3,
        megabytes=megabytes,
        milliseconds_p50=0.41,
        milliseconds_p95=0.63,
        milliseconds_p99=0.92,
        threads=1,
        parameters=289_130,
        macs=39_120_000,
        training_seconds=402.7,
        peak_memory_megabytes=1342.0,
    )
    manifest = {
        "format": "trimtab-bundle/1",
        "name": directory.name,
        "class_names": list(class_names),
        "metrics": metrics,
        "cost": cost.to_dict(),
        "verdict": budget.check(cost).to_dict(),
        "versions": {"trimtab": "0.1.0", "numpy": "2.4.6"},
        "hashes": {"model.onnx": "ab12" * 16},
        "model": {"builder": "cnn", "kwargs": {}, "variant": "int8"},
    }
    write_json(directory / "bundle" / "manifest.json", manifest)
    parity = {"rows": 5000, "largest_difference": 3.1e-06, "label_flips": 0, "tolerance": 1e-4}
    write_json(directory / "bundle" / "parity.json", parity)


def _write_ledger(directory: Path) -> None:
    ledger = Ledger(directory / "ledger.jsonl", clock=lambda: 0.0)
    ledger.append("decision", name="model", value="cnn", reason="pictures, and the budget allows convolutions")
    ledger.append("warning", text="3 unreadable files were left out: a.jpg, b.jpg, c.jpg")
    for step, reason in ((0, "the probe"), (900, "the machine got slower")):
        ledger.append("schedule_corrected", step=step, total_steps=4000 - step, reason=reason)
    ledger.append("test_opened", caller="trimtab run", opening=1, level=0.975, rows=2000)


def _summary(name: str, class_names: tuple[str, ...], pictures: bool) -> dict[str, Any]:
    return {
        "name": name,
        "command": f"trimtab run ./{name} --minutes 8",
        "repeat_command": f"trimtab run runs/{name}/plan.toml",
        "data": f"./{name}",
        "data_summary": f"50,000 {'32-pixel pictures' if pictures else 'rows'}, {len(class_names)} classes",
        "rows": {"train": 40_000, "validation": 5000, "test": 5000},
        "class_names": list(class_names),
        "not_checked": ["Whether tomorrow's data look like these.", "Whether the labels are right."],
        "created": "2026-11-23T22:41:07+00:00",
        "machine": {"processor": "AMD EPYC", "threads": 2, "system": "Linux x86_64", "python": "3.11.7"},
    }
