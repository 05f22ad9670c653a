"""The choices in the residual network: where it pools, what is fixed, what is refused."""

import re

import numpy as np
import pytest
import torch

from trimtab.models import build, measure_size
from trimtab.training import torch_nn

KWARGS = {"in_channels": 3, "image_size": 32, "channels": [16, 32, 48], "num_classes": 10}


def resnet(**options):
    return build(torch_nn, "resnet", {**KWARGS, **options})


def kinds(module):
    return [type(layer).__name__ for layer in module]


def test_a_stage_pools_before_it_normalizes():
    assert kinds(resnet()[1]) == ["Conv2d", "MaxPool2d", "ShiftNorm2d", "ReLU", "Conv2d", "ShiftNorm2d", "ReLU"]


def test_with_three_convolutions_the_last_two_are_a_branch():
    stage = resnet(depth=3, activation="gelu", stochastic_depth=0.25)[2]
    assert kinds(stage) == ["Conv2d", "MaxPool2d", "ShiftNorm2d", "GELU", "Residual"]
    assert stage[4].p == 0.25
    assert kinds(stage[4].module) == ["Conv2d", "ShiftNorm2d", "GELU"] * 2


@pytest.mark.parametrize(
    ("image_size", "stem", "sizes"),
    [
        (32, "whitening", [31, 15, 7, 3]),
        (32, "convolution", [32, 16, 8, 4]),
        (8, "whitening", [7, 3, 3, 3]),
        (4, "whitening", [3, 3, 3, 3]),
        (96, "patch", [48, 24, 12, 6]),
        (160, "patch", [40, 20, 10, 5]),
    ],
)
def test_pictures_are_halved_while_they_are_larger_than_three_pixels(image_size, stem, sizes):
    model, x, found = resnet(image_size=image_size, stem=stem).eval(), torch.zeros(1, 3, image_size, image_size), []
    for stage in model[:4]:
        x = stage(x)
        found.append(x.shape[-1])
    assert found == sizes
    assert model[4](x).shape[2:] == (1, 1)


def test_a_separable_network_has_a_fraction_of_the_multiplications():
    shape = (3, 32, 32)
    full, split = (measure_size("resnet", {**KWARGS, "separable": value}, shape).macs for value in (False, True))
    assert split < full / 5


def test_only_the_filters_of_a_whitening_stem_are_fixed():
    fixed = {name for name, parameter in resnet().named_parameters() if not parameter.requires_grad}
    assert fixed == {"0.0.weight"}
    for stem in ("convolution", "patch"):
        assert all(parameter.requires_grad for parameter in resnet(stem=stem).parameters())


def test_no_normalization_can_turn_a_maximum_into_a_minimum():
    names = resnet(depth=3).state_dict()
    assert any(name.endswith("running_var") for name in names)
    norms = {name.removesuffix("running_var") for name in names if name.endswith("running_var")}
    assert all(f"{norm}bias" in names and f"{norm}weight" not in names for norm in norms)


def test_the_momentum_is_that_of_every_normalization():
    norms = [layer for layer in resnet(momentum=0.3).modules() if isinstance(layer, torch_nn.ShiftNorm2d)]
    assert len(norms) == 6
    assert {norm.momentum for norm in norms} == {0.3}


def test_the_logits_are_far_from_certain_before_training():
    torch.manual_seed(0)
    logits = resnet()(torch.randn(64, 3, 32, 32))
    assert 0 < logits.std() < 0.5
    assert logits.shape == (64, 10)


def test_a_shift_and_a_maximum_may_change_places():
    torch.manual_seed(0)
    norm, pool, x = torch_nn.ShiftNorm2d(5).eval(), torch.nn.MaxPool2d(2), torch.randn(3, 5, 6, 6)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    torch.nn.init.normal_(norm.bias)
    torch.testing.assert_close(norm(pool(x)), pool(norm(x)))
    assert not np.allclose(norm(x).detach(), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 4}, "depth is 4; expected 2 or 3 convolutions per stage; choose one."),
        ({"stem": "conv"}, "stem is 'conv'; expected one of whitening, convolution, patch; choose one."),
        ({"activation": "silu"}, "activation is 'silu'; expected one of relu, gelu; choose one."),
        (
            {"stochastic_depth": 0.1},
            "stochastic_depth is 0.1 with depth 2; expected branches to skip; set depth to 3.",
        ),
    ],
)
def test_what_cannot_be_built_says_why(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        resnet(**options)
