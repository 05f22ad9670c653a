"""Raw input to network input, as ONNX nodes: what training did to a picture or a row, carried by the model file.

Imported only when something is exported. Decoding of files and parsing of rows stay outside the graph.

Legend: ``N`` batch, ``H W C`` height, width, channels, ``S`` the network's picture size, ``F`` features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trimtab.data.encoding import CategoryEncoding, NumberEncoding, TableEncoder
from trimtab.deployment.graph import Graph
from trimtab.deployment.signature import name_input


def emit_preprocessing(graph: Graph, meta: Mapping[str, Any]) -> str:
    """Write the nodes from the model's inputs to the network's, and return the name of the latter.

    Float32 [N, C, S, S] for pictures, float32 [N, F] for tables.
    """
    if meta["kind"] == "image":
        return _emit_image(graph, meta)
    return _emit_table(graph, TableEncoder.from_dict(meta["encoder"]))


def _emit_image(graph: Graph, meta: Mapping[str, Any]) -> str:
    """Resize, channels first, normalize; the resize copies when the size is right already."""
    size = graph.constant("preprocessing.size", np.array([meta["image_size"]] * 2, dtype=np.int64))
    # Pillow leaves out what lies beyond the border and weighs the rest up; so does exclude_outside.
    resized = graph.node(
        "Resize",
        ["image", "", "", size],
        "preprocessing.resized",
        axes=[1, 2],
        mode="linear",
        antialias=1,
        exclude_outside=1,
        coordinate_transformation_mode="half_pixel",
    )
    planes = graph.node("Transpose", [resized], "preprocessing.planes", perm=[0, 3, 1, 2])
    pixels = graph.node("Cast", [planes], "preprocessing.pixels", to=1)  # float32 [N, C, S, S]
    mean, std = (np.array(meta[key], dtype=np.float64).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    shift = graph.constant("preprocessing.mean", (255 * mean).astype(np.float32))
    factor = graph.constant("preprocessing.std", (255 * std).astype(np.float32))
    centered = graph.node("Sub", [pixels, shift], "preprocessing.centered")
    return graph.node("Div", [centered, factor], "preprocessing.normalized")


def _emit_table(graph: Graph, encoder: TableEncoder) -> str:
    """Encode all number columns with one set of nodes and all category columns with another.

    Few nodes matter more than few operations: a batch of one pays for nodes.
    """
    blocks = []  # each: float32 [N, some features], and the places of its features in the encoder's order
    starts = np.cumsum([0, *(column.num_features for column in encoder.columns)])
    numbers, categories = [], []
    for column, start in zip(encoder.columns, starts, strict=False):
        if column.num_features and isinstance(column, NumberEncoding):
            numbers.append((column, int(start)))
        elif column.num_features and isinstance(column, CategoryEncoding):
            categories.append((column, int(start)))
    if numbers:
        blocks += _emit_numbers(graph, numbers)
    if categories:
        blocks.append(_emit_categories(graph, categories))
    places = np.concatenate([np.array(places, dtype=np.int64) for _, places in blocks])
    features = _concat(graph, [name for name, _ in blocks], "preprocessing.unordered")
    if np.array_equal(places, np.arange(len(places))):
        return features
    return _pick(graph, features, np.argsort(places), "preprocessing.features")


Block = tuple[str, list[int]]


def _emit_numbers(graph: Graph, columns: Sequence[tuple[NumberEncoding, int]]) -> list[Block]:
    inputs = [name_input(column.name) for column, _ in columns]
    values = _concat(graph, inputs, "preprocessing.numbers")  # float32 [N, number of columns]
    missing = graph.node("IsNaN", [values], "preprocessing.missing")
    medians = graph.constant(
        "preprocessing.medians", np.array([[column.median for column, _ in columns]], dtype=np.float32)
    )
    filled = graph.node("Where", [missing, medians, values], "preprocessing.filled")
    blocks = []
    if any(column.num_bins for column, _ in columns):
        blocks.append(_emit_bins(graph, filled, columns))
    indicators = [(index, start) for index, (column, start) in enumerate(columns) if column.has_missing]
    if indicators:
        picked = _pick(graph, missing, np.array([index for index, _ in indicators]), "preprocessing.indicators")
        places = [start + columns[index][0].num_bins for index, start in indicators]
        blocks.append((graph.node("Cast", [picked], "preprocessing.flags", to=1), places))
    return blocks


def _emit_bins(graph: Graph, filled: str, columns: Sequence[tuple[NumberEncoding, int]]) -> Block:
    """In float64, as the encoder does it."""
    sources: list[int] = []
    low: list[float] = []
    width: list[float] = []
    places: list[int] = []
    for index, (column, start) in enumerate(columns):
        edges = np.array(column.edges)
        sources += [index] * column.num_bins
        low += edges[:-1].tolist()
        width += np.diff(edges).tolist()
        places += range(start, start + column.num_bins)
    exact = graph.node("Cast", [filled], "preprocessing.exact", to=11)
    repeated = _pick(graph, exact, np.array(sources), "preprocessing.repeated")
    above = graph.node("Sub", [repeated, graph.constant("preprocessing.low", np.array([low]))], "preprocessing.above")
    ratio = graph.node("Div", [above, graph.constant("preprocessing.width", np.array([width]))], "preprocessing.ratio")
    bounds = [graph.constant(f"preprocessing.bound{bound}", np.array(float(bound))) for bound in (0, 1)]
    clipped = graph.node("Clip", [ratio, *bounds], "preprocessing.clipped")
    return graph.node("Cast", [clipped], "preprocessing.bins", to=1), places


def _emit_categories(graph: Graph, columns: Sequence[tuple[CategoryEncoding, int]]) -> Block:
    """Look every text up, then compare each number found with the number of each feature; -1 is unknown."""
    found: list[str] = []
    sources: list[int] = []
    expected: list[int] = []
    places: list[int] = []
    for index, (column, start) in enumerate(columns):
        count = column.num_features
        found.append(
            graph.node(
                "LabelEncoder",
                [name_input(column.name)],
                f"preprocessing.code{index}",
                domain="ai.onnx.ml",
                keys_strings=list(column.values),
                values_int64s=list(range(count)),
                default_int64=-1,
            )
        )
        sources += [index] * count
        expected += range(count)
        places += range(start, start + count)
    codes = _concat(graph, found, "preprocessing.codes")  # int64 [N, number of columns]
    repeated = _pick(graph, codes, np.array(sources), "preprocessing.candidates")
    wanted = graph.constant("preprocessing.values", np.array([expected], dtype=np.int64))
    equal = graph.node("Equal", [repeated, wanted], "preprocessing.equal")
    return graph.node("Cast", [equal], "preprocessing.onehot", to=1), places


def _concat(graph: Graph, names: Sequence[str], name: str) -> str:
    return names[0] if len(names) == 1 else graph.node("Concat", names, name, axis=1)


def _pick(graph: Graph, tensor: str, indices: Any, name: str) -> str:
    """Take columns of a [N, something] tensor."""
    return graph.node("Gather", [tensor, graph.constant(f"{name}.indices", indices.astype(np.int64))], name, axis=1)
