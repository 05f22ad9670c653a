"""Real data that scikit-learn carries: nothing is downloaded."""

from __future__ import annotations

import numpy as np

from trimtab.data.arrays import image_source
from trimtab.data.dataset import Source
from trimtab.data.features import select_features
from trimtab.data.labels import read_labels
from trimtab.data.tables import table_source

BUILTINS = ("breast_cancer", "digits", "wine")


def open_builtin(name: str) -> Source:
    """Return the source for a built-in set.

    Raises
    ------
    KeyError
        If there is none of that name.
    """
    from sklearn import datasets

    if name not in BUILTINS:
        raise KeyError(name)
    bunch = getattr(datasets, f"load_{name}")()
    class_names = [str(label) for label in bunch.target_names]
    labels = read_labels([class_names[number] for number in bunch.target], where=name, order=class_names)
    if name == "digits":
        images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
        return image_source(name=name, images=images, labels=labels)
    columns = {str(column): bunch.data[:, position] for position, column in enumerate(bunch.feature_names)}
    table, warnings = select_features(columns, origin=name)
    return table_source(name=name, table=table, labels=labels, warnings=warnings)
