from __future__ import annotations

import numpy as np
import pytest

from trimtab.deployment import parity
from trimtab.errors import ExportError

NATIVE = np.array([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]], dtype=np.float32)
LABELS = np.array([0, 1, 1])


def test_equal_probabilities_have_no_difference() -> None:
    assert parity(NATIVE, NATIVE.copy(), LABELS).to_dict() == {
        "rows": 3,
        "largest_difference": 0.0,
        "label_flips": 0,
        "accuracy_native": 2 / 3,
        "accuracy_exported": 2 / 3,
        "accuracy_difference": 0.0,
        "tolerance": 1e-4,
    }


def test_differences_within_tolerance_are_counted() -> None:
    exported = NATIVE + np.array([[0, 0], [-5e-5, 5e-5], [0, 0]], dtype=np.float32)
    report = parity(NATIVE, exported, LABELS)
    assert report.label_flips == 1
    assert report.largest_difference == pytest.approx(5e-5, rel=0.01)
    assert report.accuracy_difference == pytest.approx(1 / 3)


def test_difference_above_tolerance_fails_the_export() -> None:
    with pytest.raises(ExportError) as caught:
        parity(NATIVE, NATIVE[:, ::-1], LABELS)
    assert str(caught.value) == (
        "the probabilities of the exported and the trained model differ by up to 0.8 (2 of 3 labels change); expected "
        "at most 0.0001; look for a layer that is exported wrongly, or for weights so large that float32 overflows."
    )


def test_probability_that_is_not_finite_fails_the_export() -> None:
    exported = NATIVE.copy()
    exported[1] = np.nan
    with pytest.raises(ExportError) as caught:
        parity(NATIVE, exported, LABELS)
    assert str(caught.value) == (
        "the probabilities of the exported and the trained model in 1 of 3 rows are not finite; expected finite "
        "probabilities from both models; look for a layer that is exported wrongly, or for weights so large that "
        "float32 overflows."
    )


@pytest.mark.parametrize(
    ("native", "exported", "labels"),
    [(NATIVE, NATIVE[:2], LABELS), (NATIVE, NATIVE, LABELS[:2]), (NATIVE[:0], NATIVE[:0], LABELS[:0])],
)
def test_shapes_that_do_not_belong_together_are_refused(
    native: np.ndarray, exported: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="expected \\[N, K\\] twice and \\[N\\], N > 0"):
        parity(native, exported, labels)
