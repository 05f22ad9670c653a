"""A dataset in memory and a plan in, a trained network out: no run directory, no sealed test part, no prints.

For callers who divide the rows and measure by themselves, as scikit-learn's tools do.

Legend: ``N`` rows, ``H W C`` height, width, channels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.data import Dataset, resize_image
from trimtab.machine import available_threads, has_bfloat16, has_matrix_units
from trimtab.plan import Plan
from trimtab.planning import Facts, resolve
from trimtab.stages.features import features_of
from trimtab.stages.job import Features
from trimtab.training import Recipe
from trimtab.training.watch import HistoryRow, Watch

RowNumbers = NDArray[np.int64]

_FEW_ROWS = 200  # below, rows to validate on say less than they would teach
_STEPS = {"table": 2000, "image": 1000}  # about a second of a small table, some seconds of small pictures
_PASSES = {"table": (10, 100), "image": (5, 40)}  # over the training rows, within which the steps are held
_STEPS_AT_LEAST = 300  # also when that is more passes


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What came of it.

    Attributes
    ----------
    artifact
        The network with the weights that validated best, and its preprocessing.
    plan
        What was done, resolved.
    history
        A row per validation, as in a run's ``history.csv``.
    """

    artifact: Artifact
    plan: Plan
    history: list[HistoryRow]


def fit_in_memory(
    dataset: Dataset, request: Plan, *, holds_out: bool | None = None, epochs: int | None = None, started: float
) -> Fitted:
    """Return a network trained on the rows of a dataset.

    Parameters
    ----------
    dataset
        All of its rows are used.
    request
        What it leaves open is decided as for a run, except the length: ``minutes`` counts from ``started``; without
        it, ``steps``, or a number of steps that takes a small table about a second.
    holds_out
        Whether a share of the rows, ``request.validation_fraction`` or the usual one, chooses the best weights;
        otherwise the rows that train do. Decided by the number of rows unless given.
    epochs
        The length in passes over the training rows.
    started
        `time.perf_counter` when the work began.

    Raises
    ------
    InputError
        If a setting is not possible, or no column varies.
    TrainingError
        If training diverges.
    """
    from trimtab.training.loop import train

    facts = _facts_of(dataset, request)
    plan = resolve(request, facts)[0]
    if dataset.images is not None:
        dataset = replace(dataset, images=squash(dataset.images, int(plan.image_size or 0)))
    features = features_of(plan, facts, dataset, *_divide(dataset, plan, holds_out))
    plan = _with_length(plan, request, epochs, features)
    builder, watch = str(plan.model), _watch(request, started)
    trained = train(builder, features.kwargs, features.training, features.validation, _recipe_of(plan), watch=watch)
    meta = features.meta | ({} if plan.test_time == "none" else {"test_time": plan.test_time})
    artifact = Artifact(builder=builder, kwargs=features.kwargs, arrays=trained.arrays, meta=meta)
    return Fitted(artifact=artifact, plan=plan, history=trained.history)


def hold_out(labels: NDArray[np.int64], fraction: float, *, seed: int) -> tuple[RowNumbers, RowNumbers]:
    """Return the rows to train on and the rows to validate on, increasing: the same share of each class.

    A class never loses its only row to validation. Where no row can be spared the rows that train validate.
    """
    order = np.random.default_rng((seed, 3)).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # class after class, in any order within
    is_held = np.diff(np.floor(np.arange(len(labels) + 1) * fraction)) > 0  # evenly spaced
    held = order[is_held][np.isin(labels[order[is_held]], labels[order[~is_held]])]
    training = np.setdiff1d(order, held)
    return training, np.sort(held) if len(held) else training


def squash(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return pictures uint8 [N, H, W, C] squashed to ``size`` pixels a side; themselves when they have that size."""
    if images.shape[1:3] == (size, size):
        return images
    return np.stack([resize_image(image, size) for image in images])


def _facts_of(dataset: Dataset, request: Plan) -> Facts:
    _, height, width, channels = (0, 0, 0, 0) if dataset.images is None else dataset.images.shape
    return Facts(
        kind=dataset.kind,
        rows=len(dataset),
        classes=dataset.num_classes,
        columns=0 if dataset.table is None else len(dataset.table.columns),
        side=max(height, width),
        channels=channels,
        threads=request.threads or available_threads(),
        has_bfloat16=request.engine != "numpy" and has_bfloat16(),
        has_matrix_units=has_matrix_units(),
        has_torch=find_spec("torch") is not None,
    )


def _divide(dataset: Dataset, plan: Plan, holds_out: bool | None) -> tuple[RowNumbers, RowNumbers]:
    """Return the rows to train on and those that choose the weights, which may be the same."""
    is_held_out = len(dataset) >= _FEW_ROWS if holds_out is None else holds_out
    if is_held_out:
        return hold_out(dataset.labels, plan.validation_fraction or 0, seed=plan.seed)
    rows = np.arange(len(dataset))
    return rows, rows


def _watch(request: Plan, started: float) -> Watch:
    """Return what tells training the seconds that are left of the minutes that were asked for, if they were."""
    from trimtab.training.fit import limited

    left = None if request.minutes is None else 60 * request.minutes - (time.perf_counter() - started)
    return limited(Watch(), left)


def _with_length(plan: Plan, request: Plan, epochs: int | None, features: Features) -> Plan:
    """Return the plan with so many steps, or limited by the minutes that were asked for."""
    from trimtab.training.order import steps_per_epoch

    if request.minutes is not None:
        return plan
    kind = features.meta["kind"]
    one_pass = steps_per_epoch(len(features.training), plan.batch_size or 1)
    least, most = (passes * one_pass for passes in _PASSES[kind])
    usual = min(max(_STEPS[kind], least), max(most, _STEPS_AT_LEAST))
    return replace(plan, minutes=None, steps=request.steps or (epochs * one_pass if epochs else usual))


def _recipe_of(plan: Plan) -> Recipe:
    names = Recipe.__dataclass_fields__.keys() & {field.name for field in fields(Plan)}
    return Recipe(**{name: getattr(plan, name) for name in names})
