"""Gradients of a trained network: the same in both engines, and nothing is trained."""

import numpy as np
import pytest

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.models import build
from trimtab.training.gradients import loss_gradients
from trimtab.training.rows import Rows

KWARGS = {"in_channels": 1, "image_size": 8, "channels": [4, 8], "num_classes": 3}


@pytest.fixture
def artifact():
    network = build(numpy_nn, "cnn", KWARGS)
    network.reset_parameters(np.random.default_rng(0))
    return Artifact(builder="cnn", kwargs=KWARGS, arrays=network.state_dict())


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    return Rows.of(images, rng.integers(0, 3, 300), num_classes=3, mean=[0.5], std=[0.25])


def test_engines_agree(artifact, rows):
    both = [list(loss_gradients(artifact, rows, engine=engine, threads=1)) for engine in ("numpy", "torch")]
    assert [len(each) for each in both] == [2, 2]  # of 300 rows, batches of 128
    for ours, theirs in zip(*both, strict=True):
        assert set(ours) == set(theirs)
        for key, gradient in ours.items():
            np.testing.assert_allclose(gradient, theirs[key], rtol=1e-3, atol=1e-5)


def test_weights_do_not_change_and_batches_differ(artifact, rows):
    before = artifact.sha256
    first, second = loss_gradients(artifact, rows, engine="numpy", threads=1)
    assert artifact.sha256 == before
    assert not np.allclose(first["0.0.weight"], second["0.0.weight"])


def test_as_many_batches_as_asked_for_but_one_at_least(artifact, rows):
    assert len(list(loss_gradients(artifact, rows, engine="numpy", threads=1, batches=1))) == 1
    assert len(list(loss_gradients(artifact, rows.first(20), engine="numpy", threads=1))) == 1
