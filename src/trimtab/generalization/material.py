"""The rows of a run's two open parts as trials need them, and what a training on them is made of.

Legend: ``N`` validation rows, ``M`` watched training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.temperature import deal_folds
from trimtab.generalization.evidence import FOLDS
from trimtab.training.recipe import Recipe
from trimtab.training.rows import Rows

IntArray = NDArray[np.int64]

_WATCHED_LEAST = 200  # training rows, or as many as there are validation rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """What a training is made of besides its rows."""

    builder: str
    kwargs: Mapping[str, Any]
    recipe: Recipe


SetupOf = Callable[[Mapping[str, Any]], Setup]
"""From fields of a plan that differ from the run's to the setup of a training."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """The rows of the trials, all in one array.

    Attributes
    ----------
    training, validation
        Rows that share their array of inputs.
    watched
        int64 [M], places in ``training`` of the rows whose answers are recorded, too.
    folds
        int64 [N], of the validation rows.
    units
        int64 [N], the independent unit of each validation row; ``None`` when each row is one.
    """

    training: Rows
    validation: Rows
    watched: IntArray
    folds: IntArray
    units: IntArray | None

    @classmethod
    def of(
        cls, training: Rows, validation: Rows, *, seed: int, groups: NDArray[Any] | None = None, folds: int = FOLDS
    ) -> Material:
        """Return the material of a run's two open parts.

        Parameters
        ----------
        training, validation
            As the run had them.
        seed
            Of the folds and of the choice of watched rows.
        groups
            [N], of the validation rows, where rows of a group are not independent.
        folds
            How many the validation rows are dealt into.
        """
        if not training.are_pictures:  # two arrays of their own; pictures lie in one file
            inputs = np.concatenate([training.inputs[training.numbers], validation.inputs[validation.numbers]])
            count = len(training)
            training = replace(training, inputs=inputs, numbers=np.arange(count))
            validation = replace(validation, inputs=inputs, numbers=np.arange(count, len(inputs)))
        units = None if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int64)
        rng = np.random.default_rng((seed, 6))
        watched = rng.permutation(len(training))[: max(_WATCHED_LEAST, len(validation))]
        dealt = deal_folds(validation.labels, units, count=folds, rng=rng)
        return cls(training=training, validation=validation, watched=np.sort(watched), folds=dealt, units=units)

    def unwatched(self) -> Material:
        """Return the same without watched rows, so that validation rows alone decide what patience does."""
        return replace(self, watched=np.zeros(0, np.int64))

    def part(self, places: IntArray) -> Rows:
        """Return some of the training rows, by their places."""
        rows = self.training
        return replace(rows, numbers=rows.numbers[places], labels=rows.labels[places])

    def answering(self, places: IntArray) -> Rows:
        """Return the validation rows, followed by some training rows: those whose answers are recorded."""
        own = self.part(places)
        return replace(
            self.validation,
            inputs=self.training.inputs,
            numbers=np.concatenate([self.validation.numbers, own.numbers]),
            labels=np.concatenate([self.validation.labels, own.labels]),
        )
