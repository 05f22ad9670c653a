"""What a network starts from: pictures come out of the stem uncorrelated, and filters pass their input on."""

import numpy as np
import pytest
import torch

from trimtab.models import build, dirac, initial_arrays, whitening
from trimtab.training import torch_nn

KWARGS = {"in_channels": 3, "image_size": 16, "channels": [32, 16], "num_classes": 4}


@pytest.fixture
def pictures(rng):
    """Pictures whose neighboring pixels and channels are alike: float32 [40, 3, 16, 16]."""
    grey = rng.standard_normal((40, 1, 17, 17))
    smooth = grey[:, :, 1:, 1:] + grey[:, :, :-1, 1:] + grey[:, :, 1:, :-1]
    return (smooth + 0.3 * rng.standard_normal((40, 3, 16, 16))).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def drawn(**options):
    model = build(torch_nn, "resnet", {**KWARGS, **options})
    return {key: value.numpy().copy() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("channels", [1, 3])
def test_whitened_patches_are_uncorrelated_and_of_unit_size(channels, pictures):
    filters = whitening(pictures[:, :channels])
    assert filters.shape == (8 * channels, channels, 2, 2)
    assert filters.dtype == np.float32
    given = torch.from_numpy(np.ascontiguousarray(pictures[:, :channels]))
    outputs = torch.conv2d(given, torch.from_numpy(filters)).transpose(0, 1).flatten(1).double()
    moments = outputs @ outputs.T / outputs.shape[1]
    half = 4 * channels
    torch.testing.assert_close(moments[:half, :half], torch.eye(half).double(), atol=0.02, rtol=0)
    torch.testing.assert_close(outputs[half:], -outputs[:half])


def test_pictures_without_any_contrast_are_not_blown_up():
    filters = whitening(np.full((4, 3, 8, 8), 0.5, np.float32))
    assert np.abs(filters).max() < 100


def test_dirac_filters_pass_the_first_channels_on(rng):
    weight = rng.standard_normal((7, 5, 3, 3)).astype(np.float32)
    before = weight.copy()
    changed = dirac(weight)
    x = torch.from_numpy(rng.standard_normal((2, 5, 6, 6)).astype(np.float32))
    torch.testing.assert_close(torch.conv2d(x, torch.from_numpy(changed), padding=1)[:, :5], x)
    assert np.array_equal(changed[5:], weight[5:])
    assert np.array_equal(weight, before)


def test_filters_fewer_than_channels_pass_as_many_on(rng):
    changed = dirac(rng.standard_normal((3, 5, 3, 3)))
    assert [np.flatnonzero(filters).tolist() for filters in changed] == [[4], [9 + 4], [18 + 4]]


def test_a_resnet_starts_from_a_whitening_stem_and_filters_that_pass_on(pictures):
    before = drawn()
    after = initial_arrays("resnet", KWARGS, before, pictures)
    assert np.array_equal(after["0.0.weight"], whitening(pictures))
    assert not after["0.0.bias"].any()
    changed = {key for key in before if not np.array_equal(before[key], after[key])}
    assert changed == {"0.0.weight", "0.0.bias", "1.0.weight", "1.4.weight", "2.0.weight", "2.4.weight"}
    assert np.array_equal(after["1.0.weight"], dirac(before["1.0.weight"]))


def test_a_stem_that_is_trained_starts_from_what_was_drawn(pictures):
    before = drawn(stem="convolution")
    after = initial_arrays("resnet", {**KWARGS, "stem": "convolution"}, before, pictures)
    assert np.array_equal(after["0.0.weight"], before["0.0.weight"])
    assert not np.array_equal(after["1.0.weight"], before["1.0.weight"])


def test_filters_of_single_channels_start_from_what_was_drawn(pictures):
    before = drawn(separable=True)
    after = initial_arrays("resnet", {**KWARGS, "separable": True}, before, pictures)
    assert {key for key in before if not np.array_equal(before[key], after[key])} == {"0.0.weight", "0.0.bias"}


def test_other_networks_start_from_what_was_drawn(rng):
    arrays = {"0.weight": rng.standard_normal((4, 4, 3, 3))}
    assert initial_arrays("cnn", {}, arrays, rng.standard_normal((5, 4, 8, 8)))["0.weight"] is arrays["0.weight"]
