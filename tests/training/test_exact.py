import numpy as np
import pytest

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.models import build
from trimtab.training.exact import exact_probabilities
from trimtab.training.rows import Rows
from trimtab.training.stepper import predict_probabilities


@pytest.fixture(scope="module")
def artifact():
    kwargs = {"in_features": 6, "hidden": [16, 8], "num_classes": 3}
    network = build(numpy_nn, "mlp", kwargs).reset_parameters(np.random.default_rng(0))
    return Artifact(builder="mlp", kwargs=kwargs, arrays=network.state_dict(), meta={"kind": "table"})


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(1).random((5000, 6), dtype=np.float32)


def test_they_are_those_of_the_engine(artifact, inputs):
    rows = Rows.of(inputs, np.zeros(len(inputs), np.int64), num_classes=3)
    engine = predict_probabilities(artifact, rows, engine="numpy", threads=1)
    exact = exact_probabilities(artifact, inputs)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(exact, engine, atol=1e-6)
    np.testing.assert_allclose(exact.sum(1), 1, rtol=1e-14)


def test_a_row_has_the_same_ones_whatever_stands_beside_it(artifact, inputs):
    together = exact_probabilities(artifact, inputs)
    for row in (0, 1, 2047, 2048, 4999):
        alone = exact_probabilities(artifact, inputs[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-13)


def test_no_rows_have_none(artifact, inputs):
    assert exact_probabilities(artifact, inputs[:0]).shape == (0, 3)
