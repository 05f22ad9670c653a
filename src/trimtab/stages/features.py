"""From rows of a dataset to what a network reads; the preprocessing is fitted on the training rows alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset, TableEncoder
from trimtab.errors import InputError
from trimtab.planning import model_kwargs
from trimtab.stages.job import Features, table_of

if TYPE_CHECKING:
    from trimtab.plan import Plan
    from trimtab.planning import Facts

RowNumbers = NDArray[np.int64]


def features_of(
    plan: Plan, facts: Facts, dataset: Dataset, training_rows: RowNumbers, other_rows: RowNumbers
) -> Features:
    """Return what the network reads of two parts of a dataset, and the preprocessing fitted on the first.

    Parameters
    ----------
    plan, facts
        Resolved, and what it was resolved from.
    dataset
        Decoded.
    training_rows, other_rows
        int64, numbers of its rows; the other ones validate.

    Raises
    ------
    InputError
        If no column of a table varies within the training rows.
    """
    from trimtab.training.batches import Rows, channel_statistics

    meta: dict[str, Any] = {"kind": dataset.kind, "class_names": list(dataset.class_names)}
    rows = {"training": training_rows, "validation": other_rows}
    labels = {part: dataset.labels[index] for part, index in rows.items()}
    make_rows = partial(Rows.of, num_classes=len(dataset.class_names))
    if dataset.images is not None:
        images = dataset.images  # as it lies on the disk: the parts are numbers of its rows
        mean, std = channel_statistics(images, training_rows)
        meta |= {"image_size": images.shape[1], "channels": images.shape[3], "mean": mean, "std": std}
        parts = {
            name: make_rows(images, labels[name], numbers=index, mean=mean, std=std) for name, index in rows.items()
        }
        kwargs = model_kwargs(plan, facts)
    else:
        table = table_of(dataset)
        encoder = TableEncoder.fit(table, training_rows)
        if encoder.num_features == 0:
            raise InputError(
                f"no column of {dataset.name} varies within the {len(training_rows):,} training rows",
                "at least one column with different values",
                "look for a mistake in the file, or give more rows",
            )
        meta |= {"encoder": encoder.to_dict(), "target": plan.target}
        parts = {name: make_rows(encoder.encode(table.take(rows[name])), labels[name]) for name in rows}
        kwargs = model_kwargs(plan, facts, in_features=encoder.num_features)
    return Features(
        training=parts["training"],
        validation=parts["validation"],
        training_rows=training_rows,
        validation_rows=other_rows,
        meta=meta,
        kwargs=kwargs,
    )
