"""What a row with a teacher is trained towards: a mixture of its label and the teacher's probabilities.

The loss is the cross-entropy with that mixture, which both engines have anyway: mixed rows need it. The teacher's
probabilities are those of the rows as they are; augmented copies of a row share them.

Shapes: N rows, K classes.

References
----------
Hinton, Vinyals, Dean, Distilling the knowledge in a neural network, 2015 (arXiv 1503.02531), section 2. There the
temperature also divides the student's logits; here it only evens out the teacher's probabilities, so that the
student's are probabilities at temperature 1, as of every other run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.training.rows import Rows

_SMALLEST = float(np.finfo(np.float32).tiny)


def soft_targets(rows: Rows, *, weight: float, temperature: float) -> NDArray[np.float32] | None:
    """Return (1 - weight) * label + weight * teacher for each row, or ``None`` where no row has a teacher.

    Parameters
    ----------
    rows
        Their ``targets`` are the teacher's probabilities.
    weight
        Share of the teacher, in [0, 1]; at 0 the labels are all, and nothing is returned.
    temperature
        The teacher's probabilities are raised to its inverse and brought back to a sum of 1.

    Returns
    -------
    NDArray or None
        float32 [N, K], rows adding up to 1.

    Raises
    ------
    ValueError
        If the targets are not of the rows' shape, the weight is not a share or the temperature not above 0.
    """
    if rows.targets is None or weight == 0:
        return None
    _check(rows, rows.targets, weight, temperature)
    mixed = softened(rows.targets, temperature)
    mixed *= np.float32(weight)
    mixed[np.arange(len(rows)), rows.labels] += np.float32(1 - weight)
    return mixed


def softened(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return a copy of probabilities [N, K] at another temperature: float32 [N, K], rows adding up to 1."""
    powers = np.array(probabilities, np.float32)
    if temperature != 1:
        np.log(np.maximum(powers, _SMALLEST), out=powers)
        powers -= powers.max(axis=1, keepdims=True)
        powers /= np.float32(temperature)
        np.exp(powers, out=powers)
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def _check(rows: Rows, targets: NDArray[np.float32], weight: float, temperature: float) -> None:
    if targets.shape != (len(rows), rows.num_classes):
        raise ValueError(
            f"targets are {list(targets.shape)} for {len(rows)} rows and {rows.num_classes} classes; "
            "expected a row of probabilities for each; give the teacher's for these rows."
        )
    if not (0 <= weight <= 1 and temperature > 0):
        raise ValueError(
            f"distill_weight is {weight:g} and distill_temperature {temperature:g}; expected a share and a number "
            "above 0; change them."
        )
