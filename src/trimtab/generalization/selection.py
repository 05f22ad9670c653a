"""Which models to average: greedy forward selection with replacement, on rows that none of them was trained on.

Each round adds the candidate that lowers the log loss of the average most; a candidate that is added twice counts
twice. Of the probabilities the log loss looks at the true class's alone, and so does this: a column for each candidate
instead of a table, with the same result. Logarithms are taken of products of several rows, which is most of the time.

Out-of-fold probabilities are what this is for: on rows that a model was trained on it looks better than it is.

Legend: ``M`` candidates, ``N`` rows, ``K`` classes.

References
----------
Caruana et al., Ensemble selection from libraries of models, ICML 2004, sections 2 and 2.1. With costs: Khuller, Moss
and Naor, The budgeted maximum coverage problem, Information Processing Letters 70(1), 1999: the better of two greedy
selections, by gain and by gain for its cost.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_FACTORS = 16  # rows in a product; of this many, the smallest possible one is still a normal number
_ROUNDING = 1e-12  # of a loss
_SMALLEST = float(np.finfo(np.float64).eps)  # probabilities end there, as in `trimtab.evaluation.log_loss`


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was selected.

    Attributes
    ----------
    members
        Numbers of the candidates in the order in which they were added; one may stand there several times.
    losses
        The log loss of the average after each of them.
    cost
        Of all different members together; 0 where nothing has a cost.
    """

    members: tuple[int, ...]
    losses: tuple[float, ...]
    cost: float = 0.0

    @property
    def loss(self) -> float:
        """The log loss of the average of all members."""
        return self.losses[-1]

    @property
    def weights(self) -> dict[int, float]:
        """The share of each candidate in the average, by its number; those without one are left out."""
        return {number: count / len(self.members) for number, count in sorted(Counter(self.members).items())}


def true_class_column(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> FloatArray:
    """Return the probability of each row's own class, float64 [N], from those of all classes [N, K]."""
    return np.asarray(probabilities[np.arange(len(labels)), labels], dtype=np.float64)


def select_members(
    columns: ArrayLike,
    *,
    num_classes: int,
    members: int = 5,
    costs: Sequence[float] | None = None,
    limit: float = math.inf,
) -> Selection:
    """Return the candidates whose average has the lowest log loss, found greedily.

    Rounds after the one with the lowest loss are undone. Of equal candidates the first is taken.

    Parameters
    ----------
    columns
        Probabilities of the true class, float [M, N], as of `true_class_column`.
    num_classes
        K; an ensemble without members is as good as guessing.
    members
        How many rounds.
    costs
        Of each candidate, whichever unit, [M]; one that is already a member costs nothing more.
    limit
        Of the costs of all different members together.

    Raises
    ------
    ValueError
        If the columns are no probabilities, there are no rounds, a cost is below 0, or no candidate is within the
        limit.
    """
    table = np.ascontiguousarray(columns, dtype=np.float64)
    _check(table, num_classes, members)
    if costs is None:
        return _greedy(table, members, np.zeros(len(table)), math.inf, math.log(num_classes), by_rate=False)
    prices = _checked_costs(costs, len(table), limit)
    found = [
        _greedy(table, members, prices, limit, math.log(num_classes), by_rate=by_rate) for by_rate in (False, True)
    ]
    return min((each for each in found if each.members), key=lambda each: (each.loss, each.cost))


def _greedy(
    table: FloatArray, rounds: int, costs: FloatArray, limit: float, empty_loss: float, *, by_rate: bool
) -> Selection:
    """Return one selection: each round by the loss alone, or by what its fall costs."""
    total, is_member = np.zeros(table.shape[1]), np.zeros(len(table), dtype=bool)
    members: list[int] = []
    losses = [empty_loss]
    while len(members) < rounds:
        added = np.where(is_member, 0.0, costs)
        fits = costs[is_member].sum() + added <= limit
        after = _losses(table, total, len(members) + 1)
        score = _rates(losses[-1] - after, added) if by_rate else -after
        score[~fits] = -math.inf
        best = int(score.argmax())
        if score[best] == -math.inf:
            break
        total += table[best]
        is_member[best] = True
        members.append(best)
        losses.append(float(after[best]))
    kept = best_round(losses[1:])
    different = sorted(set(members[:kept]))
    return Selection(
        members=tuple(members[:kept]), losses=tuple(losses[1 : kept + 1]), cost=float(costs[different].sum())
    )


def best_round(losses: Sequence[float]) -> int:
    """Return how many rounds to keep: up to the first with the lowest loss, but for rounding."""
    lowest = min(losses, default=0.0)
    return next((number for number, loss in enumerate(losses, 1) if loss <= lowest + _ROUNDING), 0)


def _losses(table: FloatArray, total: FloatArray, size: int) -> FloatArray:
    """Return the log loss of the average after each candidate's column was added to the sum of all: float64 [M]."""
    sums = np.empty_like(total)
    losses = np.empty(len(table))
    for number, column in enumerate(table):
        np.add(total, column, out=sums)
        np.maximum(sums, size * _SMALLEST, out=sums)
        losses[number] = math.log(size) - _sum_of_logarithms(sums) / len(sums)
    return losses


def _sum_of_logarithms(values: FloatArray) -> float:
    whole = len(values) - len(values) % _FACTORS
    products = np.multiply.reduce(values[:whole].reshape(_FACTORS, -1), axis=0)
    return float(np.log(products).sum() + np.log(values[whole:]).sum())


def _rates(gains: FloatArray, added: FloatArray) -> FloatArray:
    """Return gain for each unit of cost; minus infinity where there is no gain."""
    rates = gains / np.maximum(added, _SMALLEST)
    rates[gains <= _ROUNDING] = -math.inf
    return rates


def _check(table: FloatArray, num_classes: int, members: int) -> None:
    if table.ndim != 2 or 0 in table.shape or not (table.min() >= 0 and table.max() <= 1 + 1e-6):
        raise ValueError(
            f"the columns are {list(table.shape)}; expected probabilities of the true class, a row for each candidate "
            "and a column for each example; see true_class_column."
        )
    if num_classes < 2 or not 0 < members <= 1000:
        raise ValueError(
            f"there are {num_classes} classes and {members} rounds; expected 2 classes or more, and 1 to 1000 rounds."
        )


def _checked_costs(costs: Sequence[float], count: int, limit: float) -> FloatArray:
    prices = np.asarray(costs, dtype=np.float64)
    if prices.shape != (count,) or not (prices >= 0).all():
        raise ValueError(f"costs are {list(costs)}; expected one of 0 or more for each of {count} candidates.")
    if prices.min() > limit:
        raise ValueError(f"the cheapest candidate costs {prices.min():g}; expected at most {limit:g}; raise the limit.")
    return prices
