"""The decision between a model and its compressed version, from measurements alone. It measures nothing itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from trimtab.budget import Budget
from trimtab.evaluation import Comparison, upper_bound_of_drop

_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A model file: what it is called (``"float32"``, ``"int8"``), its size, and the time for one example."""

    variant: str
    megabytes: float
    milliseconds_p95: float


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to deliver and why.

    Attributes
    ----------
    variant
        Of the model that is delivered.
    reason
        A sentence for people, without a full stop.
    guard_passed
        Whether the compressed model is shown to lose no more accuracy than allowed.
    drop_points
        Accuracy that it lost on the validation rows, in percentage points; negative if it gained.
    drop_bound_points
        One-sided 95% upper bound of what it loses on all rows of this kind.
    """

    variant: str
    reason: str
    guard_passed: bool
    drop_points: float
    drop_bound_points: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def accept(
    base: Measured,
    compressed: Measured,
    comparison: Comparison,
    *,
    budget: Budget | None = None,
    max_drop_points: float = 1.0,
) -> Decision:
    """Decide whether ``compressed`` is delivered instead of ``base``.

    It is, when it is smaller and the guard passes: the 95% upper bound of its loss of accuracy is at most
    ``max_drop_points``. Few validation rows give a wide bound, and so keep the base. A limit of the budget decides
    otherwise in two cases: the compressed model alone meets the limits (delivered, guard passed or not), or the
    base alone does (the base stays).

    Parameters
    ----------
    base, compressed
        Their measurements.
    comparison
        Compressed (b) against base (a) on the same validation rows.
    budget
        Limits on megabytes and milliseconds.
    max_drop_points
        Allowed loss of accuracy in percentage points.

    Raises
    ------
    ValueError
        If ``max_drop_points`` is negative.
    """
    if not max_drop_points >= 0:
        raise ValueError(f"max_drop_points is {max_drop_points}; expected 0 or more.")
    bound = 100 * upper_bound_of_drop(comparison, level=_LEVEL)
    passed = bound <= max_drop_points
    takes, reason = _decide(base, compressed, budget or Budget(), passed, _loss(bound, comparison, max_drop_points))
    return Decision(
        variant=(compressed if takes else base).variant,
        reason=reason,
        guard_passed=passed,
        drop_points=-100 * comparison.difference,
        drop_bound_points=bound,
    )


def _decide(base: Measured, compressed: Measured, budget: Budget, passed: bool, loss: str) -> tuple[bool, str]:
    if compressed.megabytes >= base.megabytes:
        return False, f"{compressed.variant} is not smaller ({_sizes(base, compressed)})"
    base_misses, compressed_misses = _missed(base, budget), _missed(compressed, budget)
    if base_misses and not compressed_misses and not passed:
        return True, f"only {compressed.variant} meets the limit of {' and '.join(base_misses)}, although it {loss}"
    if compressed_misses and not base_misses:
        return False, f"{compressed.variant} misses the limit of {' and '.join(compressed_misses)}"
    if not passed:
        return False, f"{compressed.variant} {loss}"
    ratio = base.megabytes / compressed.megabytes
    return True, f"{compressed.variant} is {ratio:.1f} times smaller ({_sizes(base, compressed)}) and {loss}"


def _missed(measured: Measured, budget: Budget) -> list[str]:
    megabytes, milliseconds = budget.megabytes, budget.milliseconds
    missed = []
    if megabytes is not None and measured.megabytes > megabytes:
        missed.append(f"{megabytes:g} MB")
    if milliseconds is not None and measured.milliseconds_p95 > milliseconds:
        missed.append(f"{milliseconds:g} ms")
    return missed


def _loss(bound: float, comparison: Comparison, allowed: float) -> str:
    verb, verdict = ("loses at most", "allowed") if bound <= allowed else ("may lose up to", "more than the allowed")
    rows = f"{comparison.rows:,} validation rows"
    return f"{verb} {max(bound, 0.0):.2g} points of accuracy (95% bound from {rows}; {verdict} {allowed:g})"


def _sizes(base: Measured, compressed: Measured) -> str:
    return f"{compressed.megabytes:.3g} MB against {base.megabytes:.3g} MB"
