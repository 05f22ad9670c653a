"""From data to a trained artifact: announce, read, divide, encode, train."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.artifact import Artifact
from trimtab.data import Dataset, Split, make_split
from trimtab.data.audits import find_copies
from trimtab.errors import InputError
from trimtab.interrupt import interruptible
from trimtab.plan import hash_plan
from trimtab.stages.auditing import audit_split, tell_copies
from trimtab.stages.features import features_of
from trimtab.stages.following import reading_together, train_alone_or_together
from trimtab.stages.job import Features, Job, describe_data, mode_of
from trimtab.stages.reserve import Reserve
from trimtab.storage import write_json, write_text
from trimtab.training import LOGICAL_SHARDS, Recipe
from trimtab.training.distributed import current_team

if TYPE_CHECKING:
    from trimtab.training.loop import Trained
    from trimtab.training.mode import Mode
    from trimtab.training.probe import Probe
    from trimtab.training.watch import HistoryRow


def announce(job: Job) -> None:
    """Say what is about to happen, and write the decisions down."""
    plan, facts = job.plan, job.facts
    job.ledger.append(
        "started",
        is_resumed=job.is_resumed,
        seconds_before=round(job.seconds(), 3),
        plan_sha256=hash_plan(plan),
        replay_of=job.replay.run if job.replay else None,
        replay=job.replay.to_dict() if job.replay else None,
        **({} if job.purpose is None else {"purpose": job.purpose}),
    )
    job.console.stage("data", describe_data(job))
    for text in job.source.warnings:
        job.warn(text)
    limits = [f"{plan.minutes:g} minutes"] if plan.minutes else []
    limits += [f"{plan.megabytes:g} MB"] if plan.megabytes else []
    limits += [f"{plan.milliseconds:g} ms"] if plan.milliseconds else []
    options = ", ".join(f"{key} {value}" for key, value in plan.options.items())
    size = f" on {plan.image_size} x {plan.image_size} pixels" if facts.kind == "image" else ""
    job.console.stage("plan", f"{plan.model} ({options}){size} within {', '.join(limits)}")
    if "model" in job.reasons:
        job.console.note(job.reasons["model"])
    if plan.engine == "numpy" and "engine" in job.reasons:
        job.console.note(f"trained by the NumPy engine: {job.reasons['engine']}")
    team = current_team()
    if team is not None:
        job.console.note(f"{team.worker.world_size} workers share each step")
    for name, reason in job.reasons.items():
        value = getattr(plan, name)
        job.ledger.append("decision", name=name, value=value, reason=reason)
    if job.replay:
        job.console.note(f"repeats {job.replay.run} step by step; the clock does not stop it")
    if job.is_resumed:
        job.console.stage("resume", f"{job.directory.path} holds {job.seconds():.0f} s of work; going on")


def read(job: Job) -> Dataset:
    """Decode the data, or take it from the cache."""
    with reading_together(job):
        dataset = job.source.load(image_size=job.plan.image_size, progress=job.console.shows_bars)
    for text in dataset.warnings:
        if text not in job.warnings:
            job.warn(text)
    earlier = job.ledger.events("data")
    if earlier and earlier[-1]["content_hash"] != dataset.content_hash:
        raise InputError(
            f"the data changed since {job.directory.path} was started",
            "the same content, to continue that run",
            "give another directory with --out",
        )
    if job.replay and job.replay.content_hash != dataset.content_hash:
        job.warn(f"the data changed since {job.replay.run}: this run is trained anew, not a repetition")
        job.replay = None
    job.ledger.append("data", content_hash=dataset.content_hash, rows=len(dataset))
    job.console.stage("read", f"{len(dataset):,} rows ready")
    return dataset


def divide(job: Job, dataset: Dataset) -> Split:
    """Divide the rows into training, validation and the sealed test part, copies of a row with that row."""
    directory = job.directory.data / "split"
    if (directory / "split.json").exists():  # written last
        split = Split.load(directory)
        split.check_sealed(job.ledger)
        copies = None
    else:
        copies = find_copies(dataset)
        job.copies = copies.numbers
        split = make_split(
            dataset,
            validation_fraction=job.plan.validation_fraction or 0.15,
            test_fraction=job.plan.test_fraction or 0.15,
            seed=job.plan.seed,
            copies=copies.numbers,
        )
        audit_split(job, dataset, split, copies)
        split.save(directory)
    split.note_seal(job.ledger)
    job.console.stage(
        "split", f"{len(split.train):,} train, {len(split.validation):,} validation, {split.test_count:,} test (sealed)"
    )
    if copies is not None:
        tell_copies(job, dataset, split, copies)
    return split


def encode(job: Job, dataset: Dataset, split: Split) -> Features:
    """Fit the preprocessing on the training rows and apply it to both open parts."""
    features = features_of(job.plan, job.facts, dataset, split.train, split.validation)
    schema = {**features.meta, "content_hash": dataset.content_hash, "name": dataset.name}
    write_json(job.directory.data / "schema.json", schema)
    return features


def train_model(job: Job, features: Features, split: Split) -> Artifact:
    """Train, or take the weights of an earlier attempt that got this far."""
    from trimtab.training.watch import Watch

    if job.directory.model.exists():
        job.console.stage("training", "done by an earlier attempt")
        return Artifact.load(job.directory.model)
    recipe = recipe_of(job)
    reserve = Reserve(job, features, split)
    job.ledger.append("reserved", seconds=round(reserve.seconds(), 1), purpose="what comes after training")
    _save_first_batch(job, features, recipe)
    rows: list[HistoryRow] = []
    with interruptible(job.console) as wants_to_stop:
        trained = train_alone_or_together(
            job,
            features,
            recipe,
            watch=Watch(
                seconds_left=lambda: job.seconds_left() - reserve.seconds(),
                wants_to_stop=wants_to_stop,
                on_step=job.console.step,
                on_epoch=lambda row: _note_epoch(job, rows, row),
                on_correction=lambda correction: job.ledger.append("schedule_corrected", **asdict(correction)),
                on_probe=lambda trial: _note_probe(job, trial),
                on_resume=lambda history, step: _note_resume(job, rows, history, step),
                seconds_spent=job.seconds,
                budget_left=job.seconds_left,
            ),
            checkpoints=job.directory.checkpoints,
            replay=job.replay.corrections if job.replay else None,
            mode=_decided_mode(job),
        )
    artifact = Artifact(
        builder=str(job.plan.model),
        kwargs=features.kwargs,
        arrays=trained.arrays,
        meta=features.meta | ({} if job.plan.test_time == "none" else {"test_time": job.plan.test_time}),
    )
    _note_trained(job, artifact, trained, reserve)
    artifact.save(job.directory.model)
    return artifact


def recipe_of(job: Job) -> Recipe:
    """Return the training room's settings of the resolved plan, in a precision that this processor can multiply."""
    plan = job.plan
    names = Recipe.__dataclass_fields__.keys() - {"shards", "rounding"}
    shards = LOGICAL_SHARDS if plan.deterministic and plan.engine == "torch" else 0  # NumPy has one worker anyway
    recipe = Recipe(**{name: getattr(plan, name) for name in names}, shards=shards)
    if recipe.precision != "bfloat16" or job.facts.has_bfloat16:
        return recipe
    job.warn("this processor has no instructions for bfloat16, without which it is many times slower: float32 is used")
    return replace(recipe, precision="float32")


