"""Every layer with every option does what torch's does: outputs, gradients, running statistics, names."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.numpy_nn.parity import LAYERS, Case, assert_parity, network, row

from trimtab import numpy_nn as nn

CONVOLUTIONS = [
    row("Conv2d", (3, 6, 9, 11), 6, 12, kernel, **options)
    for kernel, options in itertools.product(
        [3, (2, 3), 1, 4],
        [
            {},
            {"stride": 2},
            {"padding": 3},
            {"padding": 2, "dilation": 2},
            {"padding": "same"},
            {"padding": "valid"},
            {"bias": False, "stride": 3, "padding": 1},
            {"groups": 2, "stride": 2, "padding": 1},
            {"groups": 3, "bias": False},
            {"groups": 6, "stride": (2, 1), "padding": (1, 2)},
            {"groups": 6, "dilation": (1, 2), "padding": 2},
        ],
    )
]
GEOMETRY = [
    row("Conv2d", (1, 3, 5, 5), 3, 2, 5),
    row("Conv2d", (1, 1, 1, 1), 1, 1, 1),
    row("Conv2d", (1, 1, 1, 1), 1, 1, 3, padding=1),
    row("Conv2d", (2, 2, 1, 9), 2, 5, (1, 4), stride=(3, 2)),
    row("Conv2d", (2, 5, 8, 3), 5, 2, (7, 1), padding=(6, 0)),
    row("Conv2d", (2, 3, 8, 7), 3, 3, 2, stride=3),
    row("Conv2d", (2, 3, 8, 7), 3, 5, (3, 2), stride=(1, 3), padding=(2, 4), dilation=(3, 2)),
    row("Conv2d", (2, 3, 8, 7), 3, 5, 3, padding="same", dilation=(1, 3)),
    row("Conv2d", (1, 4, 5, 6), 4, 4, 3, padding=1, groups=4, bias=False),
    row("Conv2d", (2, 4, 5, 6), 4, 12, 3, stride=2, padding=2, groups=4),
    row("Conv2d", (2, 4, 5, 6), 4, 8, (1, 3), groups=4, dilation=2),
    row("Conv2d", (2, 8, 5, 6), 8, 4, 3, groups=2),
    row("Conv2d", (2, 20, 5, 6), 20, 18, 3, padding=1, algorithm="im2col"),
    row("Conv2d", (2, 5, 7, 6), 5, 3, 3, padding=1, calls=3),
]
WINOGRAD = [
    row("Conv2d", (batch, 4, *size), 4, 5, 3, padding=padding, algorithm="winograd", bias=bias)
    for padding, (batch, size, bias) in itertools.product(
        [0, 1, 2, (2, 0)],
        [(3, (9, 11), True), (1, (4, 4), False), (1, (3, 3), True), (2, (6, 10), True), (2, (8, 5), False)],
    )
] + [
    row("Conv2d", (2, 1, 1, 1), 1, 2, 3, padding=1, algorithm="winograd"),
    row("Conv2d", (2, 2, 5, 6), 2, 3, 3, padding=3, algorithm="winograd"),
    row("Conv2d", (2, 2, 5, 6), 2, 3, 3, padding="same", algorithm="winograd"),
    row("Conv2d", (3, 2, 5, 6), 2, 3, 3, padding=1, algorithm="winograd", calls=2),
    row("Conv2d", (3, 16, 9, 11), 16, 20, 3, padding=1),
    row("Conv2d", (1, 20, 7, 8), 20, 16, 3),
    row("Conv2d", (70, 3, 5, 6), 3, 4, 3, padding=1, algorithm="winograd"),
]
TRANSPOSED = [
    row("ConvTranspose2d", (3, 4, 5, 6), 4, 8, kernel, **options)
    for kernel, options in itertools.product(
        [3, (2, 3), 1, 4],
        [
            {},
            {"stride": 2, "padding": 1, "output_padding": 1},
            {"stride": (3, 2), "dilation": 2, "padding": (1, 0), "output_padding": (2, 1)},
            {"groups": 2, "stride": 2},
            {"groups": 4},
            {"groups": 4, "stride": 2, "padding": 1, "output_padding": (0, 1), "bias": False},
            {"dilation": 2, "output_padding": 1, "bias": False},
        ],
    )
] + [
    row("ConvTranspose2d", (1, 1, 1, 1), 1, 1, 2),
    row("ConvTranspose2d", (2, 8, 3, 4), 8, 8, 3, groups=8, stride=2),
    row("ConvTranspose2d", (2, 6, 3, 4), 6, 2, 4, stride=2, padding=1, calls=2),
]
POOLING = [
    row("MaxPool2d", (2, 3, 9, 10), kernel, ceil_mode=ceil_mode, **options)
    for ceil_mode, (kernel, options) in itertools.product(
        [False, True],
        [
            (2, {}),
            (3, {"stride": 2}),
            (3, {"stride": 2, "padding": 1}),
            (2, {"stride": 3}),
            ((2, 3), {"stride": (1, 2), "padding": (1, 0)}),
            (3, {"stride": 1, "padding": 1, "dilation": 2}),
            (4, {"stride": 4, "padding": 2}),
            ((3, 1), {}),
            (9, {"stride": 2}),
        ],
    )
] + [
    row(
        "AvgPool2d",
        (2, 3, 9, 10),
        kernel,
        ceil_mode=ceil,
        count_include_pad=counts,
        divisor_override=divisor,
        **options,
    )
    for ceil, counts, divisor, (kernel, options) in itertools.product(
        [False, True],
        [True, False],
        [None, 5],
        [
            (2, {}),
            (3, {"stride": 2}),
            (3, {"stride": 2, "padding": 1}),
            ((2, 3), {"stride": (1, 2), "padding": (1, 0)}),
            (4, {"stride": 3, "padding": 2}),
            ((9, 1), {}),
        ],
    )
]
RESAMPLING = [
    *(row("AdaptiveAvgPool2d", (2, 3, 9, 10), size) for size in (1, 3, 7, (4, 5), (None, 2), (2, None), 12, (9, 10))),
    row("AdaptiveAvgPool2d", (1, 2, 1, 1), 1),
    *(
        row("Upsample", (2, 3, 4, 6), mode=mode, **options)
        for mode, options in itertools.product(
            ["nearest", "bilinear"],
            [
                {"scale_factor": 2},
                {"scale_factor": 3},
                {"scale_factor": 1.7},
                {"scale_factor": (0.6, 1.25)},
                {"scale_factor": 1.1},
                {"size": 5},
                {"size": (3, 13)},
                {"size": (4, 6)},
                {"size": 1},
            ],
        )
    ),
    row("Upsample", (2, 3, 4, 6), size=(5, 13), mode="bilinear", align_corners=True),
    row("Upsample", (2, 3, 4, 6), scale_factor=2, mode="bilinear", align_corners=True),
    row("Upsample", (2, 3, 4, 6), size=(1, 1), mode="bilinear", align_corners=True),
    row("Upsample", (2, 3, 4, 6), size=(7, 3), mode="bilinear", align_corners=False),
    row("Upsample", (2, 3, 1, 6), size=(3, 2), mode="bilinear", align_corners=True),
]
NORMALIZATION = [
    row(layer, shape, 5, training=training, calls=calls, **options)
    for (layer, shape), options, (training, calls) in itertools.product(
        [("BatchNorm1d", (6, 5)), ("BatchNorm1d", (6, 5, 3)), ("BatchNorm2d", (3, 5, 3, 2))],
        [
            {},
            {"momentum": None},
            {"momentum": 0.7},
            {"affine": False},
            {"track_running_stats": False, "eps": 0.1},
            {"affine": False, "track_running_stats": False},
        ],
        [(True, 4), (False, 2)],
    )
] + [
    row("BatchNorm1d", (2, 3), 3),
    row("BatchNorm1d", (1, 3), 3, training=False),
    row("BatchNorm2d", (1, 3, 2, 1), 3),
    row("LayerNorm", (3, 5), 5),
    row("LayerNorm", (5,), 5),
    row("LayerNorm", (3, 5), 5, eps=0.2, calls=2),
    row("LayerNorm", (3, 2, 5), 5, bias=False),
    row("LayerNorm", (3, 2, 5), 5, elementwise_affine=False),
    row("LayerNorm", (3, 2, 4, 5), (4, 5)),
    row("LayerNorm", (3, 2, 4, 5), (2, 4, 5), bias=False),
    row("LayerNorm", (3, 2, 4, 5), (4, 5), elementwise_affine=False),
]
ELEMENTWISE = [
    *(row("LeakyReLU", (3, 4, 5, 2), *slope) for slope in ((), (0.0,), (0.3,), (1.0,), (1.5,), (-0.5,))),
    *(row(name, shape) for name in ("ReLU", "Tanh", "Sigmoid", "SiLU", "GELU") for shape in ((), (7,), (2, 3, 4, 5))),
    row("GELU", (30, 4), approximate="tanh"),
    row("GELU", (30, 4), approximate="none"),
    row("ReLU", (3, 4), inplace=True),
    row("LeakyReLU", (3, 4), 0.1, True),
    row("SiLU", (3, 4), True),
    row("Dropout", (3, 4), 0.3, inplace=True, training=False),
    row("Dropout", (3, 4), 0.0),
    row("Dropout", (3, 4), 1.0, training=False),
]
MATRICES = [
    row("Linear", (4, 5), 5, 7, bias=False),
    row("Linear", (2, 4, 5), 5, 7),
    row("Linear", (2, 3, 4, 5), 5, 1),
    row("Linear", (5,), 5, 3),
    row("Linear", (1, 1), 1, 1),
    row("Linear", (2, 5), 5, 3, calls=3),
    row("Embedding", (4, 5), 7, 3, classes=7),
    row("Embedding", (40,), 7, 3, padding_idx=2, classes=7),
    row("Embedding", (2, 3, 4), 7, 3, padding_idx=-1, classes=7),
    row("Embedding", (), 7, 3, classes=7),
]
SHAPES = [
    row("Flatten", (4, 6, 2)),
    row("Flatten", (4, 6)),
    row("Flatten", (4, 6, 2), 0, 1),
    row("Flatten", (4, 6, 2), 0),
    row("Flatten", (4, 6, 2, 3), 2),
    row("Flatten", (4, 6, 2, 3), -3, -2),
    row("Flatten", (4, 6, 2, 3), 1, 1),
    row("Unflatten", (4, 6), 1, (2, 3)),
    row("Unflatten", (4, 6), -1, (3, 1, 2)),
    row("Unflatten", (4, 6), 1, (2, -1)),
    row("Unflatten", (6, 4), 0, (-1, 3)),
    row("Unflatten", (2, 12, 3), 1, (3, 2, 2)),
]


def picture_network(nn):
    """Return a network of everything that pictures pass through; the activations before maxima change places."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(3, 2, 1),
        nn.Residual(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, algorithm="winograd"), nn.ReLU(), nn.Identity())),
        nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(6, 8, 3, padding=1, groups=2),
        nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.Flatten(),
        nn.LayerNorm(24),
        nn.Linear(24, 5),
    )


