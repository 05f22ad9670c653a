"""The candidates for an ensemble with all their answers: those that were kept, averages of weights, soups.

Legend: ``M`` candidates.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.data import Dataset
from trimtab.deployment import export_onnx
from trimtab.directory import RunDirectory
from trimtab.evaluation import log_loss
from trimtab.generalization.candidates import Candidate, on_common_rows, read_candidates
from trimtab.generalization.ensembles import predict_out_of_fold
from trimtab.generalization.soups import average_weights, judge_soup, obstacle
from trimtab.plan import Plan
from trimtab.stages.formats import time_example
from trimtab.stages.teachers import reader_of


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What computes: an engine on so many processor threads."""

    engine: str
    threads: int


def gather(
    directories: Sequence[RunDirectory], dataset: Dataset, machine: Machine, *, tell: Callable[[str], None]
) -> list[Candidate]:
    """Return all candidates in some cross-validations, on the rows that all of them answered out of fold.

    Parameters
    ----------
    directories
        Of finished cross-validations on the same data; soups that are accepted are kept in the first.
    dataset
        That all were made on.
    machine
        For candidates whose answers were not kept.
    tell
        Takes a sentence about each soup that was tried.

    Raises
    ------
    InputError
        If they hold out no row in common.
    IntegrityError
        If one of them is not whole.
    """
    found: list[tuple[int, Candidate]] = []  # with the seed that its weights started from
    for directory in directories:
        seed = Plan.from_toml(directory.plan).seed
        found += [(seed, _answered(each, dataset, machine)) for each in read_candidates(directory.path)]
    soups = [_soup(group, dataset, machine, directories[0].path, tell) for group in _alike(found)]
    return on_common_rows([each for _, each in found] + [soup for soup in soups if soup is not None])


def _answered(candidate: Candidate, dataset: Dataset, machine: Machine) -> Candidate:
    """Return the candidate with its out-of-fold answers, predicted where they were not kept."""
    if candidate.probabilities is not None:
        return candidate
    models = [Artifact.load(model) for model in candidate.models]
    return replace(candidate, probabilities=_predict(models, candidate, dataset, machine))


def _predict(models: Sequence[Artifact], like: Candidate, dataset: Dataset, machine: Machine) -> NDArray[np.float32]:
    return predict_out_of_fold(
        models, like.held_out, reader_of(dataset), engine=machine.engine, threads=machine.threads
    )


def _alike(found: Sequence[tuple[int, Candidate]]) -> list[list[Candidate]]:
    """Return groups of two or more whose weights can be averaged fold by fold: the same rows, start and network."""
    groups: list[list[tuple[int, Candidate]]] = []
    for seed, candidate in found:
        for group in groups:
            other_seed, other = group[0]
            if seed == other_seed and candidate.has_folds_of(other) and _fit(candidate, other):
                group.append((seed, candidate))
                break
        else:
            groups.append([(seed, candidate)])
    return [[candidate for _, candidate in group] for group in groups if len(group) > 1]


def _fit(one: Candidate, other: Candidate) -> bool:
    return obstacle([Artifact.load(one.models[0]), Artifact.load(other.models[0])]) is None


def _soup(
    group: Sequence[Candidate], dataset: Dataset, machine: Machine, home: Path, tell: Callable[[str], None]
) -> Candidate | None:
    """Return the soup of a group, if it is shown to be better than the best of them out of fold."""
    folds = zip(*(candidate.models for candidate in group), strict=True)
    soups = [average_weights([Artifact.load(model) for model in models]) for models in folds]
    best = min(group, key=loss_of)
    answers = _predict(soups, best, dataset, machine)
    groups = None if dataset.groups is None else dataset.groups[best.rows]
    is_better, found = judge_soup(best.labels, answers_of(best), answers, groups=groups)
    name = f"soup of {', '.join(candidate.name for candidate in group)}"
    change = f"log loss {found.value_b:.4f} out of fold, {best.name} {found.value_a:.4f} (p = {found.p_value:.2g})"
    tell(f"{name} {'counts' if is_better else 'is not shown to be better'}: {change}")
    if not is_better:
        return None
    folder = home / "soups" / "+".join(candidate.name.replace(" ", "-") for candidate in group)
    paths = tuple(folder / model.parent.name for model in best.models)
    for soup, path in zip(soups, paths, strict=True):
        soup.save(path)
    return replace(best, name=name, models=paths, probabilities=answers)


def answers_of(candidate: Candidate) -> NDArray[np.float32]:
    """Return the out-of-fold probabilities of a candidate that has them."""
    assert candidate.probabilities is not None  # noqa: S101 - `gather` gives none without
    return candidate.probabilities


def loss_of(candidate: Candidate) -> float:
    """Return the log loss of a candidate out of fold."""
    return log_loss(candidate.labels, answers_of(candidate))


def shares_of_limits(
    candidates: Sequence[Candidate], dataset: Dataset, *, megabytes: float | None, milliseconds: float | None
) -> NDArray[np.float64]:
    """Return which share of the limits each candidate takes, float64 [M]: of the one that it takes more of.

    A candidate has the size of all its models, and takes as long as these one after the other: the p95 of one example
    through one of them, exported, times their number.
    """
    shares = np.zeros(len(candidates))
    if megabytes is not None:
        shares = np.array([each.megabytes / megabytes for each in candidates])
    if milliseconds is not None:
        taken = [len(each.models) * _milliseconds(each, dataset) / milliseconds for each in candidates]
        shares = np.maximum(shares, taken)
    return shares


def _milliseconds(candidate: Candidate, dataset: Dataset) -> float:
    artifact = Artifact.load(candidate.models[0])
    with tempfile.TemporaryDirectory(prefix="trimtab-") as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(artifact, path)
        return time_example(artifact, path, dataset, candidate.rows).p95_ms
