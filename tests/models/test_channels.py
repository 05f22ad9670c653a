"""Which arrays belong to a channel: against networks built narrower, and against what the builders say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trimtab import numpy_nn
from trimtab.models import build
from trimtab.models.channels import find_channels, widths_of, with_widths

IMAGE = {"in_channels": 3, "image_size": 16, "num_classes": 4}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {"in_features": 7, "hidden": [12, 9], "num_classes": 4}),
    "cnn": ("cnn", {**IMAGE, "channels": [6, 10, 14]}),
    "separable_cnn": ("separable_cnn", {**IMAGE, "channels": [6, 10, 14]}),
    "resnet": ("resnet", {**IMAGE, "channels": [6, 10]}),
    "deep resnet": ("resnet", {**IMAGE, "channels": [6, 10], "depth": 3}),
    "separable resnet": ("resnet", {**IMAGE, "channels": [6, 10], "separable": True, "stem": "convolution"}),
    "vit": ("vit", {**IMAGE, "width": 12, "depth": 2, "heads": 3, "patch": 4}),
}


def shapes_of(builder: str, kwargs: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    state = build(numpy_nn, builder, kwargs).state_dict()
    return {key: np.shape(array) for key, array in state.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_arrays_of_a_channel_are_all_those_that_shrink_with_the_argument(name: str) -> None:
    builder, kwargs = NETWORKS[name]
    before = shapes_of(builder, kwargs)
    for argument, width in widths_of(builder, kwargs).items():
        expected = dict(before)
        for channels in find_channels(builder, kwargs):
            if channels.argument == argument:
                assert channels.width == width
                for key in [*(each.weight for each in channels.filters), *channels.carried]:
                    expected[key] = (expected[key][0] - 1, *expected[key][1:])
                for key in channels.readers:
                    expected[key] = (expected[key][0], expected[key][1] - 1, *expected[key][2:])
        assert shapes_of(builder, with_widths(builder, kwargs, {argument: width - 1})) == expected


@pytest.mark.parametrize(("name", "count"), [("mlp", 2), ("cnn", 3), ("resnet", 2), ("vit", 1)])
def test_every_width_that_is_free_has_an_argument(name: str, count: int) -> None:
    builder, kwargs = NETWORKS[name]
    assert len(widths_of(builder, kwargs)) == count


def test_a_residual_sum_joins_its_channels_and_leaves_those_within_apart() -> None:
    builder, kwargs = NETWORKS["cnn"]
    first_stage = [channels for channels in find_channels(builder, kwargs) if channels.argument == ("channels", 1)]
    filters = [[each.weight for each in channels.filters] for channels in first_stage]
    assert filters == [["1.0.weight", "2.module.1.0.weight"], ["2.module.0.0.weight"]]
    assert first_stage[0].readers == ["2.module.0.0.weight", "3.0.weight"]


def test_a_depthwise_convolution_carries_the_channels_on() -> None:
    builder, kwargs = NETWORKS["separable_cnn"]
    stem = find_channels(builder, kwargs)[0]
    assert [each.weight for each in stem.filters] == ["0.0.weight", "1.0.weight"]
    assert [each.norm for each in stem.filters] == ["0.1", "1.1"]
    assert stem.readers == ["1.3.weight"]


def test_widths_that_are_not_named_stay() -> None:
    kwargs = {**IMAGE, "channels": [6, 10, 14], "dropout": 0.1}
    assert with_widths("cnn", kwargs, {("channels", 1): 5}) == {**kwargs, "channels": [6, 5, 14]}
    assert kwargs["channels"] == [6, 10, 14]
