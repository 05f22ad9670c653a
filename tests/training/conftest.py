import dataclasses

import numpy as np
import pytest

from trimtab.training import ENGINES, Recipe
from trimtab.training.batches import Rows

RECIPE = Recipe(
    engine="torch",
    steps=40,
    epochs_at_most=50,
    batch_size=16,
    optimizer="adamw",
    learning_rate=0.01,
    weight_decay=0.01,
    schedule="one-cycle",
    label_smoothing=0.0,
    augment="light",
    precision="float32",
    patience=0,
    threads=2,
    seed=3,
)
CNN = ("cnn", {"in_channels": 1, "image_size": 8, "channels": [8, 16], "num_classes": 3, "dropout": 0.2})


def make_recipe(**changes):
    return dataclasses.replace(RECIPE, **changes)


def make_pictures(count: int, seed: int) -> Rows:
    """Pictures 8 x 8 whose class is the third of the picture that is bright."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    pictures = random.integers(0, 90, (count, 8, 8, 1), dtype=np.uint8)
    for index, label in enumerate(labels):
        pictures[index, :, 3 * label : 3 * label + 2] += 120
    return Rows.of(pictures, labels, mean=[0.3], std=[0.2])


@pytest.fixture(scope="session")
def pictures():
    return make_pictures(160, 0), make_pictures(60, 1)


@pytest.fixture(scope="session")
def network():
    return CNN


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture
def recipe():
    return make_recipe