def _save_first_batch(job: Job, features: Features, recipe: Recipe) -> None:
    """Save the first batch as the network sees it, augmentation and all."""
    from trimtab.training.batches import first_batch

    if features.meta["kind"] == "image":
        from trimtab.report import save_grid

        save_grid(first_batch(features.training, recipe), job.directory.data / "first_batch.png")


def _note_epoch(job: Job, rows: list[HistoryRow], row: HistoryRow) -> None:
    rows.append(row)
    job.console.epoch(row)
    write_history(rows, job.directory.history)


def write_history(rows: Sequence[HistoryRow], path: Path) -> None:
    """Write the history of a training, one row at least, as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _decided_mode(job: Job) -> Mode | None:
    """Return the mode of the run that is repeated, or that an earlier attempt's probe decided on."""
    if job.replay:
        return job.replay.mode
    probes = job.ledger.events("probe")
    return mode_of(probes[-1]) if probes else None


def _note_probe(job: Job, trial: Probe) -> None:
    job.ledger.append("probe", **asdict(trial))
    job.console.note(f"{trial.mode}: {trial.reason}")


def _note_resume(job: Job, rows: list[HistoryRow], history: list[HistoryRow], step: int) -> None:
    rows.extend(history)
    job.ledger.append("resumed", step=step)
    job.console.note(f"from the checkpoint after step {step}")


def _note_trained(job: Job, artifact: Artifact, trained: Trained, reserve: Reserve) -> None:
    job.ledger.append(
        "trained",
        seconds=round(trained.seconds, 3),
        corrections=[asdict(correction) for correction in trained.corrections],
        reserved_seconds=round(reserve.seconds(), 1),
        stepping_seconds=round(trained.stepping_seconds, 3),
        mode=asdict(trained.mode),
        weights_sha256=artifact.sha256,
    )
    steps = trained.corrections[-1].total_steps
    job.console.stage("trained", f"{steps:,} steps in {trained.seconds:.0f} s; {trained.ending}")
    if job.replay:
        is_same = artifact.sha256 == job.replay.weights_sha256
        job.ledger.append("replayed", run=job.replay.run, is_identical=is_same)
        if is_same:
            job.console.note(f"the weights are those of {job.replay.run}, bit for bit")
        else:
            job.warn(f"the weights differ from those of {job.replay.run}: another machine, or other versions")
