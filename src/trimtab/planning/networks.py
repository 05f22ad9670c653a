"""Which network for pictures: the largest that every limit allows and that the minutes can train.

Speeds here are nominal, for planning; how long training takes is measured while it runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from trimtab.models import Size, measure_size
from trimtab.plan import Plan
from trimtab.planning.decisions import engine_of, file_megabytes, precision_of
from trimtab.planning.facts import Facts

# Multiplications per second and thread, forward and backward, of convolutions.
_TRAIN_MACS = {("torch", "float32"): 40e9, ("torch", "bfloat16"): 75e9, ("numpy", "float32"): 40e9}
_MATRIX_UNITS_FASTER = 8 / 3  # than other instructions for bfloat16
_SEPARABLE_SLOWER = {"torch": 1, "numpy": 8}  # times, by multiplications, where each channel has its own filter
_LATENCY_MACS = 30e9  # per second on one thread in the delivered model, cautious
_CERTAIN = 0.5  # share of a limit below which an estimate leaves no doubt
_LATENCY_SECONDS = 0.0005  # reading one picture and calling the model
_PASSES_LEAST, _PASSES_MOST, _VIEWS = 6, 40, 200_000  # see `_passes_wanted`
_WIDE, _PASSES_LARGE = 64, 12  # wider first stages and deeper stages want more passes before they pay
_WHITENED = 64  # pixels a side up to which the first layer works at full resolution
_SIDES = (32, 48, 64, 96, 128)

Network = tuple[str, dict[str, Any]]  # builder and options


def choose_network(plan: Plan, facts: Facts, size: int, minutes: float) -> tuple[str, dict[str, Any], str]:
    """Return builder, options and the reason: the largest candidate that is possible, or the smallest of all."""
    candidates = [network for network in _candidates(plan, facts, size) if plan.model in (None, network[0])]
    for name, options in candidates:
        if _is_possible(plan, facts, size, name, options, minutes):
            return name, options, "the largest that the limits and the minutes allow"
    name, options = candidates[-1]
    return name, options, "the smallest there is; even so a limit will hardly be met"


def choose_size(plan: Plan, facts: Facts, minutes: float) -> tuple[int, str]:
    """Return the largest usual size at which a middling network still gets enough passes; enlarge only below 8."""
    if facts.is_one_size and facts.side <= 64:
        return max(8, facts.side), "the size that the pictures have (at least 8)"
    best = min(_SIDES[0], max(8, facts.side))
    for side in _SIDES:
        options = {"channels": _stem_and_stages(24, side)}
        if side <= facts.side and _is_possible(plan, facts, side, "cnn", options, minutes):
            best = side
    return best, f"what {minutes:g} minutes allow for {facts.rows:,} pictures"


def choose_test_time(plan: Plan, facts: Facts, size: int, network: Network, *, is_mirrored: bool) -> tuple[str, str]:
    """Return whether the mirror image is predicted, too: where training showed mirror images and a limit allows it."""
    if not is_mirrored:
        return "none", "training shows no mirror images"
    if plan.milliseconds and plan.options:
        return "none", "how long networks of your own options take is not estimated"
    name, options = network
    if _milliseconds(_cost(facts, size, name, options), "mirror") > _CERTAIN * (plan.milliseconds or math.inf):
        return "none", f"twice the time might not fit in {plan.milliseconds:g} ms"
    return "mirror", "the mean of picture and mirror image: more often right, for twice the time of one prediction"


def _candidates(plan: Plan, facts: Facts, size: int) -> Iterator[Network]:
    """Yield networks from the most to the least work; few pictures do not ask for wide ones."""
    if plan.model == "vit":
        for width in (192, 128, 64):
            yield "vit", {"width": width, "depth": 6, "heads": width // 32, "patch": max(1, size // 8)}
    has_resnet = plan.model == "resnet" or (engine_of(plan, facts)[0] == "torch" and size >= 16)
    if has_resnet:
        widest = 48 if facts.rows < 5_000 else 64 if facts.rows < 20_000 else 128
        for width in (128, 96, 64, 48, 40, 32, 24, 16, 12, 8):
            if width <= widest:
                options = {"channels": _stages(width, size), "stem": _stem(size)}
                yield "resnet", options | {"depth": 3}
                yield "resnet", options
    widest = 32 if facts.rows < 50_000 else 48
    for width in (48, 32, 24, 16, 12, 8):
        if width <= widest:
            yield "cnn", {"channels": _stem_and_stages(width, size)}
    for width in (64, 48, 32, 16, 8):
        yield "separable_cnn", {"channels": _stem_and_stages(width, size)}


def _stem(size: int) -> str:
    """Return the first layer: at full resolution for small pictures, patches for large ones."""
    return "whitening" if size <= _WHITENED else "patch"


def _is_possible(plan: Plan, facts: Facts, size: int, name: str, options: Mapping[str, Any], minutes: float) -> bool:
    """Return whether, by estimate, the network meets every limit and sees the pictures often enough."""
    cost = _cost(facts, size, name, options)
    megabytes = file_megabytes(cost.parameters, 1 if plan.quantize else 4)  # weights alone in 8 bits lose little
    return (
        megabytes <= (plan.megabytes or math.inf)
        and _milliseconds(cost, plan.test_time) <= (plan.milliseconds or math.inf)
        and _passes(plan, facts, name, cost.macs, minutes) >= _passes_wanted(facts, name, options)
    )


def _cost(facts: Facts, size: int, name: str, options: Mapping[str, Any]) -> Size:
    shape = {"in_channels": facts.channels, "image_size": size, "num_classes": facts.classes}
    return measure_size(name, {**shape, **options}, (facts.channels, size, size))


def _milliseconds(cost: Size, test_time: str | None) -> float:
    """Return the estimated time of one prediction; of two views where the mirror image is predicted too."""
    views = 2 if test_time == "mirror" else 1
    return 1000 * (_LATENCY_SECONDS + views * cost.macs / _LATENCY_MACS)


def _passes(plan: Plan, facts: Facts, name: str, macs: int, minutes: float) -> float:
    """Return how often each training picture would be seen; a tenth of the time goes to other things."""
    work = 3 * macs * 0.9 * facts.rows  # forward, and twice that backward
    engine, precision = engine_of(plan, facts)[0], precision_of(plan, facts)[0]
    speed = _TRAIN_MACS[engine, precision] / (_SEPARABLE_SLOWER[engine] if name == "separable_cnn" else 1)
    speed *= _MATRIX_UNITS_FASTER if precision == "bfloat16" and facts.has_matrix_units else 1
    return 0.9 * minutes * 60 * facts.threads * speed / work


def _passes_wanted(facts: Facts, name: str, options: Mapping[str, Any]) -> float:
    """Return how often a network should see each picture: about `_VIEWS` views in all, within bounds."""
    is_large = name == "resnet" and (options["channels"][0] > _WIDE or "depth" in options)
    least = _PASSES_LARGE if is_large else _PASSES_LEAST
    return max(least, min(_PASSES_MOST, _VIEWS / facts.rows))


def _stages(width: int, size: int) -> list[int]:
    """Return a `resnet`'s channels: ``width`` in the first stage and four times that in the later ones."""
    return [width] + [4 * width] * (_halvings(size) - 1)


def _stem_and_stages(width: int, size: int) -> list[int]:
    """Return the channels of the stem and of the stages, one stage per halving down to 4 pixels."""
    return [width * (index + 1) for index in range(_halvings(size) + 1)]


def _halvings(size: int) -> int:
    """Return the stages, one per halving down to about 4 pixels."""
    return max(1, min(5, (size // 4).bit_length() - 1))
