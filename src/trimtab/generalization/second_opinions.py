"""What networks like the run's say about rows that they did not see: the training rows in turn, and the validation.

Legend: ``R`` training rows, ``N`` validation rows, ``K`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.evaluation.temperature import deal_folds
from trimtab.generalization.evidence import best_epoch, log_softmax
from trimtab.generalization.suspects import Doubts, doubt, usual_confidence
from trimtab.generalization.trials import Bench
from trimtab.training.order import step_seed

PARTS = 5
"""Parts of the training rows, each left out of one training of a round."""

ROUNDS = 4
"""Times that the rows are divided anew: a vote of several networks doubts far fewer right labels than one does."""


def work_of(rounds: int) -> float:
    """Return the work of so many rounds of trainings, as a multiple of the baseline's."""
    return float(rounds * (PARTS - 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class SecondOpinions:
    """Doubts about labels.

    Attributes
    ----------
    training
        About all training rows, each by the networks that did not see it, together.
    validation
        About all validation rows, by all networks together; none saw them, but they chose among each one's weights.
    """

    training: Doubts
    validation: Doubts


def second_opinions(bench: Bench, rounds: int = ROUNDS) -> SecondOpinions | None:
    """Train on all but one part of the training rows in turn, and return what is doubted; ``None`` without the time.

    Parameters
    ----------
    bench
        Where networks like the run's are trained.
    rounds
        Networks that answer each row.

    Raises
    ------
    TrainingError
        If training diverges.
    """
    material = bench.material
    labels, own_labels = material.training.labels, material.validation.labels
    outside = np.zeros((len(labels), material.training.num_classes))
    of_validation = np.zeros((len(own_labels), material.training.num_classes))
    for number in range(rounds):
        parts = deal_folds(labels, None, count=PARTS, rng=np.random.default_rng((bench.seeds[0], 7, number)))
        for part in range(PARTS):
            left_out = np.flatnonzero(parts == part)
            seed = step_seed(bench.seeds[0], PARTS * number + part)
            recorded = bench.record({}, seed, np.flatnonzero(parts != part), left_out)
            if recorded is None:
                return None
            epoch = best_epoch(recorded.validation, own_labels)
            outside[left_out] += _probabilities(recorded.training[epoch]) / rounds
            of_validation += _probabilities(recorded.validation[epoch]) / (PARTS * rounds)
    usual = usual_confidence(labels, outside)
    return SecondOpinions(training=doubt(labels, outside, usual), validation=doubt(own_labels, of_validation, usual))


def _probabilities(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(np.exp(log_softmax(logits)))
