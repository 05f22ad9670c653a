"""A trained run with its data, and what its network says about the validation rows: to examine it, or to shrink it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.console import Console
from trimtab.data import Dataset, Source, Split
from trimtab.directory import RunDirectory
from trimtab.errors import InputError, IntegrityError
from trimtab.evaluation.temperature import TemperatureChoice, apply_temperature
from trimtab.ledger import Ledger
from trimtab.plan import Plan
from trimtab.planning import Facts
from trimtab.stages.features import features_of
from trimtab.stages.job import Features


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A trained run with its data, and what its network says about the validation rows.

    Attributes
    ----------
    directory, ledger, plan, facts
        Of the run.
    dataset, split, features
        Read again; the same content.
    artifact
        The trained network, with the temperature that was delivered.
    probabilities
        float [N, K] for the validation rows, with the temperature that was delivered.
    """

    directory: RunDirectory
    ledger: Ledger
    plan: Plan
    facts: Facts
    dataset: Dataset
    split: Split
    features: Features
    artifact: Artifact
    probabilities: NDArray[np.floating]

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Of the validation rows, where there are any."""
        return None if self.dataset.groups is None else self.dataset.groups[self.split.validation]

    @property
    def units(self) -> int:
        """How many validation rows, or groups of them, are independent."""
        return len(self.features.validation) if self.groups is None else len(np.unique(self.groups))

    @property
    def wrong(self) -> int:
        """Validation rows that are predicted wrong."""
        return int((self.probabilities.argmax(axis=1) != self.features.validation.labels).sum())

    @property
    def trained(self) -> dict[str, Any]:
        """What the ledger says of the training."""
        return self.ledger.events("trained")[-1]

    @property
    def steps(self) -> int:
        """That the run trained for."""
        return int(self.trained["corrections"][-1]["total_steps"])


def open_case(directory: RunDirectory, plan: Plan, facts: Facts, source: Source, console: Console) -> Case:
    """Read the data of a finished run again and predict its validation rows.

    Raises
    ------
    InputError
        If the data changed since the run.
    IntegrityError
        If the trained network is not the one that was written.
    """
    from trimtab.training.stepper import predict_probabilities

    ledger, split = Ledger(directory.ledger), Split.load(directory.data / "split")
    dataset = source.load(image_size=plan.image_size, progress=console.shows_bars)
    if dataset.content_hash != split.data_hash:
        raise InputError(
            f"the data at {plan.data} changed since {directory.path} was made",
            "the same content",
            "restore the data, or run again and diagnose that run",
        )
    features = features_of(plan, facts, dataset, split.train, split.validation)
    artifact = Artifact.load(directory.model)
    if artifact.sha256 != ledger.events("trained")[-1]["weights_sha256"]:
        raise IntegrityError(
            f"{directory.model} is not the network that was trained", "the hash that the ledger holds", "run again"
        )
    native = predict_probabilities(artifact, features.validation, engine=str(plan.engine), threads=plan.threads or 1)
    choice = calibration_of(ledger)
    temperature = choice.temperature if choice else 1.0
    own = {} if temperature == 1 else {"temperature": temperature}
    return Case(
        directory=directory,
        ledger=ledger,
        plan=plan,
        facts=facts,
        dataset=dataset,
        split=split,
        features=features,
        artifact=replace(artifact, meta={**artifact.meta, **own}),
        probabilities=apply_temperature(native, temperature),
    )


def calibration_of(ledger: Ledger) -> TemperatureChoice | None:
    """Return what the run found out about a temperature; ``None`` when it did not try one."""
    events = ledger.events("calibrated")
    return TemperatureChoice.from_dict(events[-1]) if events else None
