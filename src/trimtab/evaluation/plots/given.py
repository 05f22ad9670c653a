"""What the plots of probabilities take from an evaluation, which may have been made without any."""

from __future__ import annotations

from trimtab.evaluation.calibration import Reliability
from trimtab.evaluation.result import Evaluation
from trimtab.evaluation.statistics import Statistics


def statistics_of(evaluation: Evaluation) -> Statistics:
    """Return the statistics of an evaluation of probabilities; ValueError when it holds none."""
    if evaluation.statistics is None or evaluation.statistics.scores is None:
        raise ValueError(
            "the evaluation holds no probabilities; expected one that `evaluate` made from them; "
            "give it probabilities, and draw before it is written to a file."
        )
    return evaluation.statistics


def reliability_in(evaluation: Evaluation) -> Reliability:
    """Return confidences and whether they were right; ValueError when there are none."""
    scores = statistics_of(evaluation).scores
    assert scores is not None  # noqa: S101 - looked at above
    return scores.reliability
