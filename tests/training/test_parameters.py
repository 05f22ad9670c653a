"""What is penalized and what Muon moves, in the networks that there are."""

import pytest

from trimtab.models import build
from trimtab.training import torch_nn
from trimtab.training.parameters import is_penalized, matrix_names

PICTURES = {"in_channels": 3, "image_size": 16, "num_classes": 4}


def shapes_of(builder, kwargs):
    network = build(torch_nn, builder, kwargs)
    return {name: tuple(entry.shape) for name, entry in network.named_parameters() if entry.requires_grad}


def test_biases_and_normalization_are_not_penalized():
    shapes = shapes_of("cnn", {**PICTURES, "channels": [8, 16]})
    spared = {name for name, shape in shapes.items() if not is_penalized(shape)}
    assert {name.rpartition(".")[2] for name in spared} == {"weight", "bias"}
    assert all(len(shapes[name]) == 1 for name in spared)
    assert {shape for name, shape in shapes.items() if name not in spared} == {
        (8, 3, 3, 3),
        (16, 8, 3, 3),
        (16, 16, 3, 3),
        (4, 16),
    }


def test_muon_moves_hidden_layers_but_not_the_last():
    shapes = shapes_of("mlp", {"in_features": 5, "hidden": [16, 8], "num_classes": 3})
    assert [shapes[name] for name in matrix_names(shapes)] == [(16, 5), (8, 16)]


def test_muon_moves_filters_but_no_depthwise_ones():
    shapes = shapes_of("separable_cnn", {**PICTURES, "channels": [8, 16]})
    moved = [shapes[name] for name in matrix_names(shapes)]
    assert moved == [(8, 3, 3, 3), (16, 8, 1, 1), (16, 16, 1, 1)]


def test_muon_moves_the_layers_of_a_transformer_but_not_its_positions():
    shapes = shapes_of("vit", {**PICTURES, "width": 8, "depth": 1, "heads": 2, "patch": 4})
    others = {name.rpartition(".")[2] for name, shape in shapes.items() if len(shape) > 1} - {"weight"}
    assert others == {"position"}
    moved = matrix_names(shapes)
    assert all(name.endswith(".weight") for name in moved)
    assert len(moved) == sum(len(shape) > 1 for shape in shapes.values()) - 2


@pytest.mark.parametrize("shapes", [{}, {"weight": (3, 5), "bias": (3,)}])
def test_a_linear_model_has_nothing_for_muon(shapes):
    assert matrix_names(shapes) == []
