"""Which numbers of a network belong to one channel: what has to go together when a channel is taken out.

Found without a framework, by one more ``nn`` namespace: its layers only pass on which channels they give, and note
which arrays make, carry and read them. A residual sum joins the channels of both its sides, and a depthwise
convolution those before and after it.

Shapes: O I output and input channels of a weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from trimtab.models.builders import build

Argument = tuple[str, int | None]
"""The name of a keyword argument, and the place in it where it is a list."""

_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "mlp": ("hidden",),
    "cnn": ("channels",),
    "separable_cnn": ("channels",),
    "resnet": ("channels",),
    "vit": ("mlp_ratio",),
}  # that set widths by themselves; a transformer's other widths are tied to its heads and its layer normalization


@dataclass(kw_only=True)
class Filter:
    """A weight whose first axis makes channels, and the prefix of the normalization after it, if there is one."""

    weight: str
    norm: str | None = None


@dataclass(kw_only=True, eq=False)
class Channels:
    """Channels that are the same numbers wherever they go.

    Attributes
    ----------
    width
        How many there are.
    argument
        What of the builder's keyword arguments sets the width; ``None`` where nothing does so by itself: input,
        classes, a stem of fixed width.
    filters
        The weights that make them, [O, ...]; of a depthwise convolution the weight that goes over them, too.
    carried
        Further arrays with one number for each: biases and normalization.
    readers
        The weights that read them, [O, I, ...].
    """

    width: int
    argument: Argument | None = None
    filters: list[Filter] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)

    def join(self, other: Channels) -> None:
        """Take over what another one's channels are, since both are added up."""
        self.filters += other.filters
        self.carried += other.carried
        self.readers += other.readers


def find_channels(builder: str, kwargs: Mapping[str, Any]) -> list[Channels]:
    """Return the channels of a network whose width is set by a keyword argument, in the order in which they are made.

    Which argument that is, is found by making each a little larger and looking at what becomes wider.

    Raises
    ------
    ValueError
        If there is no builder of that name.
    """
    found = _trace(builder, kwargs)
    for argument, changed in _enlarged(builder, kwargs):
        for channels, larger in zip(found, _trace(builder, changed), strict=True):
            if larger.width != channels.width:
                channels.argument = argument
    return [channels for channels in found if channels.argument is not None]


def widths_of(builder: str, kwargs: Mapping[str, Any]) -> dict[Argument, int]:
    """Return the width that each argument sets."""
    return {channels.argument: channels.width for channels in find_channels(builder, kwargs) if channels.argument}


def with_widths(builder: str, kwargs: Mapping[str, Any], widths: Mapping[Argument, int]) -> dict[str, Any]:
    """Return keyword arguments that give the network other widths; those that are not named stay."""
    changed = dict(kwargs)
    for (name, place), width in widths.items():
        if place is None:
            changed[name] = width / kwargs["width"]  # a ratio to the width of the tokens
        else:
            changed[name] = [*changed[name][:place], width, *changed[name][place + 1 :]]
    return changed


def _enlarged(builder: str, kwargs: Mapping[str, Any]) -> Iterator[tuple[Argument, dict[str, Any]]]:
    """Yield each argument with keyword arguments in which it sets a width larger by one."""
    for name in _ARGUMENTS[builder]:
        if name == "mlp_ratio":
            hidden = round(kwargs.get(name, 2.0) * kwargs["width"])
            yield (name, None), with_widths(builder, kwargs, {(name, None): hidden + 1})
        else:
            for place, width in enumerate(kwargs[name]):
                yield (name, place), with_widths(builder, kwargs, {(name, place): width + 1})


def _trace(builder: str, kwargs: Mapping[str, Any]) -> list[Channels]:
    found: list[Channels] = []
    build(_TRACER, builder, kwargs).trace("", Channels(width=0), found)
    return found


class _Layer:
    """Passes the channels on; the default adds nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs

    def trace(self, key: str, channels: Channels, found: list[Channels]) -> Channels:
        return channels


class _Mix(_Layer):
    """A linear layer or a convolution: new channels from old ones, unless each has its own filter."""

    def trace(self, key: str, channels: Channels, found: list[Channels]) -> Channels:
        made = channels
        if self.kwargs.get("groups", 1) == 1:
            made = Channels(width=self.args[1])
            found.append(made)
            channels.readers.append(f"{key}.weight")
        made.filters.append(Filter(weight=f"{key}.weight"))
        if self.kwargs.get("bias", True):
            made.carried.append(f"{key}.bias")
        return made


class _Carry(_Layer):
    """One number per channel, or more of them."""

    names: tuple[str, ...] = ("weight", "bias")

    def trace(self, key: str, channels: Channels, found: list[Channels]) -> Channels:
        channels.carried += [f"{key}.{name}" for name in self.names]
        return channels


class _Norm(_Carry):
    names: tuple[str, ...] = ("weight", "bias", "running_mean", "running_var")

    def trace(self, key: str, channels: Channels, found: list[Channels]) -> Channels:
        channels.filters[-1].norm = key
        return super().trace(key, channels, found)


class _ShiftNorm(_Norm):
    names = ("bias", "running_mean", "running_var")


class _SelfAttention(_Layer):
    def trace(self, key: str, channels: Channels, found: list[Channels]) -> Channels:
        made = Channels(width=self.args[1])
        found.append(made)
        return made


class _Sequential(_Layer):
    def trace(self, key: str, channels: Channels, found: list[Channels]) -> Channels:
        for place, layer in enumerate(self.args):
            channels = layer.trace(f"{key}.{place}" if key else str(place), channels, found)
        return channels


class _Residual(_Layer):
    def trace(self, key: str, channels: Channels, found: list[Channels]) -> Channels:
        added = self.args[0].trace(f"{key}.module", channels, found)
        found.remove(added)
        channels.join(added)
        return channels


def _frozen(layer: _Layer) -> _Layer:
    return layer


_TRACER = SimpleNamespace(
    Linear=_Mix,
    Conv2d=_Mix,
    BatchNorm1d=_Norm,
    BatchNorm2d=_Norm,
    ShiftNorm2d=_ShiftNorm,
    LayerNorm=_Carry,
    ReLU=_Layer,
    GELU=_Layer,
    Scale=_Layer,
    Dropout=_Layer,
    Tokens=_Layer,
    SelfAttention=_SelfAttention,
    TokenMean=_Layer,
    MaxPool2d=_Layer,
    AdaptiveAvgPool2d=_Layer,
    Flatten=_Layer,
    Sequential=_Sequential,
    Residual=_Residual,
    frozen=_frozen,
)
