import pytest
import torch

from trimtab.models import MODELS, build, measure_size
from trimtab.training import torch_nn

CASES = {
    "mlp": ({"in_features": 7, "hidden": [16, 8], "num_classes": 3}, (7,)),
    "cnn": ({"in_channels": 3, "image_size": 20, "channels": [8, 16, 24], "num_classes": 3}, (3, 20, 20)),
    "separable_cnn": ({"in_channels": 1, "image_size": 9, "channels": [8, 16, 24], "num_classes": 3}, (1, 9, 9)),
}


@pytest.fixture(params=sorted(MODELS))
def case(request):
    kwargs, shape = CASES[request.param]
    return request.param, kwargs, shape


def test_every_model_maps_a_batch_to_logits(case):
    name, kwargs, shape = case
    model = build(torch_nn, name, kwargs).eval()
    assert model(torch.zeros(5, *shape)).shape == (5, 3)


def test_the_counted_parameters_are_those_of_torch(case):
    name, kwargs, shape = case
    model = build(torch_nn, name, kwargs)
    assert measure_size(name, kwargs, shape).parameters == sum(p.numel() for p in model.parameters())


def test_the_counted_multiplications_are_those_of_torch(case):
    from torch.utils.flop_counter import FlopCounterMode

    name, kwargs, shape = case
    model = build(torch_nn, name, kwargs).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *shape))
    assert 2 * measure_size(name, kwargs, shape).macs == counter.get_total_flops()


def test_every_parameter_gets_a_gradient(case):
    name, kwargs, shape = case
    model = build(torch_nn, name, kwargs)
    model(torch.randn(8, *shape)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_keyword_arguments_are_plain_json(case):
    import json

    name, kwargs, _ = case
    again = json.loads(json.dumps(kwargs))
    first, second = build(torch_nn, name, kwargs), build(torch_nn, name, again)
    assert first.state_dict().keys() == second.state_dict().keys()


def test_an_unknown_model_suggests_the_nearest():
    with pytest.raises(ValueError, match="there is no model 'cn'; expected one of mlp, cnn, separable_cnn; did you"):
        build(torch_nn, "cn", {})
