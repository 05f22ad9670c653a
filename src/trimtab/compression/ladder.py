"""The ladder: models from the best to the smallest, each measured, and the choice between them. It measures nothing.

With limits the first group of rungs in which one is within them and loses little enough decides, and nothing after it
has to be tried: groups come cheapest first. Without limits all are tried, and the smallest rung of those that lose
little enough is chosen. Where none is good enough, the choice is the best trade-off, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trimtab.budget import Budget
from trimtab.evaluation.cost import Latency
from trimtab.evaluation.intervals import Estimate

AS_TRAINED = "as trained"
"""The network of the run itself."""


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Accuracy lost against the float model on the same validation rows, in percentage points; negative is a gain.

    ``bound`` is the one-sided 95% upper bound of the loss on all rows of this kind.
    """

    points: float
    low: float
    high: float
    bound: float


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A model file, measured.

    Attributes
    ----------
    network
        Which network it is: ``"as trained"``, ``"pruned to 50%"``, ...
    number_format
        What it is stored and computed in: ``"float32"``, ``"float16"``, ``"int8"``, ``"int8 weights"``, ...
    group
        Rungs of one group are tried together and compared: an equally small network made in several ways.
    megabytes
        Of the file, 1,000,000 bytes each.
    latency
        Of one example, end to end.
    milliseconds_of_32
        Median for 32 examples at once.
    parameters, macs
        Of the network.
    accuracy
        On the validation rows.
    drop
        Against the float model; ``None`` of that itself.
    seconds
        That making it took.
    remark
        What a reader should know about it, a sentence without a full stop, or nothing.
    """

    network: str
    number_format: str
    group: int
    megabytes: float
    latency: Latency
    milliseconds_of_32: float
    parameters: int
    macs: int
    accuracy: Estimate
    drop: Drop | None
    seconds: float
    remark: str = ""

    @property
    def name(self) -> str:
        """Network and number format."""
        return self.number_format if self.network == AS_TRAINED else f"{self.network}, {self.number_format}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Rung:
        """Return what `to_dict` gave."""
        drop = fields["drop"]
        nested = {
            "latency": Latency(**fields["latency"]),
            "accuracy": Estimate(**fields["accuracy"]),
            "drop": None if drop is None else Drop(**drop),
        }
        return cls(**{**fields, **nested})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a rung has to meet.

    Attributes
    ----------
    megabytes, milliseconds
        Limits; milliseconds are the p95 of one example.
    max_drop
        Accuracy points that may be lost (95% bound).
    """

    megabytes: float | None = None
    milliseconds: float | None = None
    max_drop: float = 1.0

    @property
    def has_limits(self) -> bool:
        """Whether the file's size or time is limited."""
        return self.megabytes is not None or self.milliseconds is not None

    @property
    def budget(self) -> Budget:
        """The limits."""
        return Budget(megabytes=self.megabytes, milliseconds=self.milliseconds)

    def excesses(self, rung: Rung) -> list[tuple[str, float]]:
        """Return what is above its limit, in words, and how many times the limit it is."""
        pairs = [
            (f"{rung.megabytes:.3g} MB", rung.megabytes, self.megabytes),
            (f"{rung.latency.p95_ms:.3g} ms", rung.latency.p95_ms, self.milliseconds),
        ]
        return [(text, value / limit) for text, value, limit in pairs if limit is not None and value > limit]

    def loses_too_much(self, rung: Rung) -> bool:
        """Whether it is not shown that no more accuracy is lost than allowed."""
        return rung.drop is not None and rung.drop.bound > self.max_drop

    def misses(self, rung: Rung) -> list[str]:
        """Return everything that keeps a rung from being good enough, in words."""
        found = [f"{text} is too {'large' if text.endswith('MB') else 'slow'}" for text, _ in self.excesses(rung)]
        if rung.drop is not None and self.loses_too_much(rung):
            found.append(f"may lose {rung.drop.bound:.2g} points")
        return found


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The rung that is delivered.

    Attributes
    ----------
    rung
        It.
    is_good_enough
        Whether it meets everything that was wanted.
    reason
        A sentence without a full stop.
    """

    rung: Rung
    is_good_enough: bool
    reason: str


def is_finished(rungs: Sequence[Rung], wanted: Wanted) -> bool:
    """Return whether no further rung has to be tried: there are limits, and one meets everything."""
    return wanted.has_limits and any(not wanted.misses(rung) for rung in rungs)


def choose_rung(rungs: Sequence[Rung], wanted: Wanted) -> Choice:
    """Return the rung to deliver.

    Parameters
    ----------
    rungs
        In the order in which they were tried, the float model first.
    wanted
        What they have to meet.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not rungs:
        raise ValueError("there are no rungs; expected the float model at least; measure it first.")
    good = [rung for rung in rungs if not wanted.misses(rung)]
    if good and wanted.has_limits:
        first = max((rung for rung in good if rung.group == good[0].group), key=lambda rung: rung.accuracy.value or 0.0)
        return Choice(rung=first, is_good_enough=True, reason=_why_first(first, wanted))
    if good:
        smallest = min(good, key=lambda rung: rung.megabytes)
        return Choice(rung=smallest, is_good_enough=True, reason=_why_smallest(smallest, rungs, wanted))
    within = [rung for rung in rungs if not wanted.excesses(rung)]
    if within:
        best = max(within, key=lambda rung: rung.accuracy.value or 0.0)
        reason = f"the most accurate within {_limits(wanted)}, but {'; '.join(wanted.misses(best))}"
        return Choice(rung=best, is_good_enough=False, reason=reason)
    nearest = min(rungs, key=lambda rung: max(ratio for _, ratio in wanted.excesses(rung)))
    reason = f"none is within {_limits(wanted)}; this is nearest: {'; '.join(wanted.misses(nearest))}"
    return Choice(rung=nearest, is_good_enough=False, reason=reason)


