"""From an artifact to the steps that the kernels run: each layer of the folded network becomes one step or a few.

Layers of codes compute in whole numbers, with the roundings of `trimtab.numpy_nn.quantized`; weights that alone are in
fewer bits are kept so and become floats when they are used. A layer that has no form for codes is given floats.

Legend: ``O`` outputs, ``D`` weights of an output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.data.encoding import TableEncoder
from trimtab.deployment.c import weights
from trimtab.deployment.c.program import FORMS, Constants, Grid, Program, Step, Tensor, compile_steps
from trimtab.models import build
from trimtab.numpy_nn import quantized
from trimtab.numpy_nn.folding import fold_arrays
from trimtab.numpy_nn.im2col import Geometry

_PATCHES = 2**16  # numbers of input rows gathered at a time: a quarter megabyte, for second-level caches
_ROWS = (24, 96)  # at least and at most so many; multiples of the rows of every tile
_MOST_DEPTH = 2**31 // 2**15  # products of codes are below 2^15, sums below 2^31
_MOST_TAPS = 64  # of a filter per channel, as in the kernels
_ONE = np.float32(1)


def to_program(artifact: Artifact) -> Program:
    """Return the program that computes the artifact's logits.

    Raises
    ------
    ValueError
        If the artifact's arrays are not those of its builder, or a layer has no kernel.
    """
    network: numpy_nn.Module = build(numpy_nn, artifact.builder, artifact.kwargs)
    if "quantization" in artifact.meta:
        arrays, activations = artifact.arrays, artifact.meta["quantization"]["activations"]
    else:
        counters = {key: value for key, value in network.state_dict().items() if key.endswith(".num_batches_tracked")}
        network.load_state_dict(counters | artifact.arrays)
        arrays, activations = fold_arrays(network), {}
    quantized.assemble(network, arrays, activations)  # refuses what it has no place for
    lowering = _Lowering(arrays, activations)
    lowering.lower(network, "", lowering.read_input(artifact.meta))
    return compile_steps(lowering.steps, lowering.constants)


class _Lowering:
    """The steps and constants so far. Every method returns the tensor that its last step makes."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], activations: Mapping[str, Any]) -> None:
        self.steps: list[Step] = []
        self.constants = Constants()
        self._arrays, self._activations = arrays, activations

    def read_input(self, meta: Mapping[str, Any]) -> Tensor:
        """Add the steps that read the input."""
        if meta["kind"] == "image":
            side = int(meta["image_size"])
            mean, deviation = ((255 * np.array(meta[key], np.float64)).astype(np.float32) for key in ("mean", "std"))
            fields = {"bias": self.constants.add(mean), "scale": self.constants.add(deviation)}
            made = self._add("PIXELS", (), Tensor(side, side, int(meta["channels"])), fields)
        else:
            columns = TableEncoder.from_dict(meta["encoder"]).num_features
            made = self._add("ROW", (), Tensor(1, 1, columns))
        return self._on_grid(made, self._grid("input"))

    def lower(self, network: numpy_nn.Module, name: str, x: Tensor) -> Tensor:
        """Add the steps of a network whose input is ``x``."""
        for step in quantized.steps(network, name):
            grid = self._grid(step.output)
            match step.layer:
                case numpy_nn.Conv2d() | numpy_nn.Linear():
                    x = self._products(step, x, grid)
                case numpy_nn.Residual():
                    x = self._sum(x, self.lower(step.layer.module, f"{step.name}.module", x), grid)
                case numpy_nn.Flatten() if x.pixels == 1:
                    x = self._on_grid(x, grid)
                case numpy_nn.MaxPool2d():
                    x = self._on_grid(self._maximum(step, x), grid)
                case numpy_nn.AdaptiveAvgPool2d(output_size=(1, 1)) | numpy_nn.TokenMean():
                    x = self._mean(x, grid)
                case numpy_nn.GELU(approximate="none"):
                    x = self._gelu(x, grid)
                case numpy_nn.Tokens() | numpy_nn.LayerNorm() | numpy_nn.SelfAttention():
                    x = self._on_grid(self._with_floats(step, self._floats(x)), grid)
                case _:
                    raise _no_kernel(step)
        return x

    # ---- products ----

    def _products(self, step: quantized.Step, x: Tensor, grid: Grid | None) -> Tensor:
        """Add a convolution or linear layer: of codes where input and weight are, else of floats."""
        made, fields, groups = _window(step, x, grid)
        fields["rectify"] = int(step.is_rectified)
        if x.grid is not None and f"{step.name}.weight.scale" in self._arrays:
            return self._code_products(step.name, x, x.grid, made, fields, groups)
        unit, x = _ONE if x.grid is None else x.grid.scale, self._floats(x)
        made = Tensor(made.height, made.width, made.channels)
        return self._on_grid(self._float_products(step.name, x, unit, made, fields, groups), grid)

    def _code_products(
        self, name: str, x: Tensor, grid: Grid, made: Tensor, fields: dict[str, int], groups: int
    ) -> Tensor:
        """Codes times codes: sums that become ``(sum + offset) * factor``, as in `trimtab.numpy_nn.quantized`."""
        rows, scale = weights.in_rows(self._arrays[f"{name}.weight"]), self._arrays[f"{name}.weight.scale"]
        bias, sums = self._arrays[f"{name}.bias"], grid.scale * scale
        offset = bias.astype(np.float32) if bias.dtype == np.int32 else bias / sums
        factor = sums if made.grid is None else sums / made.grid.scale
        depth = -(-rows.shape[1] // weights.QUAD) * weights.QUAD
        if depth > _MOST_DEPTH:
            raise ValueError(f"layer {name} sums {rows.shape[1]} products; expected at most {_MOST_DEPTH} of codes.")
        # A kernel for whole rows sums codes as they are; where taps are left out at the border, zero is subtracted.
        correction = np.zeros(len(rows)) if groups > 1 else -grid.zero * rows.sum(axis=1, dtype=np.int64)
        fields |= {
            "weight": self.constants.add(weights.in_taps(rows) if groups > 1 else weights.in_quads(rows)),
            "bias": self.constants.add(weights.per_channel(offset)),
            "scale": self.constants.add(weights.per_channel(factor)),
            "correction": self.constants.add(weights.per_channel(correction.astype(np.int32))),
        }
        if groups > 1:
            return self._add("CODE_DEPTHWISE", (x,), made, {**fields, "depth": weights.filled(made.channels)})
        form = "SMALL_BYTES" if weights.pairs_are_small(rows) else "BYTES"
        fields |= {"form": FORMS.index(form), "depth": depth, "rows": _rows_at_once(depth, made)}
        return self._add("CODE_PRODUCTS", (x,), made, fields, {"patches": fields["rows"] * depth // 2})

    def _float_products(
        self, name: str, x: Tensor, unit: np.float32, made: Tensor, fields: dict[str, int], groups: int
    ) -> Tensor:
        """Floats times weights in any form. Whole numbers of a bias are meant times the scales and ``unit``."""
        rows, bias = weights.in_rows(self._arrays[f"{name}.weight"]), self._arrays[f"{name}.bias"]
        scale = self._arrays.get(f"{name}.weight.scale", np.ones(len(rows), np.float32))
        values = bias if bias.dtype == np.float32 else bias * (unit * scale)
        fields["bias"] = self.constants.add(weights.per_channel(values.astype(np.float32)))
        if groups > 1:
            fields["weight"] = self.constants.add(weights.in_taps((rows * scale[:, None]).astype(np.float32)))
            return self._add("DEPTHWISE", (x,), made, {**fields, "depth": weights.filled(made.channels)})
        depth = rows.shape[1]
        scratch = {} if _is_pointwise(fields) else {"patches": _rows_at_once(depth, made) * depth}
        fields |= {"depth": depth, "rows": _rows_at_once(depth, made)}
        if rows.dtype == np.float32:
            fields["weight"] = self.constants.add(weights.in_panels(rows))
            return self._add("PRODUCTS", (x,), made, fields, scratch)
        form, content = weights.shrunk(rows)
        fields |= {"form": FORMS.index(form), "weight": self.constants.add(content)}
        fields["scale"] = self.constants.add(weights.per_channel(scale))
        return self._add("PRODUCTS", (x,), made, fields, {**scratch, "panels": 2 * weights.PANEL * depth})

    # ---- other layers ----

    def _sum(self, x: Tensor, changed: Tensor, grid: Grid | None) -> Tensor:
        """Add the sum of two tensors."""
        if grid is not None and x.grid is not None and changed.grid is not None:
            factors = np.array([x.grid.scale / grid.scale, changed.grid.scale / grid.scale], np.float32)
            made = Tensor(x.height, x.width, x.channels, grid)
            return self._add("CODE_ADD", (x, changed), made, {"scale": self.constants.add(factors)})
        made = Tensor(x.height, x.width, x.channels)
        return self._on_grid(self._add("ADD", (self._floats(x), self._floats(changed)), made), grid)

    def _maximum(self, step: quantized.Step, x: Tensor) -> Tensor:
        made, fields, _ = _window(step, x, x.grid)
        return self._add("MAXIMUM" if x.grid is None else "CODE_MAXIMUM", (x,), made, fields)

    def _mean(self, x: Tensor, grid: Grid | None) -> Tensor:
        if x.grid is not None and grid is not None:
            factor = self.constants.add(np.array([x.grid.scale / grid.scale], np.float32))
            return self._add("CODE_MEAN", (x,), Tensor(1, 1, x.channels, grid), {"scale": factor})
        return self._on_grid(self._add("MEAN", (self._floats(x),), Tensor(1, 1, x.channels)), grid)

    def _gelu(self, x: Tensor, grid: Grid | None) -> Tensor:
        if x.grid is not None and grid is not None:
            return self._look_up(x, grid, _gelu(_codes(x.grid) * x.grid.scale) / grid.scale)
        x = self._floats(x)
        return self._on_grid(self._add("GELU", (x,), Tensor(x.height, x.width, x.channels)), grid)

    def _with_floats(self, step: quantized.Step, x: Tensor) -> Tensor:
        """Add a layer that computes with floats."""
        same = Tensor(x.height, x.width, x.channels)
        match step.layer:
            case numpy_nn.Tokens():
                position = self._arrays[f"{step.name}.position"]
                return self._add("ADD_CONSTANT", (x,), same, {"bias": self.constants.add(position)})
            case numpy_nn.LayerNorm(eps=epsilon):
                fields = {key: self.constants.add(self._arrays[f"{step.name}.{key}"]) for key in ("weight", "bias")}
                fields["scale"] = self.constants.add(np.array([epsilon], np.float32))
                return self._add("NORMALIZE", (x,), same, fields)
            case numpy_nn.SelfAttention(width=width, heads=heads):
                part, made = width // heads, Tensor(x.height, x.width, width)
                rows, line = min(_ROWS[1], x.pixels), weights.filled(x.pixels)
                fields = {"heads": heads, "rows": rows}
                fields["scale"] = self.constants.add(np.array([part**-0.5], np.float32))
                fields["bias"] = self.constants.add(np.zeros(max(line, weights.filled(part)), np.float32))
                scratch = {"patches": rows * line, "panels": line * part + weights.filled(part) * x.pixels}
                return self._add("ATTENTION", (x,), made, fields, scratch)
        raise _no_kernel(step)

    # ---- codes and floats ----

    def _grid(self, place: str) -> Grid | None:
        if place not in self._activations:
            return None
        scale, zero = self._activations[place]
        return Grid(np.float32(scale), int(zero))

    def _on_grid(self, x: Tensor, grid: Grid | None) -> Tensor:
        """Return ``x`` as codes of a grid, or as it is where there is none or it is on it already."""
        if grid is None or grid == x.grid:
            return x
        if x.grid is not None:
            return self._look_up(x, grid, _codes(x.grid) * (x.grid.scale / grid.scale))
        made = Tensor(x.height, x.width, x.channels, grid)
        return self._add("QUANTIZE", (x,), made, {"scale": self.constants.add(np.array([grid.scale], np.float32))})

    def _floats(self, x: Tensor) -> Tensor:
        if x.grid is None:
            return x
        scale = self.constants.add(np.array([x.grid.scale], np.float32))
        return self._add("DEQUANTIZE", (x,), Tensor(x.height, x.width, x.channels), {"scale": scale})

    def _look_up(self, x: Tensor, grid: Grid, quotients: NDArray[np.float32]) -> Tensor:
        """Add a step from codes to codes; ``quotients`` [256] are what each becomes, divided by the new scale."""
        codes = np.clip(np.rint(quotients), -grid.zero, 255 - grid.zero) + grid.zero
        table = self.constants.add(codes.astype(np.uint8).view(np.int8))
        return self._add("LOOK_UP", (x,), Tensor(x.height, x.width, x.channels, grid), {"weight": table})

    def _add(
        self,
        kind: str,
        sources: tuple[Tensor, ...],
        made: Tensor,
        fields: Mapping[str, int] | None = None,
        scratch: Mapping[str, int] | None = None,
    ) -> Tensor:
        self.steps.append(Step(kind, sources, made, fields or {}, scratch or {}))
        return made


def _window(step: quantized.Step, x: Tensor, grid: Grid | None) -> tuple[Tensor, dict[str, int], int]:
    """Return what a convolution, linear layer or maximum makes, how its windows lie, and its groups.

    Raises
    ------
    ValueError
        If it is of a kind that no builder has and no kernel is written for, or takes another input.
    """
    layer, groups = step.layer, 1
    geometry, wanted, channels = Geometry(kernel=(1, 1)), x.channels, x.channels
    match layer:
        case numpy_nn.Conv2d():
            geometry, groups, wanted, channels = layer.geometry, layer.groups, layer.in_channels, layer.out_channels
        case numpy_nn.Linear():
            wanted, channels = layer.in_features, layer.out_features
        case numpy_nn.MaxPool2d(ceil_mode=False, geometry=Geometry(padding=((0, 0), (0, 0)))):
            geometry = layer.geometry
        case _:
            raise _no_kernel(step)
    stride, padding = geometry.stride[0], geometry.padding[0][0]
    same = replace(geometry, stride=(stride, stride), padding=((padding, padding),) * 2, dilation=(1, 1))
    has_kernel = geometry == same and padding < min(geometry.kernel)
    if not has_kernel or (groups > 1 and not (groups == wanted == channels and prod(geometry.kernel) <= _MOST_TAPS)):
        raise _no_kernel(step)
    height, width = geometry.output_size((x.height, x.width))
    if wanted != x.channels or min(height, width) < 1:
        raise ValueError(f"layer {step.name} is {layer} for [{x.height}, {x.width}, {x.channels}]; expected its input.")
    kernel = dict(zip(("kernel_height", "kernel_width"), geometry.kernel, strict=True))
    return Tensor(height, width, channels, grid), {**kernel, "stride": stride, "padding": padding}, groups


def _no_kernel(step: quantized.Step) -> ValueError:
    return ValueError(f"layer {step.name} is {step.layer}; expected one that has a kernel in C.")


def _is_pointwise(fields: Mapping[str, int]) -> bool:
    return (fields["kernel_height"], fields["kernel_width"], fields["stride"], fields["padding"]) == (1, 1, 1, 0)


def _rows_at_once(depth: int, made: Tensor) -> int:
    """Return for how many pixels or tokens inputs are gathered before they are multiplied."""
    least, most = _ROWS
    return min(made.pixels, max(least, min(most, _PATCHES // depth // least * least)))


def _codes(grid: Grid) -> NDArray[np.float32]:
    """Return the whole numbers that the 256 codes stand for."""
    return np.arange(256, dtype=np.float32) - np.float32(grid.zero)


def _gelu(values: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = numpy_nn.GELU().forward(values)
    return found
