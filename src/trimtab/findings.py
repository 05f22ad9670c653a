"""What was found about data or a model, in one shape: a code, a state, evidence, and what was tried against it.

The page of a code is its heading in ``docs/findings.md``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from trimtab.storage import write_json

State = Literal["found", "not found", "not applicable", "not checked"]
Severity = Literal["critical", "warning", "note"]
CODES = (
    "LEAKAGE",
    "DUPLICATES",
    "LABEL_NOISE",
    "OVERFIT",
    "UNDERFIT",
    "SHIFT",
    "IMBALANCE",
    "NO_SIGNAL",
    "TEST_TOO_SMALL",
    "UNCALIBRATED",
)
_FORMAT = "trimtab-findings/1"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One remedy that was tried, whether it helped or not.

    Attributes
    ----------
    remedy
        Short name, such as ``"dropout 0.2"``.
    settings
        Fields of a plan that carry it out; empty when it is none of these.
    metric
        What was compared, on which rows, in words.
    gain
        Of the metric, paired; positive is better whichever way the metric goes.
    low, high
        Interval of the gain, corrected for the number of trials; ``None`` without one.
    p_value
        Of the hypothesis that nothing was gained, corrected likewise; ``None`` where there is no test.
    has_helped
        Whether the lower bound is above zero.
    seconds
        That it took.
    """

    remedy: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    metric: str
    gain: float
    low: float | None
    high: float | None
    p_value: float | None
    has_helped: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A coded diagnosis.

    Attributes
    ----------
    code
        One of `CODES`.
    state
        ``"found"``, ``"not found"``, ``"not applicable"`` to these data, or ``"not checked"``.
    summary
        One sentence: what was seen, with its figures; or why there is nothing to see.
    severity
        How much it matters; ``None`` unless found.
    evidence
        Figures by name, as JSON has them.
    value, low, high, method
        The figure that decides, its interval and how that was got; ``None`` where none decides.
    remedy
        What to do, in a sentence; empty unless found.
    trials
        Of remedies, in the order they were tried.

    Raises
    ------
    ValueError
        If code, state and severity do not belong together.
    """

    code: str
    state: State
    summary: str
    severity: Severity | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    remedy: str = ""
    trials: Sequence[Trial] = ()

    def __post_init__(self) -> None:
        """Refuse what does not belong together."""
        if self.code not in CODES:
            raise ValueError(f"code is '{self.code}'; expected one of {', '.join(CODES)}; use one of these.")
        if (self.severity is None) == (self.state == "found"):
            raise ValueError(
                f"{self.code} is {self.state} with severity {self.severity}; expected a severity exactly when found; "
                "give one or leave it out."
            )
        if any(number is not None and not math.isfinite(number) for number in (self.value, self.low, self.high)):
            raise ValueError(f"a figure of {self.code} is not finite; expected None where there is none; give that.")

    @property
    def page(self) -> str:
        """Where the documentation of this code is, from the root of the repository."""
        return f"docs/findings.md#{self.code.lower().replace('_', '-')}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "evidence": dict(self.evidence), "trials": [asdict(trial) for trial in self.trials]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Finding:
        """Return what `to_dict` gave."""
        return cls(**{**fields, "trials": tuple(Trial(**trial) for trial in fields["trials"])})


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Return found ones first, the most severe before the others, then by the order of `CODES`."""
    severities = ("critical", "warning", "note", None)
    states = ("found", "not found", "not applicable", "not checked")
    return sorted(
        findings, key=lambda one: (states.index(one.state), severities.index(one.severity), CODES.index(one.code))
    )


def save_findings(findings: Sequence[Finding], path: Path, *, data_hash: str | None = None) -> None:
    """Write findings as JSON, atomically, with the content hash of the data that they are about if that is given."""
    found = [finding.to_dict() for finding in findings]
    write_json(path, {"format": _FORMAT, "data": data_hash, "findings": found})


def load_findings(path: Path) -> list[Finding]:
    """Return what `save_findings` wrote.

    Raises
    ------
    ValueError
        If the file is of another format.
    """
    return [Finding.from_dict(fields) for fields in _read(path)["findings"]]


def data_of_findings(path: Path) -> str | None:
    """Return the content hash of the data that saved findings are about; ``None`` where they do not say.

    Raises
    ------
    ValueError
        If the file is of another format.
    """
    found: str | None = _read(path).get("data")
    return found


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    if content.get("format") != _FORMAT:
        raise ValueError(f"{path} is of format {content.get('format')}; expected {_FORMAT}; write it anew.")
    return content
