"""A small convolutional network for short training: pictures are pooled early and normalized cheaply.

After the network of Jordan (2024), which reaches 94% on CIFAR-10 in the fewest multiplications known. What its first
layer and its filters start from, when pictures are known, is in `trimtab.models.initialization`.

Shapes: B batch, C channels, H W height and width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STEM_WEIGHT = "0.0.weight"
"""The state-dict key of the stem's filters."""

_STEMS = ("whitening", "convolution", "patch")
_ACTIVATIONS = ("relu", "gelu")
_LARGE = 128  # pixels a side from which patches have 4 pixels a side instead of 2
_LOGIT_SCALE = 1 / 9  # of logits that come from maxima, so that training starts far from certainty


def resnet(
    nn: Any,
    *,
    in_channels: int,
    image_size: int,
    channels: Sequence[int],
    num_classes: int,
    dropout: float = 0.0,
    depth: int = 2,
    stem: str = "whitening",
    activation: str = "relu",
    separable: bool = False,
    stochastic_depth: float = 0.0,
    momentum: float = 0.1,
) -> Any:
    """Return a convolutional network that learns much in few steps: [B, C, H, W] -> logits [B, K].

    A stem, then one stage per entry of ``channels``: a 3x3 convolution, a halving maximum (while the picture is
    larger than 3 pixels), then more 3x3 convolutions, each with a normalization and an activation; then the maximum
    over the picture and a linear layer without bias.

    A maximum comes before the normalization, which then has a quarter of the work. Normalizations only center and
    shift: with a scale that cannot be negative they change places with a maximum, so that prediction folds them into
    the convolution, and a scale would be the next convolution's to learn anyway.

    Parameters
    ----------
    nn
        The engine.
    in_channels, image_size
        Of the pictures.
    channels
        Width of each stage; the stem has a width of its own.
    num_classes, dropout
        Of the head.
    depth
        Convolutions of a stage: 2, or 3, of which the last two are a branch around which the input is added
        (He et al., 2016).
    stem
        ``"whitening"``: a fixed 2x2 convolution whose outputs are uncorrelated on the training pictures, once it is
        set by `trimtab.models.initial_arrays`; ``"convolution"``: 3x3; ``"patch"``: patches of 2x2 pixels, or 4x4 of
        pictures above 128, that do not overlap, for pictures larger than 64.
    activation
        ``"relu"``, or ``"gelu"``, which may learn a little more per step and takes more time, also in delivery.
    separable
        Whether each 3x3 convolution of a stage is split into one filter per channel and a mix of channels.
    stochastic_depth
        Probability with which an example skips a branch in training.
    momentum
        Share of the newest batch in the running statistics; a larger one forgets early weights sooner.

    Raises
    ------
    ValueError
        If an argument is none of those.

    References
    ----------
    K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498, 2024, section 3.
    """
    _check(depth, stem, activation, stochastic_depth)
    parts = _Parts(nn=nn, activation=activation, separable=separable, momentum=momentum)
    first, width, size = parts.stem(stem, in_channels, image_size)
    layers = [first]
    for channel_count in channels:
        halves = size > 3
        opening = parts.convolution(width, channel_count, halves=halves)
        further = [layer for _ in range(depth - 1) for layer in parts.convolution(channel_count, channel_count)]
        rest = further if depth == 2 else [nn.Residual(nn.Sequential(*further), stochastic_depth)]
        layers.append(nn.Sequential(*opening, *rest))
        width, size = channel_count, size // 2 if halves else size
    head = [nn.MaxPool2d(size), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, num_classes, bias=False)]
    return nn.Sequential(*layers, *head, nn.Scale(_LOGIT_SCALE))


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Makes the parts of the network, all in one style."""

    nn: Any
    activation: str
    separable: bool
    momentum: float

    def stem(self, kind: str, in_channels: int, image_size: int) -> tuple[Any, int, int]:
        """Return the first layers, how many channels they give, and the size of the picture after them."""
        nn, width = self.nn, 8 * in_channels  # twice the numbers in 2x2 pixels, as whitening has
        if kind == "whitening":
            return nn.Sequential(nn.frozen(nn.Conv2d(in_channels, width, 2)), self._bend()), width, image_size - 1
        if kind == "convolution":
            convolution = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
            return nn.Sequential(convolution, *self._normalized(width)), width, image_size
        side = 4 if image_size > _LARGE else 2
        width = 4 * side * in_channels
        convolution = nn.Conv2d(in_channels, width, side, stride=side, bias=False)
        return nn.Sequential(convolution, *self._normalized(width)), width, image_size // side

    def convolution(self, width_in: int, width_out: int, *, halves: bool = False) -> list[Any]:
        """Return a 3x3 convolution, a halving maximum when asked, normalization and activation."""
        nn = self.nn
        if self.separable:
            layers = [
                nn.Conv2d(width_in, width_in, 3, padding=1, groups=width_in, bias=False),
                nn.Conv2d(width_in, width_out, 1, bias=False),
            ]
        else:
            layers = [nn.Conv2d(width_in, width_out, 3, padding=1, bias=False)]
        return [*layers, *([nn.MaxPool2d(2)] if halves else []), *self._normalized(width_out)]

    def _normalized(self, width: int) -> list[Any]:
        return [self.nn.ShiftNorm2d(width, momentum=self.momentum), self._bend()]

    def _bend(self) -> Any:
        return self.nn.ReLU() if self.activation == "relu" else self.nn.GELU()


def _check(depth: int, stem: str, activation: str, stochastic_depth: float) -> None:
    if depth not in (2, 3):
        raise ValueError(f"depth is {depth}; expected 2 or 3 convolutions per stage; choose one.")
    for name, value, known in (("stem", stem, _STEMS), ("activation", activation, _ACTIVATIONS)):
        if value not in known:
            raise ValueError(f"{name} is '{value}'; expected one of {', '.join(known)}; choose one.")
    if stochastic_depth and depth == 2:
        raise ValueError(
            f"stochastic_depth is {stochastic_depth:g} with depth 2; expected branches to skip; set depth to 3."
        )