NETWORKS = [
    network("network for pictures", (4, 3, 13, 10), picture_network, calls=2),
    network("network for pictures in evaluation mode", (4, 3, 13, 10), picture_network, training=False),
    network("ReLU before a maximum", (2, 3, 6, 8), lambda nn: nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))),
    network(
        "LeakyReLU before overlapping maxima",
        (2, 3, 7, 8),
        lambda nn: nn.Sequential(nn.LeakyReLU(0.3), nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    ),
    network(
        "ReLU before two maxima", (2, 3, 8, 9), lambda nn: nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(2, 1))
    ),
    network(
        "two activations before a maximum",
        (2, 3, 6, 6),
        lambda nn: nn.Sequential(nn.LeakyReLU(0.5), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(2)),
    ),
    network(
        "falling LeakyReLU before a maximum",
        (2, 3, 6, 6),
        lambda nn: nn.Sequential(nn.LeakyReLU(-0.5), nn.MaxPool2d(2)),
    ),
    network(
        "words to classes",
        (5, 4),
        lambda nn: nn.Sequential(nn.Embedding(9, 6), nn.Flatten(), nn.Linear(24, 7), nn.Tanh(), nn.Linear(7, 2)),
        classes=9,
    ),
    network(
        "rows",
        (6, 5),
        lambda nn: nn.Sequential(nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8)), nn.SiLU(), nn.Linear(8, 3)),
        calls=3,
    ),
    network(
        "axes exchanged for examples",
        (6, 4, 5),
        lambda nn: nn.Sequential(nn.Flatten(0, 1), nn.Linear(5, 3), nn.Unflatten(0, (6, 4))),
    ),
    network(
        "every step of every sequence on its own",
        (4, 3, 5),
        lambda nn: nn.Sequential(nn.Linear(5, 6), nn.Flatten(0, 1), nn.LayerNorm(6), nn.Linear(6, 2)),
    ),
    network(
        "one row without a batch",
        (7,),
        lambda nn: nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 2)),
    ),
    network(
        "residual within a residual",
        (4, 6),
        lambda nn: nn.Residual(nn.Sequential(nn.Linear(6, 6), nn.Residual(nn.Residual(nn.Linear(6, 6))))),
    ),
    network("no layers", (4, 6), lambda nn: nn.Sequential(nn.Sequential(), nn.Residual(nn.Identity()))),
]
TABLE = [
    *LAYERS,
    *MATRICES,
    *CONVOLUTIONS,
    *GEOMETRY,
    *WINOGRAD,
    *TRANSPOSED,
    *POOLING,
    *RESAMPLING,
    *NORMALIZATION,
    *ELEMENTWISE,
    *SHAPES,
    *NETWORKS,
]


