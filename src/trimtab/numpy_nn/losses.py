"""Losses: the value and its gradient with respect to the first argument, together. Reductions are torch's.

With ``reduction="none"`` the values are returned one by one, and the gradient is that of their sum.

Legend: ``B`` batch, ``K`` classes, ``D`` any further axes, ``N`` rows: B times D.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from trimtab.numpy_nn.activations import sigmoid
from trimtab.numpy_nn.module import Array, Parameter

Loss = tuple[float | Array, Array]


def softmax(x: Array, dim: int = -1) -> Array:
    """Return exp(x) divided by its sum along ``dim``, without overflow."""
    powers = np.exp(x - x.max(axis=dim, keepdims=True, initial=-np.inf))
    shares: Array = powers / powers.sum(axis=dim, keepdims=True)
    return shares


def log_softmax(x: Array, dim: int = -1) -> Array:
    """Return the logarithm of `softmax`, exact also where that is zero."""
    below = x - x.max(axis=dim, keepdims=True, initial=-np.inf)
    logarithms: Array = below - np.log(np.exp(below).sum(axis=dim, keepdims=True))
    return logarithms


def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Loss:
    """Return minus the logarithm of the softmax probability of the right class; the gradient is softmax - target.

    Parameters
    ----------
    input
        Logits [B, K, *D].
    target
        Classes [B, *D], or probabilities [B, K, *D].
    weight
        Of each class [K]; with classes, the mean is the weighted one.
    ignore_index
        A class whose rows do not count.
    reduction
        ``"mean"``, ``"sum"`` or ``"none"``.
    label_smoothing
        Share of the target that is spread evenly over all classes.

    Raises
    ------
    ValueError
        If shapes or classes do not belong together.
    """
    logarithms = log_softmax(_rows(input))  # [N, K]
    parts, total = _parts(input, target, weight, ignore_index, label_smoothing)
    slopes = np.exp(logarithms)
    slopes *= parts.sum(axis=1, keepdims=True)
    slopes -= parts
    return _reduced(_weighted(parts, logarithms), slopes, total, input, reduction)


def nll_loss(
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Loss:
    """Return minus the input of the right class: `cross_entropy` for an input [B, K, *D] of log probabilities."""
    if target.dtype.kind == "f":
        raise ValueError(f"target is {target.dtype}; expected whole numbers; cross_entropy takes probabilities.")
    parts, total = _parts(input, target, weight, ignore_index, 0.0)
    return _reduced(_weighted(parts, _rows(input)), -parts, total, input, reduction)


def binary_cross_entropy_with_logits(
    input: Array,
    target: Array,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
) -> Loss:
    """Return -(p t log s + (1 - t) log(1 - s)) with s = sigmoid(x) and p = ``pos_weight``, without overflow.

    All of one shape, or such that they broadcast to it; the gradient is (1 - t + p t) s - p t, times ``weight``.
    """
    _check_same(input, target)
    positive = target if pos_weight is None else target * pos_weight
    share = 1 - target + positive
    softplus = np.log1p(np.exp(-np.abs(input))) + np.maximum(-input, 0)  # -log s
    values, slopes = (1 - target) * input + share * softplus, share * sigmoid(input) - positive
    if weight is not None:
        values, slopes = values * weight, slopes * weight
    return _reduced_elements(values, slopes.astype(input.dtype), reduction)


def mse_loss(input: Array, target: Array, reduction: str = "mean") -> Loss:
    """Return the squared difference; gradient 2 (x - t)."""
    _check_same(input, target)
    difference = input - target
    return _reduced_elements(difference * difference, 2 * difference, reduction)


def l1_penalty(parameters: Iterable[Parameter], strength: float) -> float:
    """Return ``strength`` times the sum of all absolute values, and add strength * sign(w) to the gradients."""
    total = 0.0
    for parameter in (parameter for parameter in parameters if parameter.requires_grad):
        total += strength * float(np.abs(parameter.data).sum())
        parameter.grad += (strength * np.sign(parameter.data)).astype(parameter.grad.dtype)
    return total


def l2_penalty(parameters: Iterable[Parameter], strength: float) -> float:
    """Return half ``strength`` times the sum of all squares, and add strength * w to the gradients: weight decay."""
    total = 0.0
    for parameter in (parameter for parameter in parameters if parameter.requires_grad):
        total += strength / 2 * float(np.square(parameter.data).sum())
        parameter.grad += (strength * parameter.data).astype(parameter.grad.dtype)
    return total


def _rows(x: Array) -> Array:
    """Return [B, K, *D] as [N, K]; one example [K] as [1, K]."""
    if x.ndim == 2:
        return x
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]) if x.ndim > 1 else x[None]


def _parts(
    input: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float
) -> tuple[Array, float]:
    """Return how much each logarithm counts, [N, K], and what the sum is divided by in the mean."""
    classes = input.shape[min(1, input.ndim - 1)]
    weights = np.ones(classes, input.dtype) if weight is None else np.asarray(weight, input.dtype)
    if target.dtype.kind == "f" and target.shape == input.shape:
        shares = (1 - smoothing) * _rows(target) + smoothing / classes
        return (shares * weights).astype(input.dtype), float(len(shares))
    expected = (*input.shape[: input.ndim - 1][:1], *input.shape[2:])
    if target.dtype.kind not in "iu" or target.shape != expected:
        raise ValueError(
            f"target is {target.dtype} {list(target.shape)} for an input {list(input.shape)}; expected whole numbers "
            f"{list(expected)} or probabilities of the input's shape; convert it."
        )
    chosen = target.reshape(-1)
    rows = np.flatnonzero(chosen != ignore_index)
    valid = chosen[rows]
    if valid.size and not 0 <= valid.min() <= valid.max() < classes:
        raise ValueError(f"target holds classes {valid.min()} to {valid.max()}; expected 0 to {classes - 1}.")
    parts = np.zeros((len(chosen), classes), input.dtype)
    if smoothing:
        parts[rows] = smoothing / classes * weights
    parts[rows, valid] += (1 - smoothing) * weights[valid]
    return parts, float(weights[valid].sum())


def _weighted(parts: Array, logarithms: Array) -> Array:
    """Return minus the sum of the parts [N, K] of the logarithms; one that does not count may be infinite."""
    return -(parts * np.where(parts != 0, logarithms, 0)).sum(axis=1)


def _reduced(values: Array, slopes: Array, total: float, input: Array, reduction: str) -> Loss:
    """Return the reduced values [N] and slopes [N, K], the latter in the input's shape."""
    _check_reduction(reduction)
    if reduction == "mean":
        values, slopes = values / (total or np.nan), slopes / (total or 1)
    if input.ndim == 1:
        return values[0] if reduction == "none" else float(values.sum()), slopes[0]
    spread = (input.shape[0], *input.shape[2:])
    grad = slopes if input.ndim == 2 else np.moveaxis(slopes.reshape(*spread, input.shape[1]), -1, 1)
    grad = grad.astype(input.dtype, copy=False)
    return (values.reshape(spread) if reduction == "none" else float(values.sum())), grad


def _reduced_elements(values: Array, slopes: Array, reduction: str) -> Loss:
    _check_reduction(reduction)
    if reduction == "none":
        return values, slopes
    if reduction == "mean":
        return float(values.mean()), slopes / slopes.dtype.type(values.size)
    return float(values.sum()), slopes


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is '{reduction}'; expected mean, sum or none; choose one.")


def _check_same(input: Array, target: Array) -> None:
    if input.shape != target.shape:
        raise ValueError(f"target is {list(target.shape)}; expected the input's shape {list(input.shape)}; reshape it.")
