"""One network as files in different number formats: what is stored in fewer bits, and what is computed in 8.

Calibration and the choice of float layers use training rows only; which calibration is kept is chosen on validation
rows, like everything else that a run chooses.

Legend: ``N`` rows, ``K`` classes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.compression.dynamic import BUILDERS, quantize_dynamic_int8
from trimtab.compression.fallback import growing, rank_layers
from trimtab.compression.int8_artifact import int8_artifact
from trimtab.compression.quantize import Int8, layers_of, quantize_int8
from trimtab.compression.weights import shrink_weights
from trimtab.data import Dataset
from trimtab.deployment import Predictor, export_onnx
from trimtab.deployment.session import Session
from trimtab.evaluation import Latency, measure_latency
from trimtab.stages.job import original_of, raw_inputs

Probabilities = NDArray[np.float32]

FORMATS = ("float32", "float16", "int8 weights", "int8 dynamic", "int8", "int8 with float layers", "int4 weights")
"""From the most exact to the smallest, but for the last two: what is faster comes before what is only smaller."""

_BITS = {"float16": 16, "int8 weights": 8, "int4 weights": 4}
_CALIBRATION_ROWS, _FEW_ROWS = 512, 128  # the latter where every activation is held in memory
_CALIBRATION_SEED = 1  # apart from the plan's seed, which chose the split
_FLOAT_SHARE = 0.5  # of the layers, at most
_SEARCHED = (
    Int8(),
    Int8(is_per_channel=False),
    Int8(calibration="percentile"),
    Int8(calibration="entropy"),
)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A file, the same model for NumPy, its answers on the validation rows, and what is to be said of it."""

    path: Path
    artifact: Artifact
    probabilities: Probabilities
    remark: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """Rows to calibrate with and rows to judge by.

    Attributes
    ----------
    dataset
        All rows.
    training_rows, validation_rows
        Numbers of rows in it.
    threads
        For computing many rows.
    loses_too_much
        From answers on the validation rows to whether too much accuracy may be lost.
    has_time
        Whether a search may go on.
    """

    dataset: Dataset
    training_rows: NDArray[np.int64]
    validation_rows: NDArray[np.int64]
    threads: int
    loses_too_much: Callable[[Probabilities], bool]
    has_time: Callable[[], bool] = lambda: True

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Of the validation rows."""
        return self.dataset.labels[self.validation_rows]

    def answers(self, artifact: Artifact, path: Path) -> Probabilities:
        """Return a file's answers to the validation rows."""
        return predictor_of(artifact, path, self.threads).predict_proba(raw_inputs(self.dataset, self.validation_rows))

    def answers_to_calibration(self, artifact: Artifact, path: Path) -> Probabilities:
        """Return a file's answers to the calibration rows."""
        rows = raw_inputs(self.dataset, self.calibration_rows())
        return predictor_of(artifact, path, self.threads).predict_proba(rows)

    def calibration_rows(self, most: int = _CALIBRATION_ROWS) -> NDArray[np.int64]:
        """Return some training rows, always the same."""
        random = np.random.default_rng(_CALIBRATION_SEED)
        return np.sort(random.choice(self.training_rows, min(most, len(self.training_rows)), replace=False))

    def feeds(self, artifact: Artifact, path: Path, most: int) -> Iterator[dict[str, NDArray[Any]]]:
        """Return calibration rows as a file takes them."""
        return predictor_of(artifact, path, 1).feeds(raw_inputs(self.dataset, self.calibration_rows(most)))


def predictor_of(artifact: Artifact, path: Path, threads: int) -> Predictor:
    """Return a predictor of an exported file that is in no bundle yet."""
    return Predictor(manifest_of(artifact), Session(path, threads=threads), threads=threads)


def manifest_of(artifact: Artifact) -> dict[str, Any]:
    """Return what a predictor has to know of a model that is in no bundle yet."""
    kind, names = artifact.meta["kind"], artifact.meta["class_names"]
    return {"kind": kind, "class_names": names, "preprocessing": artifact.meta}


def time_example(artifact: Artifact, path: Path, dataset: Dataset, rows: NDArray[np.int64]) -> Latency:
    """Time one example on one thread, from the encoded file or the raw row where there is one."""
    single = predictor_of(artifact, path, 1)
    examples = cycle([original_of(dataset, int(row)) for row in rows[:32]])
    return measure_latency(lambda: single.predict_proba([next(examples)]), threads=1, seconds=0.7)


