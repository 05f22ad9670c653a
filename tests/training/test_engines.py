"""Both engines do the same: batches, steps, predictions; torch is the oracle."""

import numpy as np
import pytest
import torch

from trimtab.artifact import Artifact
from trimtab.training import OPTIMIZERS
from trimtab.training.batches import Batches, Rows
from trimtab.training.stepper import make_stepper, predict_probabilities, using_threads

NETWORKS = {
    "cnn": {"in_channels": 1, "image_size": 8, "channels": [8, 16], "num_classes": 3},
    "separable_cnn": {"in_channels": 1, "image_size": 8, "channels": [8, 16], "num_classes": 3},
    "resnet": {"in_channels": 1, "image_size": 8, "channels": [8, 16], "num_classes": 3, "depth": 3},
    "vit": {"in_channels": 1, "image_size": 8, "num_classes": 3, "width": 16, "depth": 2, "heads": 2, "patch": 2},
    "mlp": {"in_features": 5, "hidden": [16, 8], "num_classes": 3},
}


@pytest.fixture(params=NETWORKS)
def case(request, pictures):
    """A builder's name, its arguments without dropout, and rows for it."""
    random = np.random.default_rng(0)
    table = Rows.of(random.standard_normal((160, 5), dtype=np.float32), random.integers(0, 3, 160))
    return request.param, NETWORKS[request.param], table if request.param == "mlp" else pictures[0]


def recorded(stepper, monkeypatch):
    """Return a list that fills with what the stepper's network is given."""
    seen = []
    if hasattr(stepper, "model"):
        stepper.model.register_forward_pre_hook(lambda model, inputs: seen.append(inputs[0].numpy().copy()))
    else:
        forward = stepper.network.forward
        monkeypatch.setattr(stepper.network, "forward", lambda x: seen.append(x.copy()) or forward(x))
    return seen


def test_both_engines_get_the_same_batches(pictures, network, recipe, monkeypatch):
    given = []
    for engine in ("torch", "numpy"):
        stepper = make_stepper(*network, pictures[0], recipe(engine=engine))
        given.append(recorded(stepper, monkeypatch))
        for step in (0, 1, 12):
            stepper.step(step, 0.001)
    for one, other in zip(*given, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(given[0][2], Batches(pictures[0], recipe()).at(12)[0])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_step_of_both_engines_from_the_same_weights_is_nearly_the_same(case, recipe, optimizer):
    builder, kwargs, rows = case
    settings = {"optimizer": optimizer, "label_smoothing": 0.1, "augment": "none" if builder == "mlp" else "light"}
    steppers = [make_stepper(builder, kwargs, rows, recipe(engine=engine, **settings)) for engine in ("torch", "numpy")]
    steppers[1].load_weights(steppers[0].weights())
    losses = [stepper.step(0, 0.01) for stepper in steppers]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    theirs, ours = (stepper.weights() for stepper in steppers)
    assert theirs.keys() == ours.keys()
    trained = {name: entry for name, entry in steppers[0].model.named_parameters() if entry.requires_grad}
    slopes = {name: entry.grad.numpy() for name, entry in trained.items()}
    for key in theirs:
        # AdamW's first step is the sign of the gradient: where that is nothing but rounding, the sign is chance.
        # Under Muon, AdamW moves what is no matrix.
        is_sure = np.abs(slopes[key]) > 1e-5 if optimizer != "sgd" and key in slopes else ...
        np.testing.assert_allclose(ours[key][is_sure], theirs[key][is_sure], rtol=1e-4, atol=1e-6, err_msg=key)


def test_both_engines_predict_nearly_the_same(case, recipe):
    builder, kwargs, rows = case
    stepper = make_stepper(builder, kwargs, rows, recipe())
    for step in range(3):
        stepper.step(step, 0.01)
    artifact = Artifact(builder=builder, kwargs=kwargs, arrays=stepper.weights())
    given = rows.inputs.copy()
    theirs, ours = (predict_probabilities(artifact, rows, engine=engine, threads=2) for engine in ("torch", "numpy"))
    assert theirs.dtype == ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(ours.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(rows.inputs, given)


def test_a_saved_artifact_predicts_as_before(case, recipe, engine, tmp_path):
    builder, kwargs, rows = case
    stepper = make_stepper(builder, kwargs, rows, recipe(engine=engine))
    stepper.step(0, 0.01)
    artifact = Artifact(builder=builder, kwargs=kwargs, arrays=stepper.weights())
    artifact.save(tmp_path / "model")
    before, after = (
        predict_probabilities(entry, rows, engine=engine, threads=1)
        for entry in (artifact, Artifact.load(tmp_path / "model"))
    )
    np.testing.assert_array_equal(before, after)


def test_a_trial_changes_nothing(case, recipe, engine):
    builder, kwargs, rows = case
    stepper = make_stepper(builder, kwargs, rows, recipe(engine=engine))
    before = stepper.weights()
    twin = stepper.copy(stepper.mode)
    twin.step(0, 0.01)
    for key, array in stepper.weights().items():
        np.testing.assert_array_equal(array, before[key])
    assert any((array != before[key]).any() for key, array in twin.weights().items())


def test_the_number_of_threads_is_given_back():
    before = torch.get_num_threads()
    with using_threads("torch", before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_numpy_refuses_what_it_does_not_compute_in(pictures, network, recipe):
    with pytest.raises(ValueError, match="precision is 'bfloat16' with engine 'numpy'; expected float32; change one"):
        make_stepper(*network, pictures[0], recipe(engine="numpy", precision="bfloat16"))


def test_an_unknown_engine_is_refused(pictures, network, recipe):
    with pytest.raises(ValueError, match=r"there is no engine 'jax'; expected one of torch, numpy; pick one\."):
        make_stepper(*network, pictures[0], recipe(engine="jax"))
