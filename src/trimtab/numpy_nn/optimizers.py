"""Optimizers that move all parameters at once: each group's arrays are views of one flat buffer.

A step is then a few operations in place on pieces of that buffer that fit into the cache, whatever the number of
layers. Updates are those of torch's optimizers, to the order of operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, final

import numpy as np

from trimtab.numpy_nn.memory import empty
from trimtab.numpy_nn.module import Array, Parameter
from trimtab.numpy_nn.shards import run_shards, shard_edges

_PIECE = 40_000  # numbers updated at a time
_COST = 200  # of updating a number, in multiplications

Parameters = Iterable[Parameter] | Iterable[Mapping[str, Any]]


class Optimizer:
    """Groups of parameters, each with settings and state of its own; those that require no gradient are left out.

    A parameter belongs to the optimizer that was made last: its arrays are moved into that one's buffer.

    Attributes
    ----------
    groups
        For each group its settings, such as ``lr``, which may be changed between steps.
    """

    state_names: ClassVar[tuple[str, ...]]

    def __init__(self, params: Parameters, **settings: Any) -> None:
        given: list[Any] = list(params)
        is_grouped = bool(given) and isinstance(given[0], Mapping)
        everything = [
            id(entry) for group in (given if is_grouped else [{"params": given}]) for entry in group["params"]
        ]
        if len(set(everything)) != len(everything):
            raise ValueError("a parameter was given twice; expected each once; take it out of one of the groups.")
        self.groups: list[dict[str, Any]] = []
        self._flat: list[dict[str, Array]] = []
        self._members: list[tuple[Parameter, dict[str, Array]]] = []
        for group in given if is_grouped else [{"params": given}]:
            members = [parameter for parameter in group["params"] if parameter.requires_grad]
            self.groups.append({**settings, **{name: value for name, value in group.items() if name != "params"}})
            data, grad = _flatten(members)
            state = {name: np.zeros_like(data) for name in self.state_names}
            self._flat.append({"data": data, "grad": grad, **state})
            self._members += [(parameter, self._flat[-1]) for parameter in members]
        self._steps = 0

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for parameter, _ in self._members:
            parameter.zero()

    def step(self) -> None:
        """Move all parameters in place.

        Raises
        ------
        ValueError
            If a parameter was given other arrays since the optimizer was made.
        """
        self._steps += 1
        for parameter, flat in self._members:
            if parameter.grad.base is not flat["grad"] or parameter.data.base is not flat["data"]:
                raise ValueError(
                    f"{parameter} is no longer a view of this optimizer's buffer; expected its data and grad to be "
                    "changed in place; make the optimizer after `to`, and one only."
                )
        for settings, flat in zip(self.groups, self._flat, strict=True):
            self._move(settings, flat)

    def _move(self, settings: dict[str, Any], flat: dict[str, Array]) -> None:
        """Move one group in place, on all threads; ``flat`` holds its data, its gradient and its state."""
        update = self._update(settings)

        def compute(start: int, stop: int) -> None:
            for first in range(start, stop, _PIECE):
                update(**{name: array[first : min(first + _PIECE, stop)] for name, array in flat.items()})

        run_shards(shard_edges(flat["data"].size, _COST * flat["data"].size), compute)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of what the optimizer remembers: ``"0.momentum"`` of the first group, ..., and ``"step"``."""
        state = {
            f"{index}.{name}": flat[name].copy() for index, flat in enumerate(self._flat) for name in self.state_names
        }
        return {**state, "step": np.array(self._steps)}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take up what `state_dict` returned.

        Raises
        ------
        ValueError
            If it is that of another kind of optimizer or of other parameters.
        """
        own = self.state_dict()
        if {key: np.shape(array) for key, array in state.items()} != {key: array.shape for key, array in own.items()}:
            raise ValueError(
                f"the state holds {', '.join(sorted(state)) or 'nothing'}; expected {', '.join(sorted(own))}, of the "
                "same sizes; give that of an optimizer for the same parameters."
            )
        self._steps = int(state["step"])
        for index, flat in enumerate(self._flat):
            for name in self.state_names:
                flat[name][...] = state[f"{index}.{name}"]

    def _update(self, settings: Mapping[str, Any]) -> Callable[..., None]:
        """Return what updates a piece of each flat array in place."""
        raise NotImplementedError(f"{type(self).__name__} moves nothing.")


@final
class SGD(Optimizer):
    """Gradient descent: v = momentum v + (1 - dampening) g, w -= lr v; with Nesterov's w -= lr (g + momentum v)."""

    state_names = ("momentum",)

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(f"nesterov with momentum {momentum}, dampening {dampening}; expected a momentum and none.")
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def _update(self, settings: Mapping[str, Any]) -> Callable[..., None]:
        rate, inertia, decay = settings["lr"], settings["momentum"], settings["weight_decay"]
        share = 1.0 if self._steps == 1 else 1 - settings["dampening"]  # torch starts with the whole gradient

        def update(data: Array, grad: Array, momentum: Array) -> None:
            slope = grad + decay * data if decay else grad
            if inertia:
                momentum *= inertia
                momentum += share * slope
                slope = slope + inertia * momentum if settings["nesterov"] else momentum
            data -= rate * slope

        return update


