"""Reading and training with several workers: what rank 0 says at each stage, and what the others do then.

Every machine has the data at the same path, or at least its cache of them; the first worker of each decodes, the
others take the cache. Which rows are whose, and how they are encoded, rank 0 tells, and that all hold the same
content is checked by its hash. Only rank 0 reads and writes the run directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset, TableEncoder, open_source
from trimtab.errors import InputError, TrimtabError
from trimtab.stages.job import Features, Job, table_of
from trimtab.training import Recipe
from trimtab.training.distributed import current_team, threads_of_a_worker

if TYPE_CHECKING:
    from trimtab.training.distributed.team import Team
    from trimtab.training.loop import Trained
    from trimtab.training.rows import Rows

_SOURCE = ("data", "target", "group", "skip_unreadable")


# ---- rank 0 ----


@contextmanager
def reading_together(job: Job) -> Iterator[None]:
    """Let the other workers read what this one reads within the block; alone it does nothing."""
    team = current_team()
    if team is None:
        yield
        return
    if job.plan.engine != "torch":
        raise InputError(
            f"there are {team.worker.world_size} workers and engine is '{job.plan.engine}'",
            "torch, whose steps can be shared out",
            "pip install 'trimtab[train]', or leave --workers out",
        )
    if team.worker.attempt:
        job.warn("a worker was lost, and all were started again")
    elif team.may_meet_old_store:
        job.warn("restarts may fail: set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 where torchrun is started")
    source = {name: getattr(job.plan, name) for name in _SOURCE}
    team.tell("read", {"source": source, "image_size": job.plan.image_size})
    try:
        yield
    finally:
        team.mark_read()


def train_alone_or_together(job: Job, features: Features, recipe: Recipe, **rest: Any) -> Trained:
    """Train with all workers that there are; the parameters are those of `trimtab.training.loop.train`.

    Raises
    ------
    InputError
        If another worker cannot read the data, finds others there, or there are too many workers.
    """
    from trimtab.training.loop import train

    team = current_team()
    if team is None:
        recipe = replace(recipe, threads=threads_of_a_worker(recipe, None))
    arguments = str(job.plan.model), features.kwargs, features.training, features.validation, recipe
    if team is None:
        return train(*arguments, **rest)
    from trimtab.training.distributed.channel import send_arrays
    from trimtab.training.distributed.lead import train_together

    _check_reports(team, job)
    _check_workers(team, recipe, len(features.training))
    content = {"builder": arguments[0], "kwargs": features.kwargs, "recipe": asdict(recipe), "meta": features.meta}
    is_sharded = not _does_fit(features, arguments[0], recipe, team)
    team.tell("train", {**content, "is_sharded": is_sharded})
    targets = features.training.targets
    numbers = {"training": features.training_rows, "validation": features.validation_rows}
    send_arrays(numbers if targets is None else {**numbers, "targets": targets})
    trained = train_together(team, *arguments, is_sharded=is_sharded, **rest)
    team.dismiss()
    return trained


def _check_reports(team: Team, job: Job) -> None:
    expected = job.ledger.events("data")[-1]["content_hash"]
    for rank, report in enumerate(team.reports(), 1):
        if "error" in report:
            raise InputError(
                f"worker {rank} on {report['host']} cannot read the data ({report['error']})",
                "the data at the same path on every machine",
                "copy them there, or put them on a disk that all share",
            )
        if report["content_hash"] != expected:
            raise InputError(
                f"worker {rank} on {report['host']} finds other data at {job.plan.data}",
                "the same content on every machine",
                "copy them there, or put them on a disk that all share",
            )


def _check_workers(team: Team, recipe: Recipe, rows: int) -> None:
    from trimtab.training.distributed.share import check_enough

    try:
        check_enough(recipe, min(recipe.batch_size, rows), team.worker.world_size)
    except ValueError as error:
        given, expected, action = str(error).removesuffix(".").split("; ")
        raise InputError(given, expected.removeprefix("expected "), action) from error


def _does_fit(features: Features, builder: str, recipe: Recipe, team: Team) -> bool:
    from trimtab.models import measure_size
    from trimtab.training.distributed.memory import does_fit

    meta = features.meta
    shape = (meta["channels"], meta["image_size"], meta["image_size"]) if "channels" in meta else None
    size = measure_size(builder, features.kwargs, shape or (features.kwargs["in_features"],))
    return bool(recipe.shards) or does_fit(size.parameters, recipe, team.worker.local_world_size)


# ---- the others ----


def follow(team: Team) -> None:
    """Do what rank 0 says until it says stop.

    Raises
    ------
    WorkerLost
        If rank 0, or another worker, does not answer.
    """
    dataset: Dataset | None = None
    while message := team.hear():
        name, content = message
        if name == "read":
            dataset = _read(team, content)
        elif name == "train" and dataset is not None:
            _train(team, dataset, content)
        else:
            raise ValueError(f"rank 0 says '{name}'; expected read, then train; use one version everywhere.")


def _read(team: Team, content: dict[str, Any]) -> Dataset | None:
    """Return the data, or report why there are none."""
    source = content["source"]
    team.wait_until_read()
    try:
        dataset = open_source(source.pop("data"), **source).load(image_size=content["image_size"])
    except (TrimtabError, OSError) as error:
        team.report(error=str(error).split(";")[0])
        return None
    finally:
        if team.worker.local_rank == 0:
            team.mark_read()
    team.report(content_hash=dataset.content_hash)
    return dataset


def _train(team: Team, dataset: Dataset, content: dict[str, Any]) -> None:
    from trimtab.training.distributed import follow as obeying
    from trimtab.training.distributed.channel import receive_arrays

    numbers = receive_arrays()
    targets = numbers.pop("targets", None)
    parts = {name: rows_of(dataset, numbers[name], content["meta"]) for name in numbers}
    parts["training"] = replace(parts["training"], targets=targets)
    obeying.follow(
        team,
        content["builder"],
        content["kwargs"],
        parts["training"],
        parts["validation"],
        Recipe(**content["recipe"]),
        is_sharded=content["is_sharded"],
    )


def rows_of(dataset: Dataset, numbers: NDArray[np.int64], meta: dict[str, Any]) -> Rows:
    """Return some rows as the network reads them, encoded as ``meta``, of a `Features`, says."""
    from trimtab.training.rows import Rows

    labels, count = dataset.labels[numbers], len(meta["class_names"])
    if dataset.images is not None:
        return Rows.of(dataset.images, labels, numbers=numbers, num_classes=count, mean=meta["mean"], std=meta["std"])
    encoder = TableEncoder.from_dict(meta["encoder"])
    return Rows.of(encoder.encode(table_of(dataset).take(numbers)), labels, num_classes=count)
