"""Preprocessing fitted on some rows and applied to these and to others; nothing is decoded again."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset, TableEncoder
from trimtab.errors import InputError
from trimtab.plan import Plan
from trimtab.planning import Facts, model_kwargs
from trimtab.stages.job import Features, table_of


def features_of(
    plan: Plan,
    facts: Facts,
    dataset: Dataset,
    training_rows: NDArray[np.int64],
    other_rows: NDArray[np.int64],
) -> Features:
    """Return what the network reads of two parts: the preprocessing is fitted on the first one.

    Parameters
    ----------
    plan, facts
        Resolved, and what it was resolved from.
    dataset
        Its pictures are shared, not copied.
    training_rows, other_rows
        Row numbers, int64, increasing.

    Raises
    ------
    InputError
        If no column varies within the training rows.
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
        parts = {name: make_rows(encoder.encode(table.take(index)), labels[name]) for name, index in rows.items()}
        kwargs = model_kwargs(plan, facts, in_features=encoder.num_features)
    return Features(
        training=parts["training"],
        validation=parts["validation"],
        training_rows=training_rows,
        validation_rows=other_rows,
        meta=meta,
        kwargs=kwargs,
    )