@pytest.mark.parametrize("case", TABLE)
def test_a_layer_does_what_that_of_torch_does(case):
    assert_parity(case)


# What rounding in float32 may change, relative to the largest number of an array.
FLOAT32 = {"winograd": 1e-5, "other": 1e-6, "network": 1e-5}
WIDE = [
    row("Conv2d", (2, 64, 16, 14), 64, 64, 3, padding=1),
    row("Conv2d", (2, 64, 16, 14), 64, 64, 3, padding=1, algorithm="im2col"),
    row("Linear", (64, 500), 500, 100),
    row("BatchNorm2d", (8, 16, 15, 14), 16),
]


def algorithm_of(layer: nn.Module) -> str:
    """Return the key of `FLOAT32` for a layer."""
    if isinstance(layer, nn.Sequential | nn.Residual):
        return "network"
    return "winograd" if isinstance(layer, nn.Conv2d) and layer.algorithm == "winograd" else "other"


@pytest.mark.parametrize("case", [*TABLE, *WIDE])
def test_float32_is_as_good_as_its_rounding(case):
    assert_parity(case, dtype=np.float32, tolerance=FLOAT32[algorithm_of(case.make(nn))])


def test_every_layer_is_in_the_table():
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    layers = {name for name in layers if issubclass(getattr(nn, name), nn.Module)} - {"Module"}
    assert layers == {type(case.values[0].make(nn)).__name__ for case in LAYERS}


