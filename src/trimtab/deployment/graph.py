"""An ONNX graph while it is being written: nodes, constants, and which constants can still absorb a scale.

It knows nothing of layers or of artifacts. Needs the onnx package, so it is imported only when something is exported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from trimtab.deployment.signature import TensorSpec

OPSETS = {"": 20, "ai.onnx.ml": 3}
"""The oldest with every operator that is written here (``Gelu`` is of 20): what runs on the most runtimes."""
IR_VERSION = 9


@dataclass(frozen=True, kw_only=True)
class Foldable:
    """The constants of the convolution or matrix product that a tensor comes from, output channels first.

    ``through_maximum`` says that a max pool lies in between: a scale may then be moved into the weights only as
    far as it is positive.
    """

    weight: str
    bias: str
    through_maximum: bool = False


class Graph:
    """Nodes in execution order, and constants by name.

    Names of internal tensors start with ``/``, so that they never meet the name of an input.

    Parameters
    ----------
    arrays
        The state dict that layers read their parameters from.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._arrays = arrays
        self._unread = {key for key in arrays if not key.endswith(".num_batches_tracked")}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._foldable: dict[str, Foldable] = {}

    @property
    def unread(self) -> list[str]:
        """Keys of the state dict that no layer has asked for."""
        return sorted(self._unread)

    def array(self, key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return a parameter of the state dict as float32.

        Raises
        ------
        LookupError
            If there is no such key, or its array has another shape; says which.
        """
        if key not in self._arrays:
            raise LookupError(f"lack '{key}'")
        found = self._arrays[key]
        if found.shape != shape:
            raise LookupError(f"hold '{key}' in the shape {list(found.shape)} instead of {list(shape)}")
        self._unread.discard(key)
        return np.asarray(found, dtype=np.float32)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        self._constants[f"/{name}"] = value
        return f"/{name}"

    def node(self, operator: str, inputs: Sequence[str], name: str, *, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        output = f"/{name}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=output, domain=domain, **attributes))
        return output

    def reshape(self, tensor: str, shape: Sequence[int], name: str) -> str:
        """Add a node that gives a tensor another shape, in which -1 stands for what is left."""
        wanted = self.constant(f"{name}.shape", np.array(shape, dtype=np.int64))
        return self.node("Reshape", [tensor, wanted], name)

    def mark_foldable(self, tensor: str, foldable: Foldable) -> None:
        """Note that a scale and shift of ``tensor`` may be moved into these constants."""
        self._foldable[tensor] = foldable

    def mark_pooled(self, tensor: str, pooled: str) -> None:
        """Note that ``pooled`` is the maximum over windows of ``tensor``, so that folding may pass through."""
        foldable = self._foldable.pop(tensor, None)
        if foldable is not None:
            self._foldable[pooled] = replace(foldable, through_maximum=True)

    def mark_shared(self, tensor: str) -> None:
        """Note that ``tensor`` is read twice, so that nothing may be folded into it any more."""
        self._foldable.pop(tensor, None)

    def fold(self, tensor: str, scale: NDArray[np.float64]) -> tuple[NDArray[np.float64], str | None]:
        """Move as much of a per-channel scale as possible into the constants that ``tensor`` comes from.

        Returns
        -------
        tuple
            The factor per channel that is left (one where all was moved), and the name of the bias constant that
            may take a shift when nothing is left, or ``None`` when ``tensor`` comes from no such constants.
        """
        foldable = self._foldable.pop(tensor, None)
        if foldable is None:
            return scale, None
        moved = np.abs(scale) if foldable.through_maximum else scale
        weight = self._constants[foldable.weight]
        self._constants[foldable.weight] = _scaled(weight, moved.reshape(-1, *[1] * (weight.ndim - 1)))
        self._constants[foldable.bias] = _scaled(self._constants[foldable.bias], moved)
        return np.where(moved == scale, 1.0, -1.0), foldable.bias

    def shift(self, bias: str, amount: NDArray[np.float64]) -> None:
        """Add to a bias constant that `fold` named."""
        self._constants[bias] = (self._constants[bias] + amount).astype(np.float32)

    def to_model(
        self, inputs: Sequence[TensorSpec], logits: str, output: TensorSpec, metadata: dict[str, str]
    ) -> onnx.ModelProto:
        """Return the checked model whose single output is the softmax of ``logits``, under the name in ``output``."""
        softmax = helper.make_node("Softmax", [logits], [output.name], name="/softmax", axis=-1)
        graph = helper.make_graph(
            [*self._nodes, softmax],
            "trimtab",
            [_value_info(spec) for spec in inputs],
            [_value_info(output)],
            [numpy_helper.from_array(value, name) for name, value in self._constants.items()],
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="trimtab")
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        return model


def _scaled(array: NDArray[Any], scale: NDArray[np.float64]) -> NDArray[np.float32]:
    return (array * scale).astype(np.float32)


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    kinds = {
        "uint8": onnx.TensorProto.UINT8,
        "float32": onnx.TensorProto.FLOAT,
        "string": onnx.TensorProto.STRING,
    }
    return helper.make_tensor_value_info(spec.name, kinds[spec.dtype], list(spec.shape))
