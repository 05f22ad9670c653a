"""Optimizers take the steps of torch's, on parameters that share one buffer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimtab import numpy_nn as nn

SHAPES = [(4, 3), (3,), (), (2, 3, 1, 2), (50, 11)]
STEPS = 10
CLOSE = 1e-10


def pairs(rng):
    """Return parameters and torch's, with the same numbers, in float64."""
    arrays = [np.asarray(rng.standard_normal(shape)) for shape in SHAPES]
    return [nn.Parameter(array.copy()) for array in arrays], [
        torch.nn.Parameter(torch.tensor(array)) for array in arrays
    ]


def draw_gradients(rng, ours, theirs):
    """Give both the same new gradients."""
    for parameter, tensor in zip(ours, theirs, strict=True):
        parameter.grad[...] = rng.standard_normal(parameter.grad.shape)
        tensor.grad = torch.tensor(parameter.grad)


def assert_equal_parameters(ours, theirs):
    for parameter, tensor in zip(ours, theirs, strict=True):
        assert np.abs(parameter.data - tensor.detach().numpy()).max() <= CLOSE


OPTIONS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.4}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.0, "momentum": 0.9}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9)}),
    ("Adam", {"lr": 0.1, "betas": (0.0, 0.99), "eps": 0.1}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.3}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3}),
    ("AdamW", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.0}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_ten_steps_are_those_of_torch(name, options, rng):
    ours, theirs = pairs(rng)
    optimizer, reference = getattr(nn, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for _ in range(STEPS):
        draw_gradients(rng, ours, theirs)
        optimizer.step()
        reference.step()
        assert_equal_parameters(ours, theirs)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_pieces_and_threads_take_the_same_steps(name, options, small_pieces):
    results = []
    for count in (1, 3):
        rng = np.random.default_rng(0)
        ours, theirs = pairs(rng)
        optimizer = getattr(nn, name)(ours, **options)
        with nn.threads(count):
            for _ in range(3):
                draw_gradients(rng, ours, theirs)
                optimizer.step()
        results.append([parameter.data.copy() for parameter in ours])
    assert all(map(np.array_equal, *results))


GROUPS = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}, [{}, {"lr": 0.02, "weight_decay": 0.4}, {"momentum": 0.0}]),
    ("SGD", {"lr": 0.1, "momentum": 0.9}, [{"nesterov": True}, {"dampening": 0.3}]),
    ("Adam", {"lr": 0.1}, [{"betas": (0.5, 0.6)}, {"eps": 0.5}, {"weight_decay": 0.2}]),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.1}, [{"weight_decay": 0.0}, {"lr": 0.01}]),
]


@pytest.mark.parametrize(("name", "options", "groups"), GROUPS)
def test_groups_have_settings_of_their_own(name, options, groups, rng):
    ours, theirs = pairs(rng)
    cut = len(groups)
    optimizers = [
        getattr(module, name)(
            [{"params": members[index::cut], **group} for index, group in enumerate(groups)], **options
        )
        for module, members in ((nn, ours), (torch.optim, theirs))
    ]
    for _ in range(STEPS):
        draw_gradients(rng, ours, theirs)
        for optimizer in optimizers:
            optimizer.step()
        assert_equal_parameters(ours, theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_settings_may_change_between_steps(name, rng):
    ours, theirs = pairs(rng)
    options = {"momentum": 0.9} if name == "SGD" else {}
    optimizer, reference = getattr(nn, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(STEPS):
        for group in (*optimizer.groups, *reference.param_groups):
            group["lr"] = 0.1 / (1 + step)
            group["weight_decay"] = 0.1 * (step % 2)
        draw_gradients(rng, ours, theirs)
        optimizer.step()
        reference.step()
        assert_equal_parameters(ours, theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_groups_show_every_setting_with_its_default(name):
    (group,) = getattr(nn, name)([nn.Parameter(np.zeros(3))]).groups
    (reference,) = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(3))]).param_groups
    assert {key: reference[key] for key in group} == group


# ---- one buffer ----


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_parameters_keep_their_values_and_share_one_buffer_in_order(name, rng):
    ours, _ = pairs(rng)
    for parameter in ours:
        parameter.grad += rng.standard_normal(parameter.grad.shape)
    before = [(parameter.data.copy(), parameter.grad.copy()) for parameter in ours]
    getattr(nn, name)(iter(ours))
    for parameter, (data, grad) in zip(ours, before, strict=True):
        assert np.array_equal(parameter.data, data)
        assert np.array_equal(parameter.grad, grad)
    for arrays in ([parameter.data for parameter in ours], [parameter.grad for parameter in ours]):
        buffer = arrays[0].base
        assert buffer.shape == (sum(array.size for array in arrays),)
        assert all(array.base is buffer for array in arrays)
        assert np.array_equal(buffer, np.concatenate([array.ravel() for array in arrays]))
    assert not np.shares_memory(ours[0].data, ours[0].grad)


def test_a_network_sees_the_steps_of_its_optimizer(rng):
    layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(np.float64)
    optimizer = nn.SGD(layers.parameters(), lr=0.1)
    x, target = rng.standard_normal((5, 3)), rng.standard_normal((5, 1))
    losses = []
    for _ in range(30):
        loss, grad = nn.mse_loss(layers(x), target)
        optimizer.zero_grad()
        layers.backward(grad)
        optimizer.step()
        losses.append(loss)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 2


