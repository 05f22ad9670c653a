"""How many small networks to train together in one step: a cost model, and what can be trained so at all.

A step of a small network is mostly overhead: every operation is called, checked and recorded, whatever little it
computes. Networks of one shape can share that (`trimtab.training.torch_stacked`), until their parameters together do
not fit into the processor's caches. The constants are those that fit `benchmarks/crossval.py` up to width 512, by one
thread; only their ratios matter, and these hold over machines better than the seconds do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.models import measure_size
from trimtab.training.augmentation import policy_of
from trimtab.training.recipe import Recipe
from trimtab.training.rows import Rows

_STEP_SECONDS, _STACKED_STEP_SECONDS = 1.30e-3, 1.35e-3  # of a step that computes nothing
_MACS, _STACKED_MACS = 31e9, 45e9  # per second, forward and backward
_UPDATE_SECONDS, _STACKED_UPDATE_SECONDS = 2.1e-9, 1.3e-9  # per parameter
_NETWORK_SECONDS = 1.0e-5  # of each network of a stack: the choice of its rows
_STATE_BYTES, _CACHE_BYTES = 16, 64e6  # of a parameter with gradient and averages; beyond, memory is the limit
_PAYS = 0.8  # of the time that one after the other takes
_MOST = 16
_ALIKE = 0.05  # by which the numbers of training rows may differ: all members do the same number of steps


@dataclass(frozen=True, kw_only=True)
class StepCosts:
    """Forecast seconds of one step of each of several networks: one after the other, and together."""

    in_turn: float
    together: float

    @property
    def pays(self) -> bool:
        """Whether training together is clearly faster."""
        return self.together < _PAYS * self.in_turn


def step_costs(kwargs: Mapping[str, Any], *, batch: int, count: int) -> StepCosts:
    """Return what a step of ``count`` multi-layer perceptrons on ``batch`` rows each should cost.

    Parameters
    ----------
    kwargs
        Of `trimtab.models.mlp`.
    batch, count
        At least 1.
    """
    size = measure_size("mlp", kwargs, (kwargs["in_features"],))
    work = 3 * batch * size.macs  # forward, and twice that backward
    alone = _STEP_SECONDS + work / _MACS + size.parameters * _UPDATE_SECONDS
    shared = work / _STACKED_MACS + size.parameters * _STACKED_UPDATE_SECONDS + _NETWORK_SECONDS
    in_turn, together = count * alone, _STACKED_STEP_SECONDS + count * shared
    if count * size.parameters * _STATE_BYTES > _CACHE_BYTES:
        together = max(together, in_turn)
    return StepCosts(in_turn=in_turn, together=together)


def how_many_together(
    builder: str, kwargs: Mapping[str, Any], recipe: Recipe, counts: Sequence[int], *, rows: Rows
) -> int:
    """Return how many of the first networks to train in one step; 1 where together is impossible or does not pay.

    Parameters
    ----------
    builder, kwargs
        The network; others may have some more or fewer input features.
    recipe
        For all of them.
    counts
        Training rows of each, in order.
    rows
        Training rows of the first.
    """
    if not _is_stackable(builder, recipe, rows):
        return 1
    alike = [abs(count - counts[0]) <= _ALIKE * counts[0] and count >= recipe.batch_size for count in counts[:_MOST]]
    count = alike.index(False) if False in alike else len(alike)
    return count if count > 1 and step_costs(kwargs, batch=recipe.batch_size, count=count).pays else 1


def _is_stackable(builder: str, recipe: Recipe, rows: Rows) -> bool:
    """Return whether the steps are of the kind that networks are trained together in: plain AdamW on plain rows."""
    policy = policy_of(recipe.augment)
    is_plain = not (recipe.mixup or recipe.cutmix or policy.noise or policy.table_mixup)
    is_plain = is_plain and not rows.are_pictures and rows.targets is None  # labels alone say what is right
    is_adamw = recipe.optimizer == "adamw" and not (recipe.l1 or recipe.l2 or recipe.ema)
    is_one = recipe.accumulate == 1 and not recipe.shards and recipe.precision == "float32"
    return (builder, recipe.engine) == ("mlp", "torch") and is_plain and is_adamw and is_one