class _AdamLike(Optimizer):
    """m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= lr m' / (sqrt(v') + eps), m' and v' without their bias.

    Kept are the decaying sums s = b1 s + g and q = b2 q + g^2, of which m and v are fixed shares: three passes over the
    buffer less. With c = sqrt((1 - b2^t) / (1 - b2)), where t counts the steps, the step is
    w -= lr (1 - b1) / (1 - b1^t) c s / (sqrt(q) + c eps).
    """

    state_names = ("sum", "sum_of_squares")
    is_decoupled: ClassVar[bool]

    def _update(self, settings: Mapping[str, Any]) -> Callable[..., None]:
        first, second = settings["betas"]
        rate, decay, eps = settings["lr"], settings["weight_decay"], settings["eps"]
        spread = math.sqrt((1 - second**self._steps) / (1 - second))
        pace = rate * (1 - first) / (1 - first**self._steps) * spread

        def update(data: Array, grad: Array, sum: Array, sum_of_squares: Array) -> None:
            if decay and self.is_decoupled:
                data *= 1 - rate * decay
            elif decay:
                grad = grad + decay * data
            sum *= first
            sum += grad
            scratch = np.multiply(grad, grad, out=empty(grad.shape, grad.dtype))
            sum_of_squares *= second
            sum_of_squares += scratch
            np.sqrt(sum_of_squares, out=scratch)
            scratch += spread * eps
            np.divide(sum, scratch, out=scratch)
            scratch *= pace
            data -= scratch

        return update


@final
class Adam(_AdamLike):
    """Adam (Kingma and Ba, 2015); ``weight_decay`` is added to the gradient."""

    is_decoupled = False

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


@final
class AdamW(_AdamLike):
    """Adam whose ``weight_decay`` shrinks the parameters directly (Loshchilov and Hutter, 2019)."""

    is_decoupled = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def clip_grad_norm_(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients down together so that their norm is at most ``max_norm``; return what it was."""
    members = list(parameters)
    norm = math.sqrt(sum(float(np.vdot(parameter.grad, parameter.grad)) for parameter in members))
    if not norm <= max_norm:
        for parameter in members:
            parameter.grad *= max_norm / (norm + 1e-6)
    return norm


def _flatten(parameters: list[Parameter]) -> tuple[Array, Array]:
    """Move parameters into one buffer, of which their arrays become views; return it and that of the gradients."""
    kinds = {parameter.data.dtype for parameter in parameters}
    if len(kinds) != 1:
        raise ValueError(f"the parameters are {sorted(map(str, kinds)) or 'none'}; expected some, all of one type.")
    data = np.concatenate([parameter.data.ravel() for parameter in parameters])
    grad = np.concatenate([parameter.grad.ravel() for parameter in parameters])
    start = 0
    for parameter in parameters:
        stop, shape = start + parameter.data.size, parameter.data.shape
        parameter.data, parameter.grad = data[start:stop].reshape(shape), grad[start:stop].reshape(shape)
        start = stop
    return data, grad