def pareto(rungs: Sequence[Rung]) -> list[Rung]:
    """Return the rungs that no other one beats in size, time and accuracy at once, the largest first."""

    def costs(rung: Rung) -> tuple[float, float, float]:
        return rung.megabytes, rung.latency.p50_ms, -(rung.accuracy.value or 0.0)

    def is_beaten(rung: Rung) -> bool:
        own = costs(rung)
        others = (costs(other) for other in rungs if other is not rung)
        return any(all(a <= b for a, b in zip(other, own, strict=True)) and other != own for other in others)

    return sorted((rung for rung in rungs if not is_beaten(rung)), key=lambda rung: -rung.megabytes)


def _why_first(rung: Rung, wanted: Wanted) -> str:
    return f"the first within {_limits(wanted)}{'' if rung.drop is None else f' that {_loss(rung, wanted)}'}"


def _why_smallest(rung: Rung, rungs: Sequence[Rung], wanted: Wanted) -> str:
    if rung.drop is not None:
        times = f"{rungs[0].megabytes / rung.megabytes:.1f} times smaller than {rungs[0].name}"
        return f"the smallest that {_loss(rung, wanted)}, {times}"
    others = [other for other in rungs if other is not rung]
    return "; ".join(_why_not(other, rung, wanted) for other in others) or "nothing else was tried"


def _why_not(other: Rung, base: Rung, wanted: Wanted) -> str:
    if other.drop is None or not wanted.loses_too_much(other):
        return f"{other.name} is not smaller ({other.megabytes:.3g} MB against {base.megabytes:.3g} MB)"
    return f"{other.name} may lose {other.drop.bound:.2g} points of accuracy (95% bound; {wanted.max_drop:g} allowed)"


def _loss(rung: Rung, wanted: Wanted) -> str:
    if rung.drop is None:
        return "is as accurate as the run's own"
    return f"loses at most {max(rung.drop.bound, 0):.2g} points of accuracy (95% bound; {wanted.max_drop:g} allowed)"


def _limits(wanted: Wanted) -> str:
    limits = [(wanted.megabytes, "MB"), (wanted.milliseconds, "ms")]
    return " and ".join(f"{limit:g} {unit}" for limit, unit in limits if limit is not None)
