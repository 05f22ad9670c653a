"""Pruning: what was cut is only what was silenced, and each importance finds what it should."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.compression.prune import choose_kept, magnitudes, masked, narrower_widths, pruned, scales, taylor
from trimtab.models import build, measure_size
from trimtab.models.channels import find_channels, widths_of

MODELS = ["cnn", "separable_cnn", "resnet", "vit", "mlp"]


def answers(artifact: Artifact) -> np.ndarray:
    network = build(numpy_nn, artifact.builder, artifact.kwargs).eval()
    counters = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
    network.load_state_dict(counters | artifact.arrays)
    shape = (5, artifact.kwargs["in_features"]) if artifact.builder == "mlp" else (5, 3, 16, 16)
    return network(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def random_scores(artifact: Artifact) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.random(channels.width) for channels in find_channels(artifact.builder, artifact.kwargs)]


@pytest.mark.parametrize("name", MODELS)
def test_pruned_network_gives_the_answers_of_the_masked_one(name: str, examples: SimpleNamespace) -> None:
    artifact = examples.artifacts[name]
    widths = narrower_widths(name, artifact.kwargs, 0.5)
    kept = choose_kept(name, artifact.kwargs, random_scores(artifact), widths)
    narrow, silenced = pruned(artifact, kept), masked(artifact, kept)
    np.testing.assert_allclose(answers(narrow), answers(silenced), rtol=0, atol=1e-5)
    assert np.abs(answers(silenced) - answers(artifact)).max() > 1e-2, "silencing nothing would prove nothing"
    assert widths_of(name, narrow.kwargs) == widths


def test_half_the_channels_cost_a_quarter_of_the_multiplications(examples: SimpleNamespace) -> None:
    artifact = examples.artifacts["cnn"]
    widths = narrower_widths("cnn", artifact.kwargs, 0.5)
    narrow = pruned(artifact, choose_kept("cnn", artifact.kwargs, magnitudes(artifact), widths))
    before, after = (measure_size("cnn", each.kwargs, (3, 16, 16)) for each in (artifact, narrow))
    assert before.macs > 3.5 * after.macs
    assert before.parameters > 3.5 * after.parameters


def test_pruning_leaves_the_network_that_it_was_given(examples: SimpleNamespace) -> None:
    artifact = examples.artifacts["cnn"]
    before = artifact.sha256
    kept = choose_kept("cnn", artifact.kwargs, magnitudes(artifact), narrower_widths("cnn", artifact.kwargs, 0.5))
    pruned(artifact, kept), masked(artifact, kept)
    assert artifact.sha256 == before


def test_widths_are_multiples_of_eight_where_they_are_large() -> None:
    kwargs = {"in_channels": 3, "image_size": 16, "channels": [6, 24, 48, 100], "num_classes": 4}
    assert list(narrower_widths("cnn", kwargs, 0.5).values()) == [4, 12, 24, 48]
    assert narrower_widths("cnn", kwargs, 1.0) == widths_of("cnn", {**kwargs, "channels": [6, 24, 48, 96]}) | {
        ("channels", 3): 96
    }


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="expected above 0 and at most 1"):
        narrower_widths("mlp", {"in_features": 3, "hidden": [8], "num_classes": 2}, share)


@pytest.mark.parametrize("width", [0, 13])
def test_width_out_of_range_is_refused(width: int) -> None:
    kwargs = {"in_features": 3, "hidden": [12], "num_classes": 2}
    with pytest.raises(ValueError, match="expected 1 to 12"):
        choose_kept("mlp", kwargs, [np.ones(12)], {("hidden", 0): width})


# ---- importance ----


def small() -> Artifact:
    """A perceptron of one hidden layer of three: normalization makes the filters (3, 1, 2) times as strong."""
    arrays: dict[str, Any] = {
        "0.weight": np.array([[1.0, 0], [0, 1], [0, 1]]),
        "0.bias": np.zeros(3),
        "1.weight": np.array([3.0, -1, 2]),
        "1.bias": np.zeros(3),
        "1.running_mean": np.zeros(3),
        "1.running_var": np.ones(3),
        "4.weight": np.array([[1.0, 2, 0], [1, -2, 1]]),
        "4.bias": np.zeros(2),
    }
    kwargs = {"in_features": 2, "hidden": [3], "num_classes": 2}
    return Artifact(
        builder="mlp", kwargs=kwargs, arrays={key: array.astype(np.float32) for key, array in arrays.items()}
    )


def test_magnitude_is_that_of_the_filter_behind_its_normalization() -> None:
    np.testing.assert_allclose(magnitudes(small())[0], np.array([3, 1, 2]) / 2, rtol=1e-4)


def test_magnitude_takes_the_running_variance_into_account() -> None:
    artifact = small()
    artifact.arrays["1.running_var"][:] = [9, 1, 4]
    np.testing.assert_allclose(magnitudes(artifact)[0], [1, 1, 1], rtol=1e-4)


def test_scales_are_those_of_the_normalization() -> None:
    np.testing.assert_allclose(scales(small())[0], np.array([3, 1, 2]) / 2)


def test_scales_are_refused_where_there_are_none(examples: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="expected batch normalization"):
        scales(examples.artifacts["resnet"])


def test_taylor_score_is_the_squared_first_order_change_of_the_loss() -> None:
    first = {"4.weight": np.array([[1.0, 0, 5], [1, 0, 0]])}
    second = {"4.weight": np.array([[-2.0, 1, 0], [-2, 0, 1]])}
    np.testing.assert_allclose(taylor(small(), [first, second])[0], [(2**2 + 4**2) / 2, (0 + 2**2) / 2, (0 + 1) / 2])


def test_taylor_score_foretells_the_change_of_the_loss(examples: SimpleNamespace) -> None:
    """A channel that is made a little weaker changes the loss by the square root of its score, to first order."""
    artifact = examples.artifacts["cnn"]
    network = build(numpy_nn, "cnn", artifact.kwargs).eval()
    network.load_state_dict(network.state_dict() | artifact.arrays)
    inputs = np.random.default_rng(3).standard_normal((16, 3, 16, 16)).astype(np.float32)
    labels = np.arange(16) % 4

    def loss() -> float:
        return float(numpy_nn.cross_entropy(network(inputs), labels)[0])

    network.zero_grad()
    value, gradient = numpy_nn.cross_entropy(network(inputs), labels)
    network.backward(gradient)
    gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
    score = taylor(artifact, [gradients])[0]
    channel, weights = int(score.argmax()), dict(network.named_parameters())
    for key in find_channels("cnn", artifact.kwargs)[0].readers:
        weights[key].data[:, channel] *= 0.99
    assert (loss() - float(value)) ** 2 == pytest.approx(score[channel] * 0.01**2, rel=0.1)


def test_taylor_score_needs_a_batch() -> None:
    with pytest.raises(ValueError, match="expected those of one batch or more"):
        taylor(small(), [])


def test_the_most_important_channels_stay_in_their_order() -> None:
    artifact = small()
    kept = choose_kept("mlp", artifact.kwargs, magnitudes(artifact), {("hidden", 0): 2})
    assert kept[0].tolist() == [0, 2]
    narrow = pruned(artifact, kept)
    np.testing.assert_array_equal(narrow.arrays["4.weight"], [[1, 0], [1, 1]])
    np.testing.assert_array_equal(narrow.arrays["1.weight"], [3, 2])


def test_what_is_not_pruned_stays_as_it_is() -> None:
    artifact = dataclasses.replace(small(), meta={"kind": "table", "temperature": 2.0})
    whole = pruned(artifact, choose_kept("mlp", artifact.kwargs, magnitudes(artifact), {}))
    assert (whole.sha256, whole.kwargs, whole.meta) == (artifact.sha256, artifact.kwargs, artifact.meta)
