"""3x3 convolutions of stride 1 with a quarter of the multiplications: Winograd's minimal filtering F(4x4, 3x3).

The picture is cut into tiles of 6x6 that overlap by two. With V the transformed tiles and U the transformed filter,
the 4x4 outputs of a tile are ``A.T [sum over channels of U * V] A``: a product for each of the 36 places, which over
all tiles and channels is 36 matrix products. Each transform of a tile, two small products in the paper, is one with
the Kronecker product of its matrix with itself. The backward pass is the exact adjoint, step by step.

Legend: ``B`` batch, ``H W`` height and width, ``C`` input channels, ``F`` filters, ``T`` tiles, ``P Q`` tile rows and
columns of a picture.

References
----------
Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, section 4.3.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from trimtab.numpy_nn.im2col import Finish
from trimtab.numpy_nn.memory import empty, empty_rows, product
from trimtab.numpy_nn.module import Array

_TILES = 64  # at a time, about: their transforms fit into a second-level cache of a megabyte
_TILES_SUMMED = 256  # in one matrix product for the gradient of the filter

_INPUT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_FILTER = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]  # times 1/24
_OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


@cache
def _transforms(dtype: str) -> tuple[Array, Array, Array]:
    """Return the Kronecker squares: of the input [36, 36], the filter [36, 9], the output [16, 36]."""
    matrices = (np.array(_INPUT, float), np.array(_FILTER, float) / 24, np.array(_OUTPUT, float))
    first, second, third = (np.kron(matrix, matrix).astype(dtype) for matrix in matrices)
    return first, second, third


def transform_filter(weight: Array) -> Array:
    """Return the transformed filter [36, C, F] of weights [F, C, 3, 3]."""
    filters, channels = weight.shape[:2]
    places = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(9, channels * filters)
    return product(_transforms(weight.dtype.str)[1], places).reshape(36, channels, filters)


class Tiling:
    """How pictures [B, H, W, C] with ``padding`` zeros on each side of H and of W are cut into tiles."""

    def __init__(self, shape: tuple[int, ...], padding: tuple[int, int]) -> None:
        _, self.input_height, self.input_width, self.channels = shape
        self.top, self.left = padding
        self.height, self.width = self.input_height + 2 * self.top - 2, self.input_width + 2 * self.left - 2
        self.rows, self.columns = -(-self.height // 4), -(-self.width // 4)
        self.tiles = self.rows * self.columns  # of a picture
        self.pictures = max(1, _TILES // self.tiles)  # computed at a time

    def interior(self, padded: Array) -> Array:
        """Return the pictures within their padding, a view."""
        return padded[:, self.top : self.top + self.input_height, self.left : self.left + self.input_width]


def forward(x: Array, transformed_filter: Array, finish: Finish, tiling: Tiling, *, keeps: bool) -> tuple[Array, Array]:
    """Return the convolution, and the transformed input, which `backward` needs.

    Parameters
    ----------
    x
        [B, H, W, C], any strides.
    transformed_filter
        [36, C, F], from `transform_filter`.
    finish
        ``finish(values, out)`` writes a piece of the output while it is in the cache: adds the bias.
    tiling
        Of ``x``.
    keeps
        Whether to keep the transformed input.

    Returns
    -------
    tuple
        [B, H', W', F] with H' = H + 2 padding - 2; and [36, T * C], or no elements.
    """
    filters, width = transformed_filter.shape[2], tiling.tiles * tiling.channels
    y = empty((len(x), tiling.height, tiling.width, filters), x.dtype)
    to_tiles, _, to_outputs = _transforms(x.dtype.str)
    kept = empty_rows(36, len(x) * width if keeps else 0, x.dtype)
    for start in range(0, len(x), tiling.pictures):
        stop = min(start + tiling.pictures, len(x))
        transformed = (
            kept[:, start * width : stop * width] if keeps else empty_rows(36, (stop - start) * width, x.dtype)
        )
        np.matmul(to_tiles, _gather_tiles(x[start:stop], tiling), out=transformed)
        products = empty_rows(36, (stop - start) * tiling.tiles * filters, x.dtype)
        np.matmul(_by_tile(transformed, tiling.channels), transformed_filter, out=_by_tile(products, filters))
        outputs = empty_rows(16, products.shape[1], x.dtype)
        np.matmul(to_outputs, products, out=outputs)
        _place_outputs(outputs, y[start:stop], tiling, finish)
    return y, kept


def backward(
    grad: Array, kept: Array, transformed_filter: Array, tiling: Tiling, *, wants_input: bool
) -> tuple[Array, Array]:
    """Return the gradients of the input [B, H, W, C] (no elements unless wanted) and of the weight [F, C, 3, 3].

    ``grad`` is that of the output, [B, H', W', F], any strides; the rest as in `forward`.
    """
    batch, filters, channels = len(grad), grad.shape[3], tiling.channels
    dx = empty((batch, tiling.input_height, tiling.input_width, channels) if wants_input else (0,), grad.dtype)
    backwards = np.ascontiguousarray(transformed_filter.transpose(0, 2, 1))  # [36, F, C]
    _, to_filter, to_outputs = _transforms(grad.dtype.str)
    total, summand = (empty((36, channels, filters), grad.dtype) for _ in range(2))
    total.fill(0)
    group = max(1, _TILES_SUMMED // tiling.tiles // tiling.pictures) * tiling.pictures
    for begin in range(0, batch, group):
        end = min(begin + group, batch)
        products = empty_rows(36, (end - begin) * tiling.tiles * filters, grad.dtype)
        for start in range(begin, end, tiling.pictures):
            stop = min(start + tiling.pictures, end)
            columns = ((place - begin) * tiling.tiles * filters for place in (start, stop))
            piece = products[:, slice(*columns)]
            np.matmul(to_outputs.T, _gather_outputs(grad[start:stop], tiling), out=piece)
            if wants_input:
                _input_gradient(piece, backwards, dx[start:stop], tiling)
        inputs = _by_tile(kept[:, begin * tiling.tiles * channels : end * tiling.tiles * channels], channels)
        np.matmul(inputs.transpose(0, 2, 1), _by_tile(products, filters), out=summand)
        total += summand
    dweight = to_filter.T @ total.reshape(36, -1)
    return dx, dweight.reshape(3, 3, channels, filters).transpose(3, 2, 0, 1)


def _input_gradient(products: Array, backwards: Array, dx: Array, tiling: Tiling) -> None:
    """Fill the gradient of some pictures for that of the products [36, T * F] of their tiles."""
    filters, channels = backwards.shape[1:]
    transformed = empty_rows(36, len(dx) * tiling.tiles * channels, dx.dtype)
    np.matmul(_by_tile(products, filters), backwards, out=_by_tile(transformed, channels))
    tiles = empty_rows(36, transformed.shape[1], dx.dtype)
    np.matmul(_transforms(dx.dtype.str)[0].T, transformed, out=tiles)
    _add_tiles(tiles, dx, tiling)


def _by_tile(rows: Array, channels: int) -> Array:
    """Return [36, T * C] as [36, T, C], a view."""
    return rows.reshape(len(rows), -1, channels)


def _gather_tiles(x: Array, tiling: Tiling) -> Array:
    """Return the overlapping tiles of some pictures: [36, T * C]."""
    count, rows, columns = len(x), tiling.rows, tiling.columns
    padded = empty((count, 4 * rows + 2, 4 * columns + 2, tiling.channels), x.dtype)
    padded.fill(0)
    tiling.interior(padded)[...] = x
    picture, row, column, channel = padded.strides
    tiles = as_strided(
        padded,
        (6, 6, count, rows, columns, tiling.channels),
        (row, column, picture, 4 * row, 4 * column, channel),
        writeable=False,
    )
    gathered = empty_rows(36, count * tiling.tiles * tiling.channels, x.dtype)
    gathered.reshape(tiles.shape)[...] = tiles
    return gathered


def _add_tiles(tiles: Array, dx: Array, tiling: Tiling) -> None:
    """Sum overlapping tiles [36, T * C] into pictures: the adjoint of `_gather_tiles`.

    The pictures are blocks of 4x4; a tile covers one block and two rows and columns of its neighbors.
    """
    count, rows, columns, channels = len(dx), tiling.rows, tiling.columns, tiling.channels
    blocks = empty((count, rows + 1, 4, columns + 1, 4, channels), tiles.dtype)
    blocks[:, rows], blocks[:, :, :, columns] = 0, 0
    places = tiles.reshape(6, 6, count, rows, columns, channels).transpose(2, 3, 0, 4, 1, 5)
    blocks[:, :rows, :, :columns] = places[:, :, :4, :, :4]
    blocks[:, 1:, :2, :columns] += places[:, :, 4:, :, :4]
    blocks[:, :rows, :, 1:, :2] += places[:, :, :4, :, 4:]
    blocks[:, 1:, :2, 1:, :2] += places[:, :, 4:, :, 4:]
    dx[...] = tiling.interior(blocks.reshape(count, 4 * rows + 4, 4 * columns + 4, channels))


def _place_outputs(outputs: Array, y: Array, tiling: Tiling, finish: Finish) -> None:
    """Put the outputs of tiles [16, T * F] into their places in [pictures, H', W', F]."""
    count, rows, columns, filters = len(y), tiling.rows, tiling.columns, y.shape[3]
    places = outputs.reshape(4, 4, count, rows, columns, filters).transpose(2, 3, 0, 4, 1, 5)
    if y.shape[1:3] == (4 * rows, 4 * columns):
        finish(places, y.reshape(places.shape))
    else:
        finish(places.reshape(count, 4 * rows, 4 * columns, filters)[:, : tiling.height, : tiling.width], y)


def _gather_outputs(grad: Array, tiling: Tiling) -> Array:
    """Return the gradients of the outputs by tile: [16, T * F], zeros beyond the border; adjoint of the above."""
    count, rows, columns, filters = len(grad), tiling.rows, tiling.columns, grad.shape[3]
    if grad.shape[1:3] != (4 * rows, 4 * columns):
        whole = np.zeros((count, 4 * rows, 4 * columns, filters), grad.dtype)
        whole[:, : tiling.height, : tiling.width] = grad
        grad = whole
    gathered = empty_rows(16, count * tiling.tiles * filters, grad.dtype)
    blocks = grad.reshape(count, rows, 4, columns, 4, filters).transpose(2, 4, 0, 1, 3, 5)
    gathered.reshape(blocks.shape)[...] = blocks
    return gathered
