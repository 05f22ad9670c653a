"""From finished cross-validations to an ensemble: what they share, and which of their candidates are averaged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from trimtab.console import Console
from trimtab.data import Dataset, Split, open_source
from trimtab.directory import RunDirectory, find
from trimtab.errors import InputError
from trimtab.generalization.candidates import Candidate
from trimtab.generalization.ensembles import Ensemble, Member
from trimtab.generalization.selection import Selection, select_members, true_class_column
from trimtab.ledger import Ledger
from trimtab.machine import available_threads
from trimtab.plan import Plan
from trimtab.stages.gathering import Machine, answers_of, gather, loss_of, shares_of_limits


def open_crossvalidations(runs: Sequence[str | Path]) -> list[RunDirectory]:
    """Return the directories, each a finished cross-validation and none given twice.

    Raises
    ------
    InputError
        If one is not, or its folds are by time.
    """
    directories = [find(run) for run in runs]
    for directory in directories:
        folds = directory.data / "folds.json"
        if not (directory.is_finished and folds.exists()):
            raise InputError(
                f"there is no finished cross-validation at {directory.path}",
                "a directory that `trimtab crossval` made",
                "run `trimtab crossval DATA`, or the same command again to finish it",
            )
        if json.loads(folds.read_text()).get("kind") == "time":
            raise InputError(
                f"the folds of {directory.path} are by time, and their models learned from ever more rows",
                "folds whose models can vote as equals",
                "run `trimtab crossval` without --time, or take the model of the last fold",
            )
    if len({directory.path.resolve() for directory in directories}) < len(directories):
        raise InputError("a cross-validation is given twice", "different ones", "name each once")
    return directories


def read_shared(directories: Sequence[RunDirectory], plan: Plan, console: Console) -> tuple[Dataset, Split, Machine]:
    """Return data and split that all share, and what computes.

    Raises
    ------
    InputError
        If they share none, or the data are not what they were.
    IntegrityError
        If a split was altered.
    """
    splits = [Split.load(directory.data / "split") for directory in directories]
    for directory, split in zip(directories, splits, strict=True):
        split.check_sealed(Ledger(directory.ledger))
        if (split.data_hash, split.test_hash) != (splits[0].data_hash, splits[0].test_hash):
            raise InputError(
                f"{directories[0].path} and {directory.path} are of other data or other test rows",
                "the same data, image size, seed and fractions in all",
                "run one of them again like the other",
            )
    source = open_source(plan.data, target=plan.target, group=plan.group, skip_unreadable=plan.skip_unreadable)
    dataset = source.load(image_size=plan.image_size, progress=console.shows_bars)
    if dataset.content_hash != splits[0].data_hash:
        raise InputError(
            f"the data at {plan.data} changed since {directories[0].path} was made",
            "the same content",
            "restore the data from a copy, or run the cross-validation again",
        )
    console.stage("data", f"{len(dataset):,} rows, {dataset.num_classes} classes")
    engine = str(plan.engine) if find_spec("torch") else "numpy"
    return dataset, splits[0], Machine(engine=engine, threads=available_threads())


def select_ensemble(
    directories: Sequence[RunDirectory],
    dataset: Dataset,
    split: Split,
    machine: Machine,
    console: Console,
    *,
    members: int,
    limits: dict[str, float],
) -> Ensemble:
    """Return the ensemble that was selected out of fold, within limits by name: ``megabytes``, ``milliseconds``.

    Raises
    ------
    InputError
        If no candidate is within the limits.
    IntegrityError
        If a cross-validation is not whole.
    """
    candidates = gather(directories, dataset, machine, tell=lambda text: console.stage("soup", text))
    count = sum(len(each.models) for each in candidates)
    console.stage(
        "candidates", f"{len(candidates)} of {count} fold models, {len(candidates[0].rows):,} rows out of fold"
    )
    for each in candidates:
        console.note(f"{each.name}: log loss {loss_of(each):.4f}, {each.megabytes:.3g} MB")
    selection = _greedy(candidates, dataset, members, limits)
    parts = [Member.of(candidates[i].name, weight, candidates[i].models) for i, weight in selection.weights.items()]
    shares = ", ".join(f"{part.name} ({part.weight:.0%})" for part in parts)
    console.stage("ensemble", f"{shares}: log loss {selection.loss:.4f} out of fold")
    return Ensemble(
        class_names=dataset.class_names,
        members=tuple(sorted(parts, key=lambda part: -part.weight)),
        data_hash=dataset.content_hash,
        test_hash=split.test_hash,
        facts={
            "candidates": {each.name: loss_of(each) for each in candidates},
            "selected": [candidates[number].name for number in selection.members],
            "losses": list(selection.losses),
            "limits": limits,
        },
    )


def _greedy(candidates: Sequence[Candidate], dataset: Dataset, members: int, limits: dict[str, float]) -> Selection:
    columns = np.stack([true_class_column(answers_of(each), each.labels) for each in candidates])
    if not limits:
        return select_members(columns, num_classes=dataset.num_classes, members=members)
    limit = {name: limits.get(name) for name in ("megabytes", "milliseconds")}
    shares = shares_of_limits(candidates, dataset, **limit)
    least = int(shares.argmin())
    if shares[least] > 1:
        raise InputError(
            f"the models of {candidates[least].name} take {shares[least]:.2g} times the limit together",
            "a candidate within it",
            "raise the limit, or use --distill, which delivers one model",
        )
    return select_members(columns, num_classes=dataset.num_classes, members=members, costs=shares.tolist(), limit=1.0)