def test_a_state_loaded_into_the_network_is_what_the_optimizer_moves():
    layers = nn.Linear(3, 2)
    optimizer = nn.SGD(layers.parameters(), lr=1.0)
    layers.load_state_dict({"weight": np.ones((2, 3)), "bias": np.zeros(2)})
    layers.weight.grad[...] = 1
    optimizer.step()
    assert not layers.weight.data.any()


def test_zero_grad_zeroes_every_group(rng):
    ours, theirs = pairs(rng)
    optimizer = nn.SGD([{"params": ours[:2]}, {"params": ours[2:]}])
    draw_gradients(rng, ours, theirs)
    optimizer.zero_grad()
    assert not any(parameter.grad.any() for parameter in ours)


# ---- state ----


def flat_names(name):
    return {"SGD": ["momentum"]}.get(name, ["sum", "sum_of_squares"])


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_state_that_is_loaded_continues_bit_for_bit(name):
    options = {"momentum": 0.9, "dampening": 0.1} if name == "SGD" else {}

    def start():
        rng = np.random.default_rng(0)
        ours, theirs = pairs(rng)
        groups = [{"params": ours[:2]}, {"params": ours[2:], "weight_decay": 0.1}]
        return getattr(nn, name)(groups, lr=0.1, **options), ours, theirs

    def run(optimizer, ours, theirs, steps):
        for step in steps:
            draw_gradients(np.random.default_rng(step), ours, theirs)
            optimizer.step()

    through, expected, theirs = start()
    run(through, expected, theirs, range(8))
    stopped, ours, _ = start()
    run(stopped, ours, theirs, range(4))
    state = stopped.state_dict()
    data = [parameter.data.copy() for parameter in ours]
    run(stopped, ours, theirs, range(4, 6))  # what was returned are copies
    resumed, ours, _ = start()
    for parameter, values in zip(ours, data, strict=True):
        parameter.data[...] = values
    resumed.load_state_dict(state)
    run(resumed, ours, theirs, range(4, 8))
    assert all(np.array_equal(a.data, b.data) for a, b in zip(ours, expected, strict=True))
    assert all(np.array_equal(values, through.state_dict()[key]) for key, values in resumed.state_dict().items())


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_state_has_flat_arrays_for_each_group_and_the_number_of_steps(name, rng):
    ours, _ = pairs(rng)
    optimizer = getattr(nn, name)([{"params": ours[:2]}, {"params": ours[2:]}])
    optimizer.step()
    state = optimizer.state_dict()
    sizes = [sum(parameter.data.size for parameter in members) for members in (ours[:2], ours[2:])]
    assert {key: array.shape for key, array in state.items()} == {
        **{f"{index}.{key}": (size,) for index, size in enumerate(sizes) for key in flat_names(name)},
        "step": (),
    }
    assert state["step"] == 1
    assert state["step"].dtype == np.int64


def test_parameters_with_other_arrays_are_refused(rng):
    network = nn.Sequential(nn.Linear(3, 2))
    first = nn.SGD(network.parameters())
    second = nn.SGD(network.parameters())
    second.step()
    with pytest.raises(ValueError, match="is no longer a view of this optimizer's buffer") as raised:
        first.step()
    assert str(raised.value) == (
        "Parameter([2, 3], float32) is no longer a view of this optimizer's buffer; expected its data and grad to be "
        "changed in place; make the optimizer after `to`, and one only."
    )
    network[0].bias.grad = np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="is no longer a view"):
        second.step()


# ---- clipping ----


@pytest.mark.parametrize("max_norm", [0.5, 3.0, 1e4])
def test_clipping_is_that_of_torch(max_norm, rng):
    ours, theirs = pairs(rng)
    draw_gradients(rng, ours, theirs)
    norm = nn.clip_grad_norm_(iter(ours), max_norm)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm)), rel=1e-12)
    for parameter, tensor in zip(ours, theirs, strict=True):
        assert np.abs(parameter.grad - tensor.grad.numpy()).max() <= CLOSE


def test_clipping_works_within_the_buffer_of_an_optimizer(rng):
    ours, theirs = pairs(rng)
    optimizer = nn.SGD(ours, lr=1.0)
    draw_gradients(rng, ours, theirs)
    before = np.concatenate([parameter.data.ravel() for parameter in ours])
    nn.clip_grad_norm_(ours, 0.25)
    optimizer.step()
    after = np.concatenate([parameter.data.ravel() for parameter in ours])
    assert np.linalg.norm(after - before) == pytest.approx(0.25, rel=1e-5)


def test_clipping_no_gradients_returns_zero():
    parameter = nn.Parameter(np.ones(3))
    assert nn.clip_grad_norm_([parameter], 1.0) == 0
    assert not parameter.grad.any()


# ---- words ----


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: nn.SGD([nn.Parameter(np.zeros(2))], nesterov=True),
            "nesterov with momentum 0.0, dampening 0.0; expected a momentum and none.",
        ),
        (
            lambda: nn.SGD([nn.Parameter(np.zeros(2))], momentum=0.9, dampening=0.5, nesterov=True),
            "nesterov with momentum 0.9, dampening 0.5; expected a momentum and none.",
        ),
        (lambda: nn.Adam([]), "the parameters are none; expected some, all of one type."),
        (
            lambda: nn.AdamW([nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros(2, np.float32))]),
            "the parameters are ['float32', 'float64']; expected some, all of one type.",
        ),
    ],
)
def test_a_mistake_is_said_in_full(call, text):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the text is compared below
        call()
    assert str(raised.value) == text
