"""What a case of a suite came to: passed, failed, or out of scope for one of the reasons in one table."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a case is out of scope. A reason speaks of what the layers offer, never of a result that came out wrong."""

    OTHER_OPERATORS = "operators that are not a layer, loss or optimizer of trimtab.numpy_nn"
    THREE_DIMENSIONS = "three spatial dimensions; the layers have two"
    INTEGERS = "integer or text values; the layers compute in float32 and float64"
    SEQUENCE = "a sequence or an optional value instead of an array"
    RANDOM = "random values from another library's generator"
    DILATED_AVERAGE = "dilated average pooling is not offered"
    WIDE_PADDING = "average over padding wider than half a window is not offered"
    VARYING_BIAS = "a bias that differs from row to row of the batch"
    TWO_BATCHES = "a product of two batches of matrices; a layer has one weight"
    NEGATIVE_INDEX = "indices that count from the end"
    SLOPES = "more than one slope; LeakyReLU has one"
    CUBIC = "cubic interpolation is not offered"
    ANTIALIAS = "interpolation with antialiasing is not offered"
    CROP = "cropping while resizing is not offered"
    SYMMETRIC = "half_pixel_symmetric coordinates are not offered"
    ONE_PIXEL = "ONNX maps a single output pixel to the first input pixel, PyTorch to the center"
    WHOLE_LENGTH = "ONNX divides by the exact output length, PyTorch by the whole number of output pixels"
    NEAREST_RULE = "ONNX's rule picks other nearest pixels than PyTorch's for this size"
    ELEMENT_WEIGHT = "a weight for each element of this loss is not offered"
    BATCH_NORM_BIAS = "batch normalization with a scale but no shift is not offered"
    NO_CHANNELS = "one-dimensional input without a channel axis"
    AMSGRAD = "amsgrad is not offered"
    MAXIMIZE = "maximize is not offered"


class OutOfScope(Exception):
    """Raised by an adapter that sees, before anything is computed, that the layers do not offer what a case asks."""

    def __init__(self, reason: Reason):
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True)
class Outcome:
    """One case: out of scope when there is a reason, failed when there is a failure, else passed."""

    suite: str
    operator: str
    case: str
    reason: Reason | None = None
    failure: str = ""
    uncompared: tuple[str, ...] = ()  # outputs of the suite that the layer does not return

    @property
    def passed(self) -> bool:
        return self.reason is None and not self.failure


def judge(suite: str, operator: str, case: str, run: Callable[[], tuple[str, ...]]) -> Outcome:
    """Outcome of ``run``, which raises when the case fails and returns the names of what it could not compare."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return Outcome(suite, operator, case, uncompared=run())
    except OutOfScope as out:
        return Outcome(suite, operator, case, reason=out.reason)
    except Exception:
        return Outcome(suite, operator, case, failure=traceback.format_exc(limit=-3))


def failures(outcomes: list[Outcome]) -> str:
    """Every failure of these outcomes, as the text of one assertion."""
    failed = [outcome for outcome in outcomes if outcome.failure]
    heads = [f"{len(failed)} of {len(outcomes)} failed: {[outcome.case for outcome in failed]}"] if failed else []
    return "\n\n".join(heads + [f"{outcome.case}\n{outcome.failure}" for outcome in failed[:10]])
