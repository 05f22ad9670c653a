"""What a network is: names and state shared with torch, places in error messages, initialization, random seeds."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.models.cases import CASES
from tests.numpy_nn.parity import LAYERS, Case, arrays, assert_parity, assert_same, twins

from trimtab import numpy_nn as nn
from trimtab.models import build
from trimtab.training import torch_nn


def case_of(label: str, training: bool) -> Case:
    name, kwargs, shape = CASES[label]
    return Case(lambda namespace: build(namespace, name, kwargs), (5, *shape), training=training, calls=2)


# ---- the models that trimtab builds ----


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("label", CASES)
def test_every_model_does_what_it_does_in_torch(label, training):
    assert_parity(case_of(label, training))


@pytest.mark.parametrize("label", CASES)
def test_the_state_of_every_model_loads_both_ways(label, rng):
    name, kwargs, shape = CASES[label]
    shape = (5, *shape)
    ours = build(nn, name, kwargs).reset_parameters(rng).to(np.float64)
    for _ in range(2):
        ours(rng.standard_normal(shape))  # moves the running statistics
    theirs = build(torch_nn, name, kwargs).double()
    state = ours.state_dict()
    theirs.load_state_dict({key: torch.from_numpy(np.asarray(values)) for key, values in state.items()})
    x = rng.standard_normal(shape)
    expected = theirs.eval()(torch.tensor(x)).detach().numpy()
    assert_same({"output": ours.eval()(x)}, {"output": expected})
    again = build(nn, name, kwargs).to(np.float64).eval()
    again.load_state_dict(arrays(theirs))
    assert np.array_equal(again(x), ours(x))
    assert {key: values.dtype for key, values in state.items()} == {k: v.dtype for k, v in arrays(theirs).items()}


@pytest.mark.parametrize("label", CASES)
def test_parameters_have_the_names_and_the_order_of_torch(label):
    name, kwargs, _ = CASES[label]
    ours, theirs = build(nn, name, kwargs), build(torch_nn, name, kwargs)
    assert [(key, parameter.data.shape) for key, parameter in ours.named_parameters()] == [
        (key, tuple(parameter.shape)) for key, parameter in theirs.named_parameters()
    ]
    assert [parameter for _, parameter in ours.named_parameters()] == list(ours.parameters())
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())


@pytest.mark.parametrize("case", LAYERS)
def test_repeating_a_pass_repeats_its_bits(case, rng):
    _, ours = twins(case, rng)
    x = case.inputs(rng)[0]
    outcomes = []
    for _ in range(2):
        layer = copy.deepcopy(ours)
        y = layer(x)
        outcomes.append([y, layer.backward(np.ones_like(y)), *(parameter.grad for parameter in layer.parameters())])
    assert all(map(np.array_equal, *outcomes))


# ---- state ----


@pytest.fixture
def layers():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Residual(nn.Sequential(nn.Linear(4, 4))))


KEYS = [
    "0.weight",
    "0.bias",
    "1.weight",
    "1.bias",
    "2.module.0.weight",
    "2.module.0.bias",
    "1.running_mean",
    "1.running_var",
    "1.num_batches_tracked",
]


def test_a_state_has_parameters_then_statistics_by_their_places(layers):
    assert list(layers.state_dict()) == KEYS


def test_a_state_is_a_copy(layers, rng):
    before = layers.state_dict()
    for values in layers.state_dict().values():
        values[...] = 7
    assert all(np.array_equal(values, before[key]) for key, values in layers.state_dict().items())
    layers(rng.standard_normal((5, 3)).astype(np.float32))
    assert before["1.num_batches_tracked"] == 0
    assert not before["1.running_mean"].any()


def test_what_is_loaded_is_copied_and_converted(layers):
    state = {key: values.astype(np.float64) + 1 for key, values in layers.state_dict().items()}
    layers.load_state_dict(state)
    state["0.weight"][...] = 9
    state["1.running_mean"][...] = 9
    assert (layers[1].running_mean == 1).all()
    assert not (layers[0].weight.data == 9).any()
    assert {values.dtype for values in layers.state_dict().values()} == {np.dtype(np.float32), np.dtype(np.int64)}


def test_all_mistakes_of_a_state_are_told_at_once_and_nothing_is_changed(layers):
    before = layers.state_dict()
    wrong = {key: np.ones_like(values) for key, values in before.items()}
    wrong["2.module.0.weight"] = np.ones((4, 5))
    wrong["1.running_mean"] = np.ones(())
    wrong["3.weight"] = np.ones(2)
    wrong["head"] = np.ones(2)
    del wrong["0.bias"], wrong["1.num_batches_tracked"]
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the text is compared below
        layers.load_state_dict(wrong)
    assert str(raised.value) == (
        "'0.bias' is missing; '1.num_batches_tracked' is missing; '3.weight' is unknown; 'head' is unknown; "
        "'2.module.0.weight' has the shape [4, 5] instead of [4, 4]; "
        "'1.running_mean' has the shape [] instead of [4]; "
        "expected the state of this network; build the network it is of."
    )
    assert all(np.array_equal(values, before[key]) for key, values in layers.state_dict().items())


# ---- the tree ----


def test_settings_reach_every_layer(layers):
    assert layers.eval() is layers
    assert not any(layer.training for layer in layers.modules())
    assert layers.train() is layers
    assert all(layer.training for layer in layers.modules())
    assert layers.requires_grad_(False) is layers
    assert not any(parameter.requires_grad for parameter in layers.parameters())
    assert layers.to(np.float64) is layers
    assert {parameter.data.dtype for parameter in layers.parameters()} == {np.dtype(np.float64)}
    assert {parameter.grad.dtype for parameter in layers.parameters()} == {np.dtype(np.float64)}
    assert layers[1].running_var.dtype == np.float64
    assert layers[1].num_batches_tracked.dtype == np.int64


def test_modules_are_in_order_and_each_is_itself(layers):
    names = [type(layer).__name__ for layer in layers.modules()]
    assert names == ["Sequential", "Linear", "BatchNorm1d", "Residual", "Sequential", "Linear"]
    assert [name for name, _ in layers.children()] == ["0", "1", "2"]


def test_a_sequence_has_a_length_places_and_an_order(layers):
    assert len(layers) == 3
    assert list(layers) == [layers[0], layers[1], layers[2]]
    assert layers[-1] is layers[2]


def test_layers_show_as_they_are_written():
    assert str(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.LeakyReLU(0.2), nn.Residual(nn.MaxPool2d(2)), nn.Flatten(), nn.GELU()
        )
    ) == (
        "Sequential(Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2)), LeakyReLU(0.2), "
        "Residual(MaxPool2d((2, 2), stride=(2, 2))), Flatten(1, -1), GELU(approximate='none'))"
    )
    assert str(nn.Parameter(np.zeros((2, 3), np.float32))) == "Parameter([2, 3], float32)"


@pytest.mark.parametrize("case", LAYERS)
def test_every_layer_starts_in_float32_and_shows_its_arguments(case):
    layer = case.make(nn)
    assert {parameter.data.dtype for parameter in layer.parameters()} <= {np.dtype(np.float32)}
    assert str(layer).startswith(f"{type(layer).__name__}(")
    assert str(layer) == f"{type(layer).__name__}({layer.describe()})"


def test_a_copy_is_a_network_of_its_own(layers, rng):
    x = rng.standard_normal((5, 3)).astype(np.float32)
    twin = copy.deepcopy(layers)
    twin[0].weight.data += 1
    twin(x)
    assert not np.array_equal(twin[0].weight.data, layers[0].weight.data)
    assert layers[1].num_batches_tracked == 0


# ---- inputs that do not fit ----


def pictures(*shape):
    return np.zeros(shape, np.float32)


END = "; change its arguments or what comes before it."
DEEP = nn.Sequential(nn.Identity(), nn.Residual(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))))


@pytest.mark.parametrize(
    ("layer", "x", "text"),
    [
        (nn.Linear(3, 2), pictures(4, 5), "Linear(3, 2) got an input of shape [4, 5]; expected [B, 3]"),
        (nn.Linear(3, 2), pictures(), "Linear(3, 2) got an input of shape []; expected [B, 3]"),
        (
            nn.Conv2d(3, 8, 3),
            pictures(2, 4, 8, 8),
            "Conv2d(3, 8, kernel_size=(3, 3)) got an input of shape [2, 4, 8, 8]; expected [B, 3, H, W]",
        ),
        (
            nn.Conv2d(3, 8, 5, dilation=2, padding=1),
            pictures(2, 3, 9, 6),
            "Conv2d(3, 8, kernel_size=(5, 5), padding=(1, 1), dilation=(2, 2)) got an input of shape [2, 3, 9, 6]; "
            "expected at least (9, 9) pixels, padding included",
        ),
        (
            nn.Conv2d(16, 16, 3),
            pictures(2, 16, 2, 6),
            "Conv2d(16, 16, kernel_size=(3, 3)) got an input of shape [2, 16, 2, 6]; "
            "expected at least (3, 3) pixels, padding included",
        ),
        (
            nn.ConvTranspose2d(3, 8, 3),
            pictures(3, 8, 8),
            "ConvTranspose2d(3, 8, kernel_size=(3, 3)) got an input of shape [3, 8, 8]; expected [B, 3, H, W]",
        ),
        (
            nn.ConvTranspose2d(3, 8, 1, padding=1),
            pictures(1, 3, 2, 4),
            "ConvTranspose2d(3, 8, kernel_size=(1, 1), padding=(1, 1)) got an input of shape [1, 3, 2, 4]; "
            "expected a picture large enough for an output of at least one pixel",
        ),
        (
            nn.MaxPool2d(3, 2),
            pictures(1, 3, 2, 5),
            "MaxPool2d((3, 3), stride=(2, 2)) got an input of shape [1, 3, 2, 5]; "
            "expected at least (3, 3) pixels, padding included",
        ),
        (
            nn.AvgPool2d(2),
            pictures(3, 4, 4),
            "AvgPool2d((2, 2), stride=(2, 2)) got an input of shape [3, 4, 4]; expected [B, C, H, W]",
        ),
        (
            nn.AdaptiveAvgPool2d(1),
            pictures(3, 4),
            "AdaptiveAvgPool2d((1, 1)) got an input of shape [3, 4]; expected [B, C, H, W]",
        ),
        (
            nn.Upsample(scale_factor=2),
            pictures(3, 4),
            "Upsample(size=None, scale_factor=(2, 2), mode='nearest') got an input of shape [3, 4]; "
            "expected [B, C, H, W]",
        ),
        (
            nn.BatchNorm1d(3),
            pictures(4, 5),
            "BatchNorm1d(3) got an input of shape [4, 5]; expected [B, 3] or [B, 3, L]",
        ),
        (
            nn.BatchNorm1d(3),
            pictures(1, 3),
            "BatchNorm1d(3) got an input of shape [1, 3]; expected more than one value per channel in training",
        ),
        (nn.BatchNorm2d(3), pictures(4, 3), "BatchNorm2d(3) got an input of shape [4, 3]; expected [B, 3, H, W]"),
        (
            nn.LayerNorm((4, 5)),
            pictures(2, 5, 4),
            "LayerNorm((4, 5)) got an input of shape [2, 5, 4]; expected [..., 4, 5]",
        ),
        (nn.LayerNorm((4, 5)), pictures(5), "LayerNorm((4, 5)) got an input of shape [5]; expected [..., 4, 5]"),
        (nn.Flatten(2), pictures(3, 4), "Flatten(2, -1) got an input of shape [3, 4]; expected at least 3 axes"),
        (nn.Flatten(1, 3), pictures(3, 4), "Flatten(1, 3) got an input of shape [3, 4]; expected at least 4 axes"),
        (nn.Flatten(-3), pictures(3, 4), "Flatten(-3, -1) got an input of shape [3, 4]; expected at least 3 axes"),
        (
            nn.Flatten(2, 1),
            pictures(3, 4, 5),
            "Flatten(2, 1) got an input of shape [3, 4, 5]; expected its first axis before its last",
        ),
        (
            nn.Unflatten(1, (2, 3)),
            pictures(4, 12),
            "Unflatten(1, (2, 3)) got an input of shape [4, 12]; expected an axis 1 of 6 elements",
        ),
        (
            nn.Residual(nn.Linear(3, 2)),
            pictures(4, 3),
            "Residual(Linear(3, 2)) got an input of shape [4, 3]; expected a module that keeps the shape; "
            "it returned [4, 2]",
        ),
        (
            nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)),
            pictures(4, 3),
            "layer 1, Linear(5, 2), got an input of shape [4, 4]; expected [B, 5]",
        ),
        (
            DEEP,
            pictures(2, 4, 6, 6),
            "layer 1.module.0, Conv2d(3, 8, kernel_size=(3, 3), padding=(1, 1)), got an input of shape [2, 4, 6, 6]; "
            "expected [B, 3, H, W]",
        ),
        (
            DEEP,
            pictures(2, 3, 6, 6),
            "layer 1, Residual(Sequential(Conv2d(3, 8, kernel_size=(3, 3), padding=(1, 1)), BatchNorm2d(8))), got an "
            "input of shape [2, 3, 6, 6]; expected a module that keeps the shape; it returned [2, 8, 6, 6]",
        ),
        (
            nn.Sequential(nn.ReLU(), nn.MaxPool2d(4)),
            pictures(2, 3, 3, 3),
            "layer 1, MaxPool2d((4, 4), stride=(4, 4)), got an input of shape [2, 3, 3, 3]; "
            "expected at least (4, 4) pixels, padding included",
        ),
        (
            nn.Residual(nn.Residual(nn.Linear(3, 3))),
            pictures(4, 2),
            "layer module.module, Linear(3, 3), got an input of shape [4, 2]; expected [B, 3]",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_said_with_its_place(layer, x, text):
    with pytest.raises(nn.ShapeError) as raised:
        layer(x)
    assert str(raised.value) == text + END
    assert isinstance(raised.value, ValueError)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (np.array([[1, 5]]), "int64 from 1 to 5"),
        (pictures(3), "float32 from 0.0 to 0.0"),
        (np.ones(0), "float64 without elements"),
    ],
)
def test_an_embedding_says_which_numbers_do_not_fit(x, found):
    with pytest.raises(ValueError, match=r"Embedding\(5, 2\) got") as raised:
        nn.Embedding(5, 2)(x)
    assert str(raised.value) == f"Embedding(5, 2) got {found}; expected whole numbers from 0 to 4."


@pytest.mark.parametrize(
    "layer", [nn.Linear(3, 2), nn.Conv2d(3, 2, 1), nn.ConvTranspose2d(3, 2, 1)], ids=lambda layer: type(layer).__name__
)
def test_another_type_than_that_of_the_weights_is_refused(layer):
    x = np.zeros((4, 3) if isinstance(layer, nn.Linear) else (4, 3, 2, 2))
    with pytest.raises(TypeError) as raised:
        layer(x)
    assert str(raised.value) == (
        f"{layer} got float64; expected float32, the type of its weights; convert the input with astype, or the "
        "network with to."
    )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.Conv2d(4, 6, 3, groups=3),
            "groups is 3 for 4 channels in and 6 out; expected a divisor of both.",
        ),
        (
            lambda: nn.ConvTranspose2d(4, 6, 3, groups=4),
            "groups is 4 for 4 channels in and 6 out; expected a divisor of both.",
        ),
        (
            lambda: nn.Conv2d(4, 6, 3, padding="full"),
            "padding is 'full' with stride (1, 1); expected numbers, valid, or same at stride 1.",
        ),
        (
            lambda: nn.Conv2d(4, 6, 3, stride=2, padding="same"),
            "padding is 'same' with stride (2, 2); expected numbers, valid, or same at stride 1.",
        ),
        (
            lambda: nn.Conv2d(4, 6, 3, algorithm="fft"),
            "algorithm is 'fft'; expected one of auto, im2col, winograd; choose one.",
        ),
        (
            lambda: nn.Conv2d(4, 6, 5, algorithm="winograd"),
            "Conv2d(4, 6, kernel_size=(5, 5)) is not 3x3 with stride 1 and one group; expected that; "
            "use algorithm='auto'.",
        ),
        (lambda: nn.Dropout(1.5), "p is 1.5; expected a probability; give a number from 0 to 1."),
        (lambda: nn.GELU("exact"), "approximate is 'exact'; expected none or tanh; choose one."),
        (lambda: nn.Upsample(), "size is None and scale_factor None; expected one of the two; give one."),
        (lambda: nn.Upsample(3, 2.0), "size is 3 and scale_factor 2.0; expected one of the two; give one."),
        (
            lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
            "mode is 'bicubic'; expected nearest or bilinear; choose one.",
        ),
    ],
)
def test_an_argument_that_makes_no_layer_is_said_in_full(make, text):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the text is compared below
        make()
    assert str(raised.value) == text


@pytest.mark.parametrize(
    ("options", "algorithm"),
    [
        ({"kernel_size": 3}, "winograd"),
        ({"kernel_size": 3, "padding": "same"}, "winograd"),
        ({"kernel_size": 3, "stride": 2}, "im2col"),
        ({"kernel_size": 3, "dilation": 2}, "im2col"),
        ({"kernel_size": 3, "groups": 2}, "im2col"),
        ({"kernel_size": 1}, "im2col"),
        ({"kernel_size": (3, 1)}, "im2col"),
        ({"kernel_size": 3, "algorithm": "im2col"}, "im2col"),
    ],
)
def test_winograd_is_taken_where_it_applies(options, algorithm):
    assert nn.Conv2d(16, 16, **options).algorithm == algorithm


def test_winograd_is_not_taken_for_few_channels():
    assert nn.Conv2d(3, 64, 3).algorithm == nn.Conv2d(64, 3, 3).algorithm == "im2col"


# ---- chance ----


@pytest.mark.parametrize("case", LAYERS)
def test_the_same_seed_draws_the_same_bits(case):
    states = [case.make(nn).reset_parameters(np.random.default_rng(seed)).state_dict() for seed in (3, 3, 4)]
    assert all(np.array_equal(values, states[1][key]) for key, values in states[0].items())
    drawn = [key for key in states[0] if isinstance(case.make(nn), nn.Linear | nn.Conv2d | nn.Embedding)]
    assert all(not np.array_equal(states[0][key], states[2][key]) for key in drawn)


@pytest.mark.parametrize(
    ("layer", "args", "fan_in"),
    [
        ("Linear", (100, 200), 100),
        ("Conv2d", (20, 30, 5), 500),
        ("Conv2d", (20, 60, 5, 1, 0, 1, 4), 125),
        ("ConvTranspose2d", (20, 30, 5), 750),
        ("ConvTranspose2d", (20, 60, 5, 1, 0, 0, 4), 375),
    ],
)
def test_weights_are_drawn_as_in_torch(layer, args, fan_in):
    torch.manual_seed(0)
    ours, theirs = getattr(nn, layer)(*args), getattr(torch.nn, layer)(*args)
    ours.reset_parameters(np.random.default_rng(0))
    bound = fan_in**-0.5
    for parameter, tensor in zip(ours.parameters(), theirs.parameters(), strict=True):
        data, other = parameter.data, tensor.detach().numpy()
        assert data.dtype == np.float32
        assert np.abs(data).max() <= bound * (1 + 1e-6)
        assert np.abs(other).max() <= bound * (1 + 1e-6)
        if data.ndim > 1:
            assert np.abs(data).max() > 0.99 * bound
            assert np.abs(other).max() > 0.99 * bound
            assert data.std() == pytest.approx(bound / 3**0.5, rel=0.03)
            assert data.std() == pytest.approx(other.std(), rel=0.03)
            assert data.mean() == pytest.approx(0, abs=0.03 * bound)


def test_embeddings_are_drawn_from_the_normal_distribution_but_for_padding():
    table = nn.Embedding(300, 50, padding_idx=-2).reset_parameters(np.random.default_rng(0)).weight.data
    assert not table[298].any()
    assert np.delete(table, 298, axis=0).std() == pytest.approx(1, abs=0.02)
    assert table.mean() == pytest.approx(0, abs=0.02)


def test_a_new_layer_is_initialized_already():
    for layer in (nn.Linear(5, 4), nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3), nn.Embedding(5, 4)):
        assert all(parameter.data.all() for parameter in layer.parameters())
        assert not any(parameter.grad.any() for parameter in layer.parameters())


def test_normalization_starts_over(rng):
    layers = nn.Sequential(nn.BatchNorm1d(3), nn.LayerNorm(3))
    fresh = layers.state_dict()
    y = layers(rng.standard_normal((5, 3)).astype(np.float32))
    layers.backward(np.ones_like(y))
    for parameter in layers.parameters():
        parameter.data += 1
    layers.reset_parameters(rng)
    assert all(np.array_equal(values, fresh[key]) for key, values in layers.state_dict().items())


def test_a_seed_determines_every_mask_of_the_tree():
    def masks(seed: int) -> list[np.ndarray]:
        layers = nn.Sequential(nn.Dropout(0.5), nn.Residual(nn.Sequential(nn.Dropout(0.5))), nn.Dropout(0.5))
        layers.seed(seed)
        x = np.ones((30, 20), np.float32)
        return [layers[0](x), layers[1](x), layers[2](x), layers(x)]

    first, second, other = masks(5), masks(5), masks(6)
    assert all(map(np.array_equal, first, second))
    assert not any(map(np.array_equal, first, other))
    assert not np.array_equal(first[0], first[2])


def test_a_seed_is_returned_with_its_network():
    layers = nn.Sequential(nn.Dropout(0.5))
    assert layers.seed(1) is layers
    assert layers.reset_parameters(np.random.default_rng(0)) is layers
