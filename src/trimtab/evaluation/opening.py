"""How sure figures of test rows can be that were looked at before.

Whoever looks at the same rows for many models and keeps the best one keeps luck along with quality. The intervals of
the k-th look are made so much wider that those of all looks together, however many there will be, still hold the true
values at the level that was asked for.
"""

from __future__ import annotations


def level_of_look(number: int, *, level: float = 0.95) -> float:
    """Return the level of the intervals at the k-th look at the same test rows: 1 - (1 - level) / (k (k + 1)).

    The shares of error that are spent, 1/2, 1/6, 1/12, ... of 1 - ``level``, add up to no more than 1 - ``level``. So
    at 95% the first look has intervals of 97.5%, the second of 99.17%. That holds for each figure by itself, over all
    looks: also of the model that was picked because it looked best. It holds for models that were made without what
    earlier looks showed. Settings that follow the figures of earlier looks fit the next model to these rows a little,
    and no count of looks makes up for that; nor for rows that were seen by other means, or that a model was trained on.

    Parameters
    ----------
    number
        k, from 1.
    level
        Of all looks together, in (0, 1).

    Raises
    ------
    ValueError
        If ``number`` is below 1 or ``level`` not in (0, 1).
    """
    if number < 1 or not 0 < level < 1:
        raise ValueError(f"the look is number {number} at level {level}; expected 1 or more, and between 0 and 1.")
    return 1 - (1 - level) / (number * (number + 1))
