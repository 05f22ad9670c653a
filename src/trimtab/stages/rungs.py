"""The rungs of a ladder: each a file that is made, timed, compared with the float model, and written down.

What was written down is taken over by a later attempt, so that a killed ladder goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.compression.ladder import AS_TRAINED, Choice, Drop, Rung, Wanted, pareto
from trimtab.console import Console, describe_size
from trimtab.evaluation import Latency, compare_accuracy, evaluate, measure_latency, upper_bound_of_drop
from trimtab.evaluation.intervals import Estimate, wilson
from trimtab.evaluation.plots.tradeoff import Point, plot_tradeoff
from trimtab.models import measure_size
from trimtab.stages.case import Case
from trimtab.stages.formats import Files, Judge, Made
from trimtab.stages.job import original_of
from trimtab.stages.runtimes import in_runtime
from trimtab.storage import sha256_bytes, write_json

_SECONDS = 0.7  # of timing one example; half as long for 32 at once
_MANY = 32


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A file in its runtime: latency of one example, median milliseconds of 32 at once, and the size of it."""

    one: Latency
    milliseconds_of_32: float
    megabytes: float


@dataclass(kw_only=True, eq=False)
class Rungs:
    """The rungs that there are so far.

    Attributes
    ----------
    case
        The run.
    wanted
        What a rung has to meet.
    folder
        A folder for each network, in it one for each format.
    threads
        Of the processor that the model is for.
    target
        The runtime that it is for: one of `trimtab.stages.runtimes.TARGETS`.
    console
        Where progress goes.
    seconds_left
        Until all must be over.
    found
        The rungs, in order.
    answers
        Of each, by network and format, on the validation rows: [N, K].
    trained
        The networks, in floating point, by name.
    keys
        What each network but the run's own was made of and how, by name.
    """

    case: Case
    wanted: Wanted
    folder: Path
    threads: int
    console: Console
    seconds_left: Callable[[], float]
    target: str = "native"
    found: list[Rung] = field(default_factory=list)
    answers: dict[tuple[str, str], NDArray[np.float32]] = field(default_factory=dict)
    trained: dict[str, Artifact] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def files(self, network: str, artifact: Artifact) -> Files:
        """Return what makes the files of a network."""
        self.trained[network] = artifact
        judge = replace(self.judge, loses_too_much=lambda answers: self._loses_too_much(network, answers))
        return Files(artifact, self.place_of(network), judge)

    def has_time(self) -> bool:
        """Return whether anything is left of the minutes."""
        return self.seconds_left() > 0

    def place_of(self, network: str) -> Path:
        """Return the folder of a network."""
        return self.folder / network.replace("%", "").replace(",", "").replace(" ", "-")

    def file_of(self, rung: Rung) -> tuple[Path, Artifact]:
        """Return a rung's file, and the same model for NumPy."""
        folder = self.place_of(rung.network) / rung.number_format.replace(" ", "-")
        return folder / "model.onnx", Artifact.load(folder / "artifact")

    def of(self, network: str, number_format: str) -> Rung | None:
        """Return a rung that was tried."""
        found = (rung for rung in self.found if (rung.network, rung.number_format) == (network, number_format))
        return next(found, None)

    def add(self, network: str, number_format: str, files: Files, group: int) -> None:
        """Make, measure and write down a rung, or take the one that an earlier attempt wrote down."""
        folder = files.folder / number_format.replace(" ", "-")
        key = self._key(network)
        rung = _earlier(folder / "rung.json", key, group)
        if rung is None:
            started = time.monotonic()
            made = files.make(number_format)
            if made is None:
                return
            made.artifact.save(folder / "artifact")
            rung = self._measured(made, network, number_format, group, seconds=time.monotonic() - started)
            write_json(folder / "rung.json", {"key": key, "rung": rung.to_dict()})
            answers = made.probabilities
        else:
            answers = self.judge.answers(files.artifact, folder / "model.onnx")
        self.answers[network, number_format] = answers
        self.found.append(rung)
        self._tell(rung)

    def time(self, made: Made, *, seconds: float = _SECONDS) -> Timing:
        """Measure a file in the runtime that it is for: one example from raw input to probabilities, and 32 at once."""
        delivered = in_runtime(self.target, made.artifact, made.path, self.threads)
        predictor = delivered.predictor
        some = [original_of(self.case.dataset, int(row)) for row in self.judge.validation_rows[:_MANY]]
        originals = list(islice(cycle(some), _MANY))
        examples = cycle(originals)
        one = measure_latency(lambda: predictor.predict_proba([next(examples)]), threads=self.threads, seconds=seconds)
        many = measure_latency(lambda: predictor.predict_proba(originals), threads=self.threads, seconds=seconds / 2)
        return Timing(one=one, milliseconds_of_32=many.p50_ms, megabytes=delivered.megabytes)

    def draw(self, choice: Choice, path: Path) -> None:
        """Draw all rungs, with the front that no other beats, the limits and the chosen one."""
        front = pareto(self.found)
        points = [
            Point(
                name=rung.name,
                megabytes=rung.megabytes,
                milliseconds=rung.latency.p95_ms,
                accuracy=rung.accuracy,
                is_on_front=rung in front,
                is_chosen=rung is choice.rung,
            )
            for rung in self.found
        ]
        plot_tradeoff(points, path, megabytes=self.wanted.megabytes, milliseconds=self.wanted.milliseconds)

    @cached_property
    def judge(self) -> Judge:
        """What calibrates and judges."""
        return Judge(
            dataset=self.case.dataset,
            training_rows=self.case.split.train,
            validation_rows=self.case.split.validation,
            threads=self.case.facts.threads,
            loses_too_much=lambda answers: self._loses_too_much(AS_TRAINED, answers),
            has_time=self.has_time,
        )

    def _key(self, network: str) -> str:
        """Return what an earlier rung must have been made of and for, to be taken over."""
        artifact = self.case.artifact
        meta = [str(artifact.meta.get(name)) for name in ("temperature", "test_time")]  # not in the hash of the weights
        parts = [artifact.sha256, *meta, self.keys.get(network, ""), str(self.threads), f"{self.wanted.max_drop:g}"]
        parts += [] if self.target == "native" else [self.target]
        return sha256_bytes(" ".join(parts).encode())

    def _measured(self, made: Made, network: str, number_format: str, group: int, *, seconds: float) -> Rung:
        artifact, is_base = made.artifact, (network, number_format) == (AS_TRAINED, "float32")
        size = measure_size(artifact.builder, artifact.kwargs, artifact.input_shape)
        timing = self.time(made)
        return Rung(
            network=network,
            number_format=number_format,
            group=group,
            megabytes=timing.megabytes,
            latency=timing.one,
            milliseconds_of_32=timing.milliseconds_of_32,
            parameters=size.parameters,
            macs=size.macs * (2 if artifact.has_mirror else 1),
            accuracy=self._accuracy(made.probabilities),
            drop=None if is_base else self._drop(made.probabilities),
            seconds=round(seconds, 3),
            remark=made.remark,
        )

    @cached_property
    def least_bound(self) -> float:
        """The points of accuracy that so few validation rows cannot exclude, even where no answer changes."""
        return self._drop(self.answers[AS_TRAINED, "float32"]).bound

    def _loses_too_much(self, network: str, probabilities: NDArray[np.float32]) -> bool:
        """Return whether a format may lose too much of what its own network can do in floating point.

        Where there are too few rows to show anything, nothing is to be gained by searching on.
        """
        return self._drop(probabilities, network).bound > max(self.wanted.max_drop, self.least_bound)

    def _drop(self, probabilities: NDArray[np.float32], network: str = AS_TRAINED) -> Drop:
        base = self.answers[network, "float32"]
        compared = compare_accuracy(self.judge.labels, base, probabilities, groups=self.case.groups)
        return Drop(
            points=-100 * compared.difference,
            low=-100 * compared.high,
            high=-100 * compared.low,
            bound=100 * upper_bound_of_drop(compared),
        )

    def _accuracy(self, probabilities: NDArray[np.float32]) -> Estimate:
        labels, groups = self.judge.labels, self.case.groups
        if groups is None:
            return wilson(float((probabilities.argmax(axis=1) == labels).mean()), len(labels), level=0.95)
        names = self.case.dataset.class_names
        return evaluate(labels, probabilities, class_names=names, groups=groups).metrics["accuracy"]

    def _tell(self, rung: Rung) -> None:
        figures = f"{describe_size(rung.megabytes)}, {rung.latency.p95_ms:.3g} ms, accuracy {rung.accuracy.value:.4f}"
        is_base = rung.drop is None and not self.wanted.has_limits
        verdict = "" if is_base else f": {'; '.join(self.wanted.misses(rung)) or 'good enough'}"
        self.console.stage("rung", f"{rung.name}: {figures}{verdict}")


def _earlier(path: Path, key: str, group: int) -> Rung | None:
    """Return the rung that an earlier attempt wrote down, if it is whole and still what is wanted."""
    try:
        kept = json.loads(path.read_text())
        return replace(Rung.from_dict(kept["rung"]), group=group) if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
