"""Whether the exported model gives the trained model's answers. It compares numbers; it runs no model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import ExportError

TOLERANCE = 1e-4
"""Float32 sums in another order differ by some 1e-6; a wrong layer by far more."""


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """The same rows through both models.

    Attributes
    ----------
    rows
        Examples compared.
    largest_difference
        Between two probabilities of the same class and row.
    label_flips
        Rows whose most probable class differs.
    accuracy_native, accuracy_exported
        Shares of rows with the right most probable class.
    tolerance
        What ``largest_difference`` was allowed to be.
    """

    rows: int
    largest_difference: float
    label_flips: int
    accuracy_native: float
    accuracy_exported: float
    tolerance: float

    @property
    def accuracy_difference(self) -> float:
        """Exported minus native."""
        return self.accuracy_exported - self.accuracy_native

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, the accuracy difference among them."""
        return {**asdict(self), "accuracy_difference": self.accuracy_difference}


def parity(
    native: NDArray[Any], exported: NDArray[Any], labels: NDArray[np.int64], *, tolerance: float = TOLERANCE
) -> ParityReport:
    """Compare probabilities [N, K] of the trained and of the exported model on rows with these labels [N].

    Raises
    ------
    ValueError
        If the shapes do not belong together or there is no row.
    ExportError
        If a probability is not finite or differs by more than ``tolerance``.
    """
    if native.ndim != 2 or native.shape != exported.shape or len(native) != len(labels) or not len(native):
        raise ValueError(
            f"shapes are {native.shape}, {exported.shape} and {labels.shape}; expected [N, K] twice and [N], N > 0."
        )
    differences = np.abs(native.astype(np.float64) - exported)
    if not np.isfinite(differences).all():
        raise _differs(f"in {np.sum(~np.isfinite(differences).all(axis=1))} of {len(labels)} rows are not finite")
    chosen_native, chosen_exported = native.argmax(axis=1), exported.argmax(axis=1)
    report = ParityReport(
        rows=len(labels),
        largest_difference=float(differences.max()),
        label_flips=int(np.sum(chosen_native != chosen_exported)),
        accuracy_native=float(np.mean(chosen_native == labels)),
        accuracy_exported=float(np.mean(chosen_exported == labels)),
        tolerance=tolerance,
    )
    if report.largest_difference > tolerance:
        raise _differs(
            f"differ by up to {report.largest_difference:.2g} ({report.label_flips} of {report.rows} labels change)",
            f"at most {tolerance:.2g}",
        )
    return report


def _differs(what: str, expected: str = "finite probabilities from both models") -> ExportError:
    return ExportError(
        f"the probabilities of the exported and the trained model {what}",
        expected,
        "look for a layer that is exported wrongly, or for weights so large that float32 overflows",
    )