# ---- how arrays lie in memory ----


def transposed(x):
    return np.ascontiguousarray(x.T).T


def channels_last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if x.ndim > 1 else x.copy()


def stepped(x):
    spread = np.full([2 * size for size in x.shape], 7, x.dtype)
    spread[(slice(1, None, 2),) * x.ndim] = x
    return spread[(slice(1, None, 2),) * x.ndim]


def backwards(x):
    return np.flip(np.flip(x).copy())


def part_of_channels(x):
    whole = np.concatenate([x[:, :1], x, x[:, :1]], axis=1)
    return whole[:, 1:-1]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def one_number(x):
    return np.broadcast_to(x.dtype.type(1.5), x.shape)


LAYOUTS = [
    (channels_last, np.ascontiguousarray),
    (np.ascontiguousarray, channels_last),
    (channels_last, channels_last),
    (transposed, stepped),
    (stepped, transposed),
    (backwards, one_number),
    (part_of_channels, backwards),
    (read_only, read_only),
]


@pytest.mark.parametrize(("lay", "lay_grad"), LAYOUTS)
@pytest.mark.parametrize("case", LAYERS)
def test_how_inputs_and_gradients_lie_in_memory_changes_nothing(case, lay, lay_grad):
    assert_parity(case, lay=lay, lay_grad=lay_grad)


