"""Networks of layers: one after the other, and around a shortcut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from trimtab.numpy_nn.activations import LeakyReLU, ReLU
from trimtab.numpy_nn.linear import draw_mask
from trimtab.numpy_nn.module import Array, Module, ShapeError
from trimtab.numpy_nn.pooling import MaxPool2d
from trimtab.numpy_nn.shards import can_shard, run_shards, shard_edges, state


@final
class Sequential(Module):
    """Layers one after the other; keys ``0.``, ``1.``, ...

    A rising activation and a maximum may change places, so a `ReLU` before a `MaxPool2d` is computed after it, on
    the fewer numbers that are left; outputs and gradients are the same.
    """

    def __init__(self, *layers: Module) -> None:
        self.layers = layers
        self._order = self._in_order()

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def describe(self) -> str:
        """Return the layers."""
        return ", ".join(map(str, self.layers))

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the layers, named by their places."""
        yield from ((str(index), layer) for index, layer in enumerate(self.layers))

    def forward(self, x: Array) -> Array:
        """Return what the last layer makes of it; keep where the batch was cut."""
        edges = self._edges(x)
        try:
            parts = run_shards(edges, lambda start, stop: self._forward(x[start:stop] if len(edges) > 2 else x))
        except ShapeError:
            if len(edges) > 2:
                self._forward(x)  # says the same of the whole batch
            raise
        self._keep(edges)
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def backward(self, grad: Array) -> Array:
        """Go back from the last layer to the first; nothing before the first parameter unless it is wanted."""
        (edges,) = self._take()
        plan = self._backward_order()
        parts = run_shards(
            edges, lambda start, stop: self._backward(grad[start:stop] if len(edges) > 2 else grad, plan)
        )
        if len(edges) > 2:
            for parameter in self.parameters():
                parameter.merge()
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def tangent(self, v: Array) -> Array:
        """Pass the direction through every layer."""
        (edges,) = self._kept
        parts = run_shards(edges, lambda start, stop: self._tangent(v[start:stop] if len(edges) > 2 else v))
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _forward(self, x: Array) -> Array:
        for name, layer in self._order:
            try:
                x = layer.forward(x)
            except ShapeError as error:
                raise error.within(name) from None
        return x

    def _backward_order(self) -> list[Module]:
        """Return the layers to go back through, last first; tell each whether its input's gradient is needed."""
        layers = [layer for _, layer in self._order]
        first = 0
        if not self.input_gradient:
            trained = [place for place, layer in enumerate(layers) if any(layer.parameters())]
            first = trained[0] if trained else len(layers)
        for place, layer in enumerate(layers):
            layer.input_gradient = self.input_gradient or place > first
        return layers[first:][::-1]

    def _backward(self, grad: Array, layers: list[Module]) -> Array:
        for layer in layers:
            grad = layer.backward(grad)
        return grad if self.input_gradient else grad[:0]

    def _tangent(self, v: Array) -> Array:
        for _, layer in self._order:
            v = layer.tangent(v)
        return v

    def _edges(self, x: Array) -> list[int]:
        """Return where to cut the batch so that each part goes through all layers in its own thread."""
        whole = len(x) if x.ndim else 1
        if not can_shard() or x.ndim < 2 or any(module.mixes_examples for module in self.modules()):
            return [0, whole]
        pixels = x.shape[2] * x.shape[3] if x.ndim == 4 else 1  # each weight of a convolution is used at about as many
        weights = sum(parameter.data.size for parameter in self.parameters())
        edges = shard_edges(whole, whole * weights * pixels)
        if len(edges) > 2:
            for module in self.modules():
                module.forget()
                module.draw()
        return edges

    def _in_order(self) -> list[tuple[str, Module]]:
        """Return the layers with their names, in the order in which they are computed."""
        order = list(self.children())
        for place in range(len(order) - 1):
            layer, following = order[place][1], order[place + 1][1]
            rises = isinstance(layer, ReLU) or (isinstance(layer, LeakyReLU) and layer.negative_slope >= 0)
            if rises and isinstance(following, MaxPool2d) and not following.return_indices:
                order[place : place + 2] = [order[place + 1], order[place]]
        return order


@final
class Residual(Module):
    """``x + module(x)``; keys ``module.``.

    In training each example leaves ``module`` out with probability ``p``, and what it adds is scaled by 1 / (1 - p)
    otherwise: stochastic depth (Huang et al., 2016).
    """

    def __init__(self, module: Module, p: float = 0.0) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}; expected a probability below 1; give a number from 0 to 0.99.")
        self.module, self.p = module, p
        self._key = 0
        if p:
            self.rng = np.random.default_rng()

    def describe(self) -> str:
        """Return the module, and the probability unless it is zero."""
        return f"{self.module}, p={self.p:g}" if self.p else str(self.module)

    def draw(self) -> None:
        """Draw the key of the next examples that leave the module out."""
        if self.p:
            self._key = int(self.rng.integers(2**63))

    def forward(self, x: Array) -> Array:
        """Return the sum; both have one shape. Keep which examples left the module out."""
        try:
            changed = self.module.forward(x)
        except ShapeError as error:
            raise error.within("module") from None
        if changed.shape != x.shape:
            raise ShapeError(self, x, f"a module that keeps the shape; it returned {list(changed.shape)}")
        if not self.training or not self.p:
            self._keep(None)
            return x + changed
        if state.shard is None:
            self.draw()
        mask = draw_mask(self._key, self.p, (len(x), *[1] * (x.ndim - 1)), x.dtype)
        self._keep(mask)
        return x + changed * mask

    def backward(self, grad: Array) -> Array:
        """d(x + m(x)) = grad + m.backward(grad), of the examples that did not leave the module out."""
        (mask,) = self._take()
        self.module.input_gradient = self.input_gradient
        inner = self.module.backward(grad if mask is None else grad * mask)
        return grad + inner if self.input_gradient else inner

    def tangent(self, v: Array) -> Array:
        """``v + module.tangent(v)``, of the same examples."""
        (mask,) = self._kept
        moved = self.module.tangent(v)
        return v + (moved if mask is None else moved * mask)


@final
class Identity(Module):
    """Nothing."""

    def forward(self, x: Array) -> Array:
        """Return ``x`` itself."""
        return x

    def backward(self, grad: Array) -> Array:
        """Return ``grad`` itself."""
        return grad

    def tangent(self, v: Array) -> Array:
        """Return ``v`` itself."""
        return v