class Files:
    """One network's files, each made when it is asked for, in a folder for it.

    Parameters
    ----------
    artifact
        The network, in floating point.
    folder
        Where the files go, each in a folder named after its format.
    judge
        What calibrates and judges.
    """

    def __init__(self, artifact: Artifact, folder: Path, judge: Judge) -> None:
        self.artifact, self.folder, self.judge = artifact, folder, judge

    @cached_property
    def float_path(self) -> Path:
        """The float file."""
        path = self._place("float32")
        export_onnx(self.artifact, path)
        return path

    def make(self, number_format: str) -> Made | None:
        """Return the file in one of `FORMATS`; ``None`` where that is nothing for this network."""
        if number_format == "float32":
            return self._made(self.float_path, self.artifact)
        if number_format == "int8 dynamic" and self.artifact.builder not in BUILDERS:
            return None
        path = self._place(number_format)
        if number_format in _BITS:
            return self._made(path, shrink_weights(self.artifact, self.float_path, path, bits=_BITS[number_format]))
        if number_format == "int8 dynamic":
            artifact = quantize_dynamic_int8(self.artifact, self.float_path, path)
            return self._made(path, artifact, "ranges are measured in each call; NumPy computes it in floating point")
        if number_format == "int8":
            return self._search_int8(path)
        made = self._search_layers(path)
        if made is None:
            shutil.rmtree(path.parent)  # with what an earlier attempt left there
        return made

    def _search_int8(self, path: Path) -> Made:
        """Return the first way to calibrate that loses little enough, or the one that answers best."""
        best: Made | None = None
        for settings in _SEARCHED:
            made = self._quantized(settings, path.with_name(f"{_slug(settings)}.onnx"))
            is_good = not self.judge.loses_too_much(made.probabilities)
            if best is None or is_good or self._log_loss(made) < self._log_loss(best):
                best = made
            if is_good or not self.judge.has_time():
                break
        assert best is not None  # noqa: S101 - there is something to search
        best.path.rename(path)
        for other in path.parent.glob("*-*.onnx"):
            other.unlink()
        return replace(best, path=path)

    def _search_layers(self, path: Path) -> Made | None:
        """Return the int8 model with the fewest float layers that loses little enough; ``None`` where int8 does."""
        whole = self._place("int8")
        is_needed = whole.exists() and self.judge.loses_too_much(self.judge.answers(self.artifact, whole))
        if not is_needed or not self.judge.has_time():
            return None
        trial, layers = path.with_name("trial.onnx"), layers_of(self.float_path)
        exact = self.judge.answers_to_calibration(self.artifact, self.float_path)

        def answers_of(kept: tuple[str, ...]) -> Probabilities:
            self._quantize(Int8(float_layers=kept), trial)
            return self.judge.answers_to_calibration(self.artifact, trial)

        best: Made | None = None
        for kept in growing(
            rank_layers(layers, exact, answers_of, has_time=self.judge.has_time),
            max(1, int(_FLOAT_SHARE * len(layers))),
        ):
            made = self._quantized(
                Int8(float_layers=kept), trial, f"{len(kept)} of {len(layers)} layers in floating point"
            )
            is_good = not self.judge.loses_too_much(made.probabilities)
            if best is None or is_good or self._log_loss(made) < self._log_loss(best):
                best = replace(made, path=path)
                trial.replace(path)
            if is_good or not self.judge.has_time():
                break
        trial.unlink(missing_ok=True)
        return best

    def _quantized(self, settings: Int8, path: Path, remark: str | None = None) -> Made:
        self._quantize(settings, path)
        return self._made(path, int8_artifact(self.artifact, path), _describe(settings) if remark is None else remark)

    def _quantize(self, settings: Int8, path: Path) -> None:
        most = _CALIBRATION_ROWS if settings.calibration == "min-max" else _FEW_ROWS
        ranges = self.folder / f"ranges-{settings.calibration}.json"
        ranges.parent.mkdir(parents=True, exist_ok=True)
        feeds = self.judge.feeds(self.artifact, self.float_path, most)
        quantize_int8(self.float_path, feeds, path, settings=settings, ranges=ranges)

    def _made(self, path: Path, artifact: Artifact, remark: str = "") -> Made:
        answers = self.judge.answers(self.artifact, path)
        return Made(path=path, artifact=artifact, probabilities=answers, remark=remark)

    def _log_loss(self, made: Made) -> float:
        own = made.probabilities[np.arange(len(self.judge.labels)), self.judge.labels]
        return float(-np.log(np.maximum(own.astype(np.float64), 1e-12)).mean())

    def _place(self, number_format: str) -> Path:
        path = self.folder / number_format.replace(" ", "-") / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _slug(settings: Int8) -> str:
    return f"{'channel' if settings.is_per_channel else 'tensor'}-{settings.calibration}"


def _describe(settings: Int8) -> str:
    """Return what is unusual about the settings, or nothing."""
    if settings == _SEARCHED[0]:
        return ""
    return f"scales per {'channel' if settings.is_per_channel else 'tensor'}, {settings.calibration} calibration"