@pytest.mark.parametrize("case", LAYERS)
def test_an_output_made_of_pieces_does_not_hold_memory_of_before(case, hostile_memory):
    assert_parity(case)


@pytest.mark.parametrize("case", TABLE)
def test_pieces_and_threads_change_nothing_but_rounding(case, small_pieces):
    with nn.threads(3):
        assert_parity(case)


@pytest.mark.parametrize("case", TABLE)
def test_in_a_network_on_threads_a_layer_does_what_it_does_alone(case, small_pieces):
    within = replace(case, make=lambda namespace: namespace.Sequential(case.make(namespace)))
    with nn.threads(3):
        assert_parity(within)


# ---- what is not in a state dict ----


@pytest.mark.parametrize("shape", [(2, 3, 7, 6), (1, 1, 4, 4), (3, 2, 9, 5)])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0), "ceil_mode": True},
        {"kernel_size": 2, "stride": 1, "dilation": (2, 3)},
    ],
)
def test_the_places_of_the_maxima_are_those_of_torch(shape, options, rng):
    x = rng.integers(0, 4, shape).astype(float)  # with many that are equally large
    pool = nn.MaxPool2d(**options, return_indices=True)
    pool(x)
    _, indices = torch.nn.MaxPool2d(**options, return_indices=True)(torch.tensor(x))
    assert pool.indices.dtype == np.int64
    assert np.array_equal(pool.indices, indices.numpy())


def test_the_places_of_the_maxima_are_there_without_gradients_and_on_threads(rng, small_pieces):
    x = rng.standard_normal((5, 2, 6, 8))
    pool, convolution = nn.MaxPool2d(2, return_indices=True), nn.Conv2d(2, 3, 1).to(np.float64)
    with nn.inference(), nn.threads(3):
        nn.Sequential(convolution, pool)(x)
    _, indices = torch.nn.MaxPool2d(2, return_indices=True)(torch.tensor(np.ascontiguousarray(convolution(x))))
    assert np.array_equal(pool.indices, indices.numpy())


def test_the_places_of_the_maxima_after_a_relu_are_those_of_torch(rng):
    x = rng.standard_normal((3, 2, 6, 8)) - 0.5
    pool = nn.MaxPool2d(2, return_indices=True)
    nn.Sequential(nn.ReLU(), pool)(x)
    _, indices = torch.nn.MaxPool2d(2, return_indices=True)(torch.tensor(x).relu())
    assert np.array_equal(pool.indices, indices.numpy())


def test_places_of_maxima_fit_into_windows_of_more_than_a_byte(rng):
    x = rng.standard_normal((1, 2, 20, 19))
    ours, theirs = nn.MaxPool2d(17, 1), torch.nn.MaxPool2d(17, 1)
    tensor = torch.tensor(x, requires_grad=True)
    output = theirs(tensor)
    output.sum().backward()
    assert np.array_equal(ours(x), output.detach().numpy())
    assert np.array_equal(ours.backward(np.ones(output.shape)), tensor.grad.numpy())


def test_pictures_without_a_finite_number_keep_their_gradient():
    x = np.full((1, 1, 4, 4), -np.inf)
    ours, tensor = nn.MaxPool2d(3, 2, 1), torch.tensor(x, requires_grad=True)
    output = torch.nn.MaxPool2d(3, 2, 1)(tensor)
    output.backward(torch.ones_like(output))
    assert np.array_equal(ours(x), output.detach().numpy())
    assert np.array_equal(ours.backward(np.ones((1, 1, 2, 2))), tensor.grad.numpy())


