"""Evaluation of files of predictions, in parts and by several processes, with the same figures bit for bit."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path

from trimtab.errors import InputError
from trimtab.evaluation.evaluate import evaluate_statistics
from trimtab.evaluation.files import Part, PredictionFile, open_predictions
from trimtab.evaluation.result import Evaluation
from trimtab.evaluation.statistics import MOST_SCORES, Statistics, merge


def evaluate_files(
    paths: Sequence[str | Path],
    *,
    level: float = 0.95,
    seed: int = 0,
    workers: int = 1,
    most_scores: int = MOST_SCORES,
    on_rows: Callable[[int], None] | None = None,
) -> Evaluation:
    """Return all figures of the rows in some files of predictions, as if they were one.

    Parameters
    ----------
    paths
        Parquet or CSV, one or several shards of the same classes.
    level, seed
        As for `evaluate`.
    workers
        Processes; row groups of Parquet files are divided among them.
    most_scores
        Rows times classes up to which scores are kept in memory and areas are exact.
    on_rows
        Called with the number of rows read since the last call, for a progress bar.

    Raises
    ------
    InputError
        If a file cannot be used; names the row.
    """
    files = [open_predictions(path) for path in paths]
    first = files[0]
    for other in files[1:]:
        if (other.class_names, other.has_probabilities, other.has_groups) != (
            first.class_names,
            first.has_probabilities,
            first.has_groups,
        ):
            raise InputError(
                f"{first.path} and {other.path} have other columns", "the same in all files", "give files of one kind"
            )
    workers = max(1, min(workers, max(file.num_parts for file in files)))
    if workers == 1:
        parts = _count(_parts_of(files, 0, 1, most_scores), on_rows)
        return evaluate_statistics(_merged(parts, first), level=level, seed=seed)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        jobs = [pool.submit(_evaluate_share, files, number, workers, most_scores) for number in range(workers)]
        shares = _count((share for job in jobs if (share := job.result()) is not None), on_rows)
        return evaluate_statistics(_merged(shares, first), level=level, seed=seed)


def _evaluate_share(files: list[PredictionFile], worker: int, workers: int, most_scores: int) -> Statistics | None:
    parts = _parts_of(files, worker, workers, most_scores)
    first = next(parts, None)
    return None if first is None else merge(chain([first], parts))


def _parts_of(files: Sequence[PredictionFile], worker: int, workers: int, most_scores: int) -> Iterator[Statistics]:
    for file in files:
        for part in file.parts(worker=worker, workers=workers):
            if len(part.labels):
                yield _statistics(part, file.class_names, most_scores)


def _statistics(part: Part, class_names: tuple[str, ...], most_scores: int) -> Statistics:
    if part.probabilities is not None:
        return Statistics.of(
            part.labels,
            part.probabilities,
            class_names=class_names,
            groups=part.groups,
            most_scores=most_scores,
        )
    assert part.predictions is not None  # noqa: S101 - a part has one of both
    return Statistics.of_predictions(part.labels, part.predictions, class_names=class_names, groups=part.groups)


def _merged(parts: Iterator[Statistics], first: PredictionFile) -> Statistics:
    try:
        return merge(parts)
    except ValueError as error:
        raise InputError(f"{first.path} has no rows", "a row per example", "give the predictions") from error


def _count(parts: Iterator[Statistics], on_rows: Callable[[int], None] | None) -> Iterator[Statistics]:
    for part in parts:
        if on_rows is not None:
            on_rows(part.num_rows)
        yield part
