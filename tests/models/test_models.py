"""Laws of every network that trimtab builds."""

import json

import numpy as np
import pytest
import torch
from tests.models.cases import CASES
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trimtab.models import MODELS, accepts, build, initial_arrays, measure_size
from trimtab.training import torch_nn


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_every_model_has_a_case():
    assert {name for name, _, _ in CASES.values()} == MODELS.keys()


def test_every_model_maps_a_batch_to_logits(case):
    name, kwargs, shape = case
    model = build(torch_nn, name, kwargs).eval()
    assert model(torch.zeros(5, *shape)).shape == (5, 3)


def test_examples_do_not_know_of_each_other_in_evaluation(case):
    name, kwargs, shape = case
    model, x = build(torch_nn, name, kwargs).eval(), torch.randn(4, *shape)
    torch.testing.assert_close(model(x)[:1], model(x[:1]))


def test_the_counted_parameters_are_those_of_torch(case):
    name, kwargs, shape = case
    model = build(torch_nn, name, kwargs)
    assert measure_size(name, kwargs, shape).parameters == sum(p.numel() for p in model.parameters())


def test_the_counted_multiplications_are_those_of_torch(case):
    name, kwargs, shape = case
    model = build(torch_nn, name, kwargs).eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(torch.zeros(1, *shape))
    assert 2 * measure_size(name, kwargs, shape).macs == counter.get_total_flops()


def test_every_trained_parameter_gets_a_gradient(case):
    name, kwargs, shape = case
    model = build(torch_nn, name, kwargs)
    model(torch.randn(8, *shape)).square().sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)
    assert len(trained) >= len(list(model.parameters())) - 1  # all but the filters of a whitening stem


def test_keyword_arguments_are_plain_json(case):
    name, kwargs, _ = case
    again = json.loads(json.dumps(kwargs))
    first, second = build(torch_nn, name, kwargs), build(torch_nn, name, again)
    assert first.state_dict().keys() == second.state_dict().keys()


NARROWER = {
    "mlp": {"hidden": [11, 5]},
    "cnn": {"channels": [5, 7, 3]},
    "separable_cnn": {"channels": [5, 7, 3]},
    "resnet": {"channels": [5, 7]},
    "vit": {"heads": 1, "head_width": 3, "mlp_ratio": 5 / 8},
}


def test_narrower_arguments_give_the_same_arrays_narrower(case):
    """What pruning needs: slices of a network's arrays are the arrays of a narrower one."""
    name, kwargs, shape = case
    arrays = build(torch_nn, name, kwargs).state_dict()
    model = build(torch_nn, name, {**kwargs, **NARROWER[name]}).eval()
    sliced = {key: arrays[key][tuple(slice(size) for size in value.shape)] for key, value in model.state_dict().items()}
    model.load_state_dict(sliced)  # refuses other keys and shapes
    assert sum(value.numel() for value in sliced.values()) < sum(value.numel() for value in arrays.values())
    assert model(torch.zeros(2, *shape)).shape == (2, 3)


def test_what_training_starts_from_fits_and_leaves_what_was_drawn_alone(case):
    name, kwargs, shape = case
    model = build(torch_nn, name, kwargs)
    drawn = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    before = {key: value.copy() for key, value in drawn.items()}
    pictures = np.random.default_rng(0).standard_normal((8, *shape)).astype(np.float32)
    arrays = initial_arrays(name, kwargs, drawn, pictures)
    assert list(arrays) == list(drawn)
    assert {key: value.dtype for key, value in arrays.items()} == {key: value.dtype for key, value in drawn.items()}
    assert all(np.array_equal(drawn[key], value) for key, value in before.items())
    model.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.items()})
    assert torch.isfinite(model(torch.from_numpy(pictures))).all()


def test_an_unknown_model_suggests_the_nearest():
    sentence = "there is no model 'cn'; expected one of mlp, cnn, separable_cnn, resnet, vit; did you mean 'cnn'"
    with pytest.raises(ValueError, match=sentence):
        build(torch_nn, "cn", {})
    with pytest.raises(ValueError, match=sentence):
        accepts("cn", "dropout")


def test_a_builder_says_which_arguments_it_takes():
    assert [name for name in MODELS if accepts(name, "stochastic_depth")] == ["resnet", "vit"]
    assert all(accepts(name, "dropout") for name in MODELS)