# ---- dropout in training ----


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_zeroes_the_share_asked_for_and_scales_the_rest(p, dtype):
    x = np.full((200, 300), 3, dtype)
    y = nn.Dropout(p).seed(0)(x)
    assert y.dtype == dtype
    assert set(np.unique(y)) == {0, dtype(3) * dtype(1 / (1 - p))}
    assert np.mean(y == 0) == pytest.approx(p, abs=0.01)  # five standard deviations
    assert y.mean() == pytest.approx(3, rel=0.02)


def test_dropout_sends_gradients_back_through_the_same_mask(rng):
    x, grad = rng.standard_normal((2, 50, 40))
    dropout = nn.Dropout(0.4).seed(1)
    mask = dropout(x) / x
    assert np.allclose(dropout.backward(grad), grad * mask, rtol=1e-14)


def test_dropout_of_all_and_of_nothing(rng):
    x = rng.standard_normal((5, 6))
    everything, nothing = nn.Dropout(1.0), nn.Dropout(0.0)
    assert not everything(x).any()
    assert not everything.backward(x).any()
    assert np.array_equal(nothing(x), x)
    assert np.array_equal(nothing.backward(x), x)


def test_every_call_of_dropout_draws_another_mask(rng):
    dropout, x = nn.Dropout(0.5).seed(0), np.ones((20, 20))
    assert not np.array_equal(dropout(x), dropout(x))


# ---- several backward passes ----


def small_network(namespace):
    """Return a network for pictures [B, 2, 8, 8] with two of the algorithms."""
    return namespace.Sequential(
        namespace.Conv2d(2, 4, 3, padding=1),
        namespace.BatchNorm2d(4),
        namespace.ReLU(),
        namespace.MaxPool2d(2),
        namespace.Residual(namespace.Conv2d(4, 4, 3, padding=1, algorithm="winograd")),
        namespace.Flatten(),
        namespace.Linear(64, 3),
    )


SMALL = Case(small_network, (5, 2, 8, 8))


@pytest.fixture
def small(rng):
    """A network, its input and a gradient of its output, in float64."""
    layers = small_network(nn).reset_parameters(rng).to(np.float64)
    return layers, rng.standard_normal(SMALL.shape), rng.standard_normal((5, 3))


def gradients(layers: nn.Module) -> dict[str, np.ndarray]:
    return {name: parameter.grad.copy() for name, parameter in layers.named_parameters()}


def test_gradients_of_two_batches_add_up_as_in_torch():
    assert_parity(replace(SMALL, calls=2))


def test_zero_grad_starts_the_sum_anew(small):
    layers, x, grad = small
    layers(x)
    layers.backward(grad)
    once = gradients(layers)
    layers.zero_grad()
    assert not any(values.any() for values in gradients(layers).values())
    layers(x)
    layers.backward(grad)
    assert all(np.array_equal(values, once[name]) for name, values in gradients(layers).items())


@pytest.mark.parametrize("case", [case for case in LAYERS if list(case.values[0].make(nn).parameters())])
def test_frozen_parameters_keep_their_gradients(case, rng):
    layer = case.make(nn).to(np.float64).train(case.training)
    (x,) = case.inputs(rng)
    y = layer(x)
    expected = layer.backward(np.ones_like(y))
    before = gradients(layer)
    layer.requires_grad_(False)
    layer(x)
    assert np.array_equal(layer.backward(np.ones_like(y)), expected)
    assert all(np.array_equal(values, before[name]) for name, values in gradients(layer).items())
    layer.requires_grad_()
    layer(x)
    layer.backward(np.ones_like(y))
    assert all(np.allclose(values, 2 * before[name]) for name, values in gradients(layer).items())


def test_one_frozen_parameter_does_not_freeze_the_others(small):
    layers, x, grad = small
    frozen = dict(layers.named_parameters())["4.module.weight"]
    frozen.requires_grad = False
    layers(x)
    layers.backward(grad)
    assert {name for name, values in gradients(layers).items() if not values.any()} == {"4.module.weight"}


