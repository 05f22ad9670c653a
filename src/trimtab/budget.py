"""What a run may cost, what it did cost, and whether the one is within the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits set by the user; ``None`` means no limit.

    Attributes
    ----------
    minutes
        The whole run by the clock on the wall: reading, training, evaluation, export, report.
    megabytes
        The delivered model file; one megabyte is 1,000,000 bytes.
    milliseconds
        95th percentile of the time for one example, from raw input to probabilities.

    Raises
    ------
    ValueError
        If a limit is not a finite number above zero.
    """

    minutes: float | None = None
    megabytes: float | None = None
    milliseconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that nothing could meet or that mean nothing."""
        for name, limit in asdict(self).items():
            if limit is not None and not (math.isfinite(limit) and limit > 0):
                raise ValueError(f"{name} is {limit}; expected a finite number above 0; give one or leave it out.")

    def check(self, cost: Cost) -> Verdict:
        """Compare every limit with what was measured."""
        measured = {
            "minutes": cost.seconds / 60,
            "megabytes": cost.megabytes,
            "milliseconds": cost.milliseconds_p95,
        }
        limits = asdict(self)
        return Verdict(
            lines=tuple(VerdictLine(name=name, limit=limits[name], measured=value) for name, value in measured.items())
        )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was measured: time of the run, and size and latency of the delivered model.

    ``milliseconds_*`` are percentiles for a batch of one, end to end, after warm-up, with ``threads`` threads.
    ``seconds`` is the whole run, ``training_seconds`` the training loop alone, ``peak_memory_megabytes`` the
    largest resident size of the process.
    """

    seconds: float
    megabytes: float
    milliseconds_p50: float
    milliseconds_p95: float
    milliseconds_p99: float
    threads: int
    parameters: int
    macs: int
    training_seconds: float
    peak_memory_megabytes: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Cost:
        """Return the cost that `to_dict` gave."""
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class VerdictLine:
    """One limit beside its measurement."""

    name: str
    limit: float | None
    measured: float

    @property
    def is_met(self) -> bool:
        """Whether the measurement is within the limit, or there is no limit."""
        return self.limit is None or self.measured <= self.limit

    @property
    def excess(self) -> float:
        """How far above the limit, as a fraction of it: 0.05 is five percent over; negative is room left."""
        return 0.0 if self.limit is None else self.measured / self.limit - 1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The budget's limits, each with its measurement."""

    lines: tuple[VerdictLine, ...]

    @property
    def is_met(self) -> bool:
        """Whether every limit is met."""
        return all(line.is_met for line in self.lines)

    @property
    def word(self) -> str:
        """``"met"`` or ``"missed"``."""
        return "met" if self.is_met else "missed"

    @property
    def excesses(self) -> tuple[VerdictLine, ...]:
        """The limits that were not met."""
        return tuple(line for line in self.lines if not line.is_met)

    def to_dict(self) -> dict[str, Any]:
        """Return the word and the lines as plain values."""
        lines = [{**asdict(line), "met": line.is_met} for line in self.lines]
        return {"verdict": self.word, "limits": lines}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_dict` gave."""
        return cls(
            lines=tuple(
                VerdictLine(name=line["name"], limit=line["limit"], measured=line["measured"])
                for line in fields["limits"]
            )
        )
