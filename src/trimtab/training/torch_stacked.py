"""Several multi-layer perceptrons of one shape as one network whose parameters have one more dimension.

Each computes what it would compute alone by `trimtab.training.torch_steps`: from the same first weights, on its own
rows in its own order, with the same dropout. The sums are the same but for their last bits. A network with fewer
input features than the widest gets zeros instead, whose weights are zero and stay so.

Shapes: M networks, N rows of the one with most, B batch, F features of the widest, I O inputs and outputs of a layer,
H outputs of a hidden layer, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trimtab.training.order import Order, step_seed
from trimtab.training.recipe import Recipe
from trimtab.training.rows import Rows
from trimtab.training.stacked_loop import Member
from trimtab.training.stepper import Arrays
from trimtab.training.torch_steps import make_stepper

_LAYERS = 4  # entries of the network for each hidden layer: linear, normalization, activation, dropout
_MOMENTUM, _EPSILON = 0.1, 1e-5  # torch's own
_AT_ONCE = 2**22  # numbers of input that go through the networks in one pass outside training


@dataclass
class _Linear:
    """Weights [M, I, O], biases [M, O], and the position in the network of one."""

    weight: Tensor
    bias: Tensor
    position: int


@dataclass
class _Normalization:
    """All [M * H]: scale, shift, running mean and variance; and the position in the network of one."""

    scale: Tensor
    shift: Tensor
    mean: Tensor
    variance: Tensor
    position: int


def make_stacked(members: Sequence[Member], recipe: Recipe) -> Stacked:
    """Return the networks with the weights that each would begin with alone, ready for step 0."""
    first = [make_stepper("mlp", member.kwargs, member.training, recipe).weights() for member in members]
    return Stacked(members, recipe, first)


@final
class Stacked:
    """The networks, their optimizer and their training rows.

    Parameters
    ----------
    members
        With the same ``hidden``, ``num_classes`` and ``dropout``, and a batch of training rows at least.
    recipe
        AdamW in float32 on rows as they are.
    first
        The first weights of each, by torch's names and layouts.
    """

    def __init__(self, members: Sequence[Member], recipe: Recipe, first: Sequence[Arrays]) -> None:
        self._recipe, self._widths = recipe, [member.kwargs["in_features"] for member in members]
        self._dropout = float(members[0].kwargs.get("dropout", 0.0))
        depth = len(members[0].kwargs["hidden"])
        positions = range(0, _LAYERS * depth + 1, _LAYERS)
        self._linears = [_linear(first, position, max(self._widths)) for position in positions]
        self._normalizations = [_normalization(first, position + 1) for position in positions[:-1]]
        self._optimizer = self._make_optimizer()
        self._steps = 0
        self._orders = [Order(len(member.training), recipe.batch_size, recipe.seed) for member in members]
        self._rows, self._labels = _stack([member.training for member in members], max(self._widths))
        longest = len(self._rows) // len(members)
        self._offsets = longest * np.arange(len(members))[:, None]  # [M, 1]

    def copy(self) -> Stacked:
        """Return a twin on the same rows, for trials; nothing it does is seen by this one."""
        twin = copy.copy(self)
        twin._linears = copy.deepcopy(self._linears)
        twin._normalizations = copy.deepcopy(self._normalizations)
        twin._optimizer = twin._make_optimizer()
        return twin

    def step(self, step: int, rate: float) -> NDArray[np.float32]:
        """Do step number ``step`` of all networks in place, at learning rate ``rate``; return the losses [M]."""
        places = np.stack([order.at(step) for order in self._orders]) + self._offsets  # [M, B]
        chosen = torch.from_numpy(places.ravel())
        inputs = self._rows.index_select(0, chosen).view(*places.shape, -1)
        logits = self._forward(inputs, self._masks(step, places.shape[1]))
        losses = functional.cross_entropy(
            logits.reshape(places.size, -1),
            self._labels.index_select(0, chosen),
            label_smoothing=self._recipe.label_smoothing,
            reduction="none",
        )
        means = losses.view(places.shape).mean(dim=1)
        means.sum().backward()  # type: ignore[no-untyped-call]
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._steps += 1
        found: NDArray[np.float32] = means.detach().numpy()
        return found

    def logits(self, parts: Sequence[Rows]) -> list[NDArray[np.float32]]:
        """Return the output of each network for its own rows in evaluation mode: float32 [n, K] each."""
        rows, _ = _stack(parts, max(self._widths))
        inputs = rows.view(len(parts), -1, rows.shape[1])
        at_once = max(1, _AT_ONCE // (len(parts) * rows.shape[1]))
        with torch.inference_mode():
            found = torch.cat(
                [self._forward(chunk, None) for chunk in torch.split(inputs, at_once, dim=1)], dim=1
            ).numpy()
        return [outputs[: len(part)] for outputs, part in zip(found, parts, strict=True)]

    def weights(self, member: int) -> Arrays:
        """Return copies of the parameters and running statistics of one network, by torch's names and layouts."""
        found: Arrays = {}
        for linear in self._linears:
            weight = linear.weight.detach()[member].numpy()
            if linear.position == 0:
                weight = weight[: self._widths[member]]
            found[f"{linear.position}.weight"] = np.array(weight.T, order="C")
            found[f"{linear.position}.bias"] = np.array(linear.bias.detach()[member].numpy())
        for each in self._normalizations:
            tensors = {"weight": each.scale, "bias": each.shift, "running_mean": each.mean}
            for name, tensor in {**tensors, "running_var": each.variance}.items():
                own = tensor.detach().view(len(self._widths), -1)[member]
                found[f"{each.position}.{name}"] = np.array(own.numpy())
            found[f"{each.position}.num_batches_tracked"] = np.array(self._steps, dtype=np.int64)
        return found

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW, whose own decoupled decay of the weights is that of a network alone."""
        matrices = [linear.weight for linear in self._linears]
        vectors = [linear.bias for linear in self._linears]
        vectors += [tensor for each in self._normalizations for tensor in (each.scale, each.shift)]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": self._recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, fused=True)

    def _masks(self, step: int, batch: int) -> list[Tensor | None]:
        """Return what dropout multiplies each hidden layer by, [B, 1, H]: all networks alone would draw the same."""
        if not self._dropout:
            return [None] * len(self._normalizations)
        torch.manual_seed(step_seed(self._recipe.seed, step))
        widths = [linear.weight.shape[2] for linear in self._linears[:-1]]
        return [functional.dropout(torch.ones(batch, width), self._dropout).unsqueeze(1) for width in widths]

    def _forward(self, inputs: Tensor, masks: Sequence[Tensor | None] | None) -> Tensor:
        """Return logits [M, B, K] of inputs [M, B, F]; with masks, the networks are in training mode."""
        values, count = inputs, len(inputs)
        for index, each in enumerate(self._normalizations):
            linear = self._linears[index]
            values = torch.baddbmm(linear.bias.unsqueeze(1), values, linear.weight)
            values = values.transpose(0, 1).reshape(values.shape[1], -1)  # [B, M * H], as one wide layer
            values = functional.batch_norm(
                values,
                each.mean,
                each.variance,
                each.scale,
                each.shift,
                training=masks is not None,
                momentum=_MOMENTUM,
                eps=_EPSILON,
            )
            values = functional.relu(values).view(len(values), count, -1)
            mask = masks[index] if masks is not None else None
            values = (values if mask is None else values * mask).transpose(0, 1)
        last = self._linears[-1]
        return torch.baddbmm(last.bias.unsqueeze(1), values, last.weight)


def _linear(first: Sequence[Arrays], position: int, width: int) -> _Linear:
    """Return the layer at a position of all networks; the first one widened with zeros to ``width`` inputs."""
    weights = [arrays[f"{position}.weight"] for arrays in first]
    if position == 0:
        weights = [np.pad(weight, ((0, 0), (0, width - weight.shape[1]))) for weight in weights]
    weight = torch.from_numpy(np.ascontiguousarray(np.stack(weights).transpose(0, 2, 1)))
    bias = torch.from_numpy(np.stack([arrays[f"{position}.bias"] for arrays in first]))
    return _Linear(weight=weight.requires_grad_(), bias=bias.requires_grad_(), position=position)


def _normalization(first: Sequence[Arrays], position: int) -> _Normalization:
    def joined(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([arrays[f"{position}.{name}"] for arrays in first]))

    return _Normalization(
        scale=joined("weight").requires_grad_(),
        shift=joined("bias").requires_grad_(),
        mean=joined("running_mean"),
        variance=joined("running_var"),
        position=position,
    )


def _stack(parts: Sequence[Rows], width: int) -> tuple[Tensor, Tensor]:
    """Return inputs float32 [M * N, F] and labels int64 [M * N]; zeros stand where a part has fewer rows or columns."""
    most = max(map(len, parts))
    inputs = np.zeros((len(parts), most, width), np.float32)
    labels = np.zeros((len(parts), most), np.int64)
    for index, part in enumerate(parts):
        inputs[index, : len(part), : part.inputs.shape[1]] = part.inputs[part.numbers]
        labels[index, : len(part)] = part.labels
    return torch.from_numpy(inputs.reshape(-1, width)), torch.from_numpy(labels.reshape(-1))