@pytest.mark.parametrize("case", [*LAYERS, *NETWORKS, pytest.param(SMALL, id="small network")])
def test_without_input_gradient_those_of_the_parameters_are_the_same(case, rng):
    layers = nn.Sequential(case.make(nn)).reset_parameters(rng).to(np.float64).train(case.training)
    x = case.inputs(rng)[0]
    y = layers(x)
    grad = rng.standard_normal(y.shape)
    layers.backward(grad)
    expected = gradients(layers)
    layers.zero_grad()
    layers.input_gradient = False
    layers(x)
    assert layers.backward(grad).size == 0
    assert all(np.array_equal(values, expected[name]) for name, values in gradients(layers).items())


def test_the_first_layer_with_parameters_is_told_that_its_input_needs_no_gradient(rng):
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    layers = nn.Sequential(nn.Tanh(), nn.Residual(nn.Sequential(nn.Identity(), first, nn.Tanh(), second)))
    layers.input_gradient = False
    y = layers(rng.standard_normal((4, 5)).astype(np.float32))
    layers.backward(y)
    assert not first.input_gradient
    assert second.input_gradient


def test_input_gradient_can_be_asked_for_again(small):
    layers, x, grad = small
    layers(x)
    expected = layers.backward(grad)
    layers.input_gradient = False
    layers(x)
    layers.backward(grad)
    layers.input_gradient = True
    layers(x)
    assert np.array_equal(layers.backward(grad), expected)


@pytest.mark.parametrize("case", [*LAYERS, pytest.param(SMALL, id="small network")])
def test_a_layer_that_retains_can_go_back_again(case, rng):
    layers = case.make(nn).to(np.float64).train(case.training)
    for layer in layers.modules():
        layer.retains = True
    y = layers(case.inputs(rng)[0])
    grad = rng.standard_normal(y.shape)
    first = layers.backward(grad)
    once = gradients(layers)
    assert np.array_equal(layers.backward(grad), first)
    assert all(np.allclose(values, 2 * once[name], rtol=1e-12) for name, values in gradients(layers).items())


NOTHING = (
    " has nothing to go back from; expected a forward pass, outside `inference()`, before each backward pass; "
    "call the network first."
)


@pytest.mark.parametrize("case", [case for case in LAYERS if case.values[0].make(nn).__class__ is not nn.Identity])
def test_going_back_without_going_forward_is_an_error(case, rng):
    layer = case.make(nn).to(np.float64)
    x = case.inputs(rng)[0]
    y = layer.eval()(x)
    layer.backward(np.ones_like(y))
    with pytest.raises(RuntimeError) as second:
        layer.backward(np.ones_like(y))
    with nn.inference():
        layer(x)
    with pytest.raises(RuntimeError) as inferred:
        layer.backward(np.ones_like(y))
    assert str(second.value).endswith(NOTHING)
    assert str(inferred.value) == str(second.value)


def test_the_error_names_the_layer():
    with pytest.raises(RuntimeError) as raised:
        nn.Linear(3, 2).backward(np.ones((1, 2)))
    assert str(raised.value) == "Linear" + NOTHING


def test_inference_gives_the_same_outputs_and_keeps_nothing(small):
    layers, x, _ = small
    layers.eval()
    expected = layers(x)
    with nn.inference():
        assert np.array_equal(layers(x), expected)
    assert all(layer._kept is None for layer in layers.modules())


def test_inference_ends_also_after_an_error(small):
    layers, x, grad = small
    with pytest.raises(KeyError), nn.inference():
        raise KeyError("inside")
    layers(x)
    assert layers.backward(grad).shape == x.shape


def test_inference_within_inference_ends_with_the_outer_one(small):
    layers, x, grad = small
    with nn.inference():
        with nn.inference():
            layers(x)
        layers(x)
    with pytest.raises(RuntimeError):
        layers.backward(grad)
