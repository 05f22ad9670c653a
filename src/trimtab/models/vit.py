"""A small transformer for pictures.

Shapes: B batch, C channels, H W height and width, T tokens, K classes.
"""

from __future__ import annotations

from typing import Any


def vit(
    nn: Any,
    *,
    in_channels: int,
    image_size: int,
    num_classes: int,
    width: int,
    depth: int,
    heads: int,
    patch: int,
    head_width: int | None = None,
    mlp_ratio: float = 2.0,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
) -> Any:
    """Return a transformer over patches of a picture: [B, C, H, W] -> logits [B, K].

    Patches become tokens of ``width`` numbers with a learned position each. A block is attention among the tokens
    and a two-layer network for each, both around a shortcut and after a normalization. The head reads the mean of
    the tokens, which trains as well as a class token and exports as a plain mean.

    Parameters
    ----------
    nn
        The engine.
    in_channels, image_size
        Of the pictures.
    num_classes, dropout
        Of the head.
    width, depth
        Numbers of a token, and blocks.
    heads, head_width
        Attentions side by side in a block, and what each has of queries, keys and values; ``None``: the heads share
        ``width`` evenly.
    patch
        Pixels of a patch's side, which must divide the picture's.
    mlp_ratio
        Hidden width of the two-layer networks, relative to ``width``.
    stochastic_depth
        Probability with which an example skips a branch in training.

    Raises
    ------
    ValueError
        If the patches do not cover the picture, or the heads do not share the width evenly.

    References
    ----------
    A. Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021; the mean instead of a class token: L. Beyer,
    X. Zhai and A. Kolesnikov, "Better plain ViT baselines for ImageNet-1k", arXiv 2205.01580, 2022.
    """
    if patch < 1 or image_size % patch:
        raise ValueError(f"patch is {patch} for pictures of {image_size} pixels; expected a divisor; choose one.")
    if head_width is None and width % heads:
        raise ValueError(f"width is {width} for {heads} heads; expected a multiple; change one, or give head_width.")
    tokens, inner = (image_size // patch) ** 2, heads * (head_width or width // heads)
    hidden = round(mlp_ratio * width)
    layers = [nn.Conv2d(in_channels, width, patch, stride=patch), nn.Tokens(tokens, width)]
    for _ in range(depth):
        attention = [nn.Linear(width, 3 * inner), nn.SelfAttention(tokens, inner, heads), nn.Linear(inner, width)]
        layers.append(_branch(nn, width, attention, stochastic_depth))
        perceptron = [nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)]
        layers.append(_branch(nn, width, perceptron, stochastic_depth))
    head = [nn.TokenMean(tokens, width), nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, num_classes)]
    return nn.Sequential(*layers, *head)


def _branch(nn: Any, width: int, layers: list[Any], stochastic_depth: float) -> Any:
    """Return a residual branch that normalizes first."""
    return nn.Residual(nn.Sequential(nn.LayerNorm(width), *layers), stochastic_depth)
