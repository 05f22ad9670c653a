"""The networks trimtab can train, each one function over an ``nn`` namespace.

``nn`` is anything with torch.nn's names: torch itself (with the twins of `trimtab.training.torch_nn`),
`trimtab.numpy_nn`, the ONNX exporter, or the counter in `trimtab.models.costs`. So one definition serves training,
export and planning, and weights move between engines unchanged. All arguments but ``nn`` are plain JSON values: they
are the artifact.

Shapes: B batch, C channels, H W height and width, F features, K classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trimtab.errors import nearest
from trimtab.models.resnet import resnet
from trimtab.models.vit import vit

Builder = Callable[..., Any]


def mlp(nn: Any, *, in_features: int, hidden: Sequence[int], num_classes: int, dropout: float = 0.0) -> Any:
    """Return a multi-layer perceptron with batch normalization: [B, F] -> logits [B, K]."""
    layers: list[Any] = []
    width = in_features
    for size in hidden:
        layers += [nn.Linear(width, size), nn.BatchNorm1d(size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, num_classes))


def cnn(
    nn: Any,
    *,
    in_channels: int,
    image_size: int,
    channels: Sequence[int],
    num_classes: int,
    dropout: float = 0.0,
) -> Any:
    """Return a convolutional network: [B, C, H, W] -> logits [B, K].

    A stem of one 3x3 convolution, then one stage per entry of ``channels``: a 3x3 convolution, a halving pool
    (as long as the picture is larger than 3 pixels), and a residual pair of 3x3 convolutions; then the mean over
    the picture and a linear head. After the residual networks of He et al. (2016) in the nine-layer form that
    short-budget training favors.
    """
    stem, *stages = channels
    layers: list[Any] = [_convolution(nn, in_channels, stem)]
    width, size = stem, image_size
    for channel_count in stages:
        halves = size > 3
        layers.append(_convolution(nn, width, channel_count, pool=halves))
        layers.append(
            nn.Residual(
                nn.Sequential(
                    _convolution(nn, channel_count, channel_count),
                    _convolution(nn, channel_count, channel_count),
                )
            )
        )
        width, size = channel_count, size // 2 if halves else size
    return nn.Sequential(*layers, *_head(nn, width, num_classes, dropout))


def separable_cnn(
    nn: Any,
    *,
    in_channels: int,
    image_size: int,
    channels: Sequence[int],
    num_classes: int,
    dropout: float = 0.0,
) -> Any:
    """Return a network of depthwise-separable convolutions: [B, C, H, W] -> logits [B, K].

    Each 3x3 convolution of `cnn` is split into one 3x3 filter per channel and a 1x1 mix of channels
    (Howard et al., MobileNets, 2017): about an eighth of the multiplications and weights at the same width.
    """
    stem, *stages = channels
    layers: list[Any] = [_convolution(nn, in_channels, stem)]
    width, size = stem, image_size
    for channel_count in stages:
        halves = size > 3
        layers.append(_separable(nn, width, channel_count, stride=2 if halves else 1))
        layers.append(nn.Residual(_separable(nn, channel_count, channel_count)))
        width, size = channel_count, -(-size // 2) if halves else size
    return nn.Sequential(*layers, *_head(nn, width, num_classes, dropout))


MODELS: Mapping[str, Builder] = {
    "mlp": mlp,
    "cnn": cnn,
    "separable_cnn": separable_cnn,
    "resnet": resnet,
    "vit": vit,
}


def build(nn: Any, name: str, kwargs: Mapping[str, Any]) -> Any:
    """Return the network of that name.

    Raises
    ------
    ValueError
        If there is no builder of that name.
    """
    return _builder(name)(nn, **kwargs)


def accepts(name: str, argument: str) -> bool:
    """Return whether the builder of that name takes a keyword argument, such as ``"stochastic_depth"``.

    Raises
    ------
    ValueError
        If there is no builder of that name.
    """
    return argument in inspect.signature(_builder(name)).parameters


def _builder(name: str) -> Builder:
    if name not in MODELS:
        known = ", ".join(MODELS)
        raise ValueError(f"there is no model '{name}'; expected one of {known}; {nearest(name, MODELS)}pick one.")
    return MODELS[name]


def _convolution(nn: Any, width_in: int, width_out: int, *, pool: bool = False) -> Any:
    """Return a 3x3 convolution, batch norm, ReLU, and a halving pool when asked.

    Pooling before the normalization would train a little faster, but a negative scale cannot be folded through a
    maximum, and what is not folded is work for every prediction.
    """
    convolution = nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)
    pooling = [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(convolution, nn.BatchNorm2d(width_out), nn.ReLU(), *pooling)


def _separable(nn: Any, width_in: int, width_out: int, *, stride: int = 1) -> Any:
    return nn.Sequential(
        nn.Conv2d(width_in, width_in, 3, stride=stride, padding=1, groups=width_in, bias=False),
        nn.BatchNorm2d(width_in),
        nn.ReLU(),
        nn.Conv2d(width_in, width_out, 1, bias=False),
        nn.BatchNorm2d(width_out),
        nn.ReLU(),
    )


def _head(nn: Any, width: int, num_classes: int, dropout: float) -> list[Any]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, num_classes)]
