"""Computing with codes gives what the formula says, and what is no 8-bit network is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from trimtab import numpy_nn as nn
from trimtab.numpy_nn.quantized import assemble, float_parameters

ACTIVATIONS: dict[str, Any] = {"input": [0.0213, 128], "0.2": [0.1171, 0], "1.sum": [0.1319, 3], "2": [0.0937, 3]}


def network() -> nn.Sequential:
    """Each kind of layer that computes with codes, and those that are left out."""
    stem = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
    )
    twice = nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.BatchNorm2d(4)))
    return nn.Sequential(stem, twice, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 5))


@pytest.fixture
def arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {}
    for name, shape in {"0.0": (4, 3, 3, 3), "1.module.0": (4, 1, 3, 3), "5": (5, 4)}.items():
        found[f"{name}.weight"] = rng.integers(-64, 64, shape).astype(np.int8)
        found[f"{name}.weight.scale"] = rng.uniform(0.001, 0.01, shape[0]).astype(np.float32)
        found[f"{name}.bias"] = rng.integers(-4000, 4000, shape[0]).astype(np.int32)
    return found


def on_grid(x: np.ndarray, place: str) -> np.ndarray:
    scale, zero_point = ACTIVATIONS[place]
    return scale * (np.clip(np.rint(x / scale) + zero_point, 0, 255) - zero_point)


def layer(kind: nn.Module, arrays: dict[str, np.ndarray], name: str, input_scale: float = 1.0) -> nn.Module:
    """The float64 layer with the weights and biases that the codes stand for."""
    weight, scale = arrays[f"{name}.weight"].astype(float), arrays[f"{name}.weight.scale"].astype(float)
    weight *= scale.reshape(-1, *[1] * (weight.ndim - 1))
    kind.to(np.float64).load_state_dict({"weight": weight, "bias": arrays[f"{name}.bias"] * scale * input_scale})
    return kind


def test_the_answers_are_those_of_the_formula(arrays: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    x = rng.uniform(-2.7, 2.7, (50, 3, 13, 9)).astype(np.float32)
    assembled = assemble(network(), arrays, ACTIVATIONS)
    with nn.inference():
        answers = assembled(x)
    y = on_grid(x.astype(float), "input")
    y = on_grid(np.maximum(layer(nn.Conv2d(3, 4, 3, stride=2, padding=1), arrays, "0.0", 0.0213)(y), 0), "0.2")
    y = nn.MaxPool2d(2)(y)
    y = on_grid(y + layer(nn.Conv2d(4, 4, 3, padding=1, groups=4), arrays, "1.module.0", 0.1171)(y), "1.sum")
    y = on_grid(y.mean((2, 3)), "2")
    expected = layer(nn.Linear(4, 5), arrays, "5", 0.0937)(y)
    assert np.std(expected, axis=0).min() > 0.01
    step = np.abs(arrays["5.weight"] * arrays["5.weight.scale"][:, None]).max() * ACTIVATIONS["2"][0]
    assert np.mean(np.abs(answers - expected) > 1e-5) < 0.02, "a code may be rounded the other way, but rarely"
    np.testing.assert_allclose(answers, expected, atol=1.01 * step)


def test_what_is_not_named_stays_float(arrays: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    x = rng.normal(0, 1, (4, 3, 8, 8)).astype(np.float32)
    with nn.inference():
        answers = assemble(network(), arrays, {})(x)
    y = nn.MaxPool2d(2)(np.maximum(layer(nn.Conv2d(3, 4, 3, stride=2, padding=1), arrays, "0.0")(x.astype(float)), 0))
    y = y + layer(nn.Conv2d(4, 4, 3, padding=1, groups=4), arrays, "1.module.0")(y)
    expected = layer(nn.Linear(4, 5), arrays, "5")(y.mean((2, 3)))
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-4)


def test_a_network_that_ends_in_codes_gives_values() -> None:
    pooled = assemble(nn.Sequential(nn.AdaptiveAvgPool2d(1)), {}, {"input": [0.5, 0]})
    with nn.inference():
        assert pooled(np.full((1, 2, 3, 3), 1.4, np.float32)).ravel() == pytest.approx([1.5, 1.5])


def test_halves_are_rounded_to_even_and_the_rest_is_clipped() -> None:
    identity = assemble(nn.Sequential(nn.Flatten()), {}, {"input": [2.0, 1]})
    x = np.array([[1.0, 3.0, 5.0, -1.0, -9.0, 1e4, 0.0]], np.float32)
    with nn.inference():
        assert identity(x).tolist() == [[0.0, 4.0, 4.0, 0.0, -2.0, 508.0, 0.0]]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("5.bias", None, "'5.bias' is missing; expected int32 or float32 [5]."),
        (
            "5.weight",
            np.zeros((5, 4), np.int16),
            "'5.weight' is int16 [5, 4]; expected int8 or float32 or float16 [5, 4].",
        ),
        (
            "5.weight",
            np.zeros((5, 4), np.float32),
            "'5.weight.scale' belong to no layer; expected the arrays and activations of this network.",
        ),
        ("5.weight.scale", np.ones(1, np.float32), "'5.weight.scale' is float32 [1]; expected float32 [5]."),
        ("7.bias", np.ones(1), "'7.bias' belong to no layer; expected the arrays and activations of this network."),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    name: str, value: np.ndarray | None, message: str, arrays: dict[str, np.ndarray]
) -> None:
    changed = {key: array for key, array in (arrays | {name: value}).items() if array is not None}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        assemble(network(), changed, ACTIVATIONS)


@pytest.mark.parametrize("numbers", [[0.0, 0], [-1.0, 0], [float("nan"), 0], [float("inf"), 0], [0.1, 256], [0.1, -1]])
def test_scales_and_zero_points_that_are_none_are_named(numbers: list[float], arrays: dict[str, np.ndarray]) -> None:
    message = f"'2' has the scale {numbers[0]} and zero point {numbers[1]}; expected > 0 and 0 to 255."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        assemble(network(), arrays, ACTIVATIONS | {"2": numbers})


def test_a_layer_that_bends_codes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^layer 1 is SiLU\(\); expected one that can compute in 8 bits\.$"):
        assemble(nn.Sequential(nn.Flatten(), nn.SiLU()), {}, {})


def test_a_function_of_values_is_given_values_and_its_answers_become_codes(rng: np.random.Generator) -> None:
    x = rng.uniform(-3, 3, (40, 7)).astype(np.float32)
    bent = assemble(nn.Sequential(nn.GELU()), {}, {"input": [0.03, 128], "0": [0.02, 10]})
    with nn.inference():
        answers = bent(x)
    rounded = 0.03 * (np.clip(np.rint(x / np.float32(0.03)) + 128, 0, 255) - 128)
    expected = 0.02 * (np.clip(np.rint(nn.GELU()(rounded) / 0.02) + 10, 0, 255) - 10)
    np.testing.assert_allclose(answers, expected, atol=1e-6)


def test_a_factor_after_products_is_in_their_weights_and_another_is_applied(rng: np.random.Generator) -> None:
    codes, scale, bias = rng.integers(-64, 64, (3, 5)).astype(np.int8), np.full(3, 0.01, np.float32), np.arange(3)
    arrays = {"0.weight": codes, "0.weight.scale": scale, "0.bias": bias.astype(np.int32)}
    x = rng.standard_normal((4, 5)).astype(np.float32)
    folded, applied = nn.Sequential(nn.Linear(5, 3), nn.Scale(0.5)), nn.Sequential(nn.Linear(5, 3), nn.ReLU())
    applied = nn.Sequential(*applied, nn.Scale(0.5))
    products = (x @ codes.T + bias) * scale
    with nn.inference():
        np.testing.assert_allclose(assemble(folded, arrays, {})(x), products, rtol=1e-5, atol=1e-6)
        rectified = assemble(applied, arrays, {})(x)
    np.testing.assert_allclose(rectified, np.maximum(products, 0) / 2, rtol=1e-5, atol=1e-6)


def test_parameters_of_a_function_of_values_are_asked_for(rng: np.random.Generator) -> None:
    network = nn.Sequential(nn.Tokens(4, 3), nn.Residual(nn.LayerNorm(3)))
    assert float_parameters(network) == ["0.position", "1.module.weight", "1.module.bias"]
    arrays = {key: array for key, array in network.state_dict().items() if key != "1.module.bias"}
    with pytest.raises(ValueError, match=r"^'1\.module\.bias' is missing; expected float32 \[3\]\.$"):
        assemble(network, arrays, {})
