"""Batches made from rows, each a function of (seed, step) and the same for both engines.

Nothing has to be remembered to continue a run exactly, and a worker can make its part of a batch without the rest.

Shapes: N rows, B batch, H W C height, width, channels, F features, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.training.augmentation import policy_of
from trimtab.training.augmentation.flip import alternate, throw_coins
from trimtab.training.augmentation.mixing import draw_mixture
from trimtab.training.augmentation.pictures import augment_pictures
from trimtab.training.augmentation.tables import augment_rows
from trimtab.training.order import Order, step_seed, steps_per_epoch
from trimtab.training.recipe import Recipe
from trimtab.training.rows import Inputs, Rows, channel_statistics
from trimtab.training.soft_targets import soft_targets

__all__ = [
    "Batches",
    "Inputs",
    "Labels",
    "Order",
    "Rows",
    "channel_statistics",
    "first_batch",
    "step_seed",
    "steps_per_epoch",
]

Labels = NDArray[Any]  # int64 [B], or float32 [B, K] where rows are mixed or have a teacher

_WHOLE = slice(None)


class Batches:
    """The batch of each step of a run: shuffled, augmented, mixed, normalized.

    Raises
    ------
    ValueError
        If there is no augmentation of the recipe's name, it asks for CutMix of rows that are no pictures, or the
        rows' targets are not of their shape.
    """

    def __init__(self, rows: Rows, recipe: Recipe) -> None:
        if recipe.cutmix and not rows.are_pictures:
            raise ValueError(f"cutmix is {recipe.cutmix:g} for rows that are no pictures; expected 0; use mixup.")
        self._rows, self._recipe, self._policy = rows, recipe, policy_of(recipe.augment)
        self._targets = soft_targets(rows, weight=recipe.distill_weight, temperature=recipe.distill_temperature)
        self._order = Order(len(rows), recipe.batch_size, recipe.seed)
        flips = recipe.flip and self._policy.flips
        self._coins = throw_coins(len(rows), recipe.seed) if flips else None
        self._mixup = recipe.mixup or (0.0 if rows.are_pictures else self._policy.table_mixup)

    def at(self, step: int, part: slice = _WHOLE) -> tuple[NDArray[np.float32], Labels]:
        """Return what the network sees in that step, as of `Rows.normalize`, and the labels.

        Labels are int64 [B], or float32 [B, K] where rows are mixed or have a teacher. ``part`` picks rows of the
        batch, which are those of the whole batch bit for bit; the pixels of the others are not touched.
        """
        inputs, labels = self.stored(step, part)
        return self._rows.normalize(inputs), labels

    def stored(self, step: int, part: slice = _WHOLE) -> tuple[Inputs, Labels]:
        """Return the same before normalization: uint8 [B, H, W, C] or float32 [B, F], and the labels."""
        # The 1 sets these random numbers apart from the dropout of the step, which has its seed alone.
        random = np.random.default_rng((step_seed(self._recipe.seed, step), 1))
        count = len(self._order.at(step))
        members = np.arange(count)[part]
        if not self._mixup and not self._recipe.cutmix:
            return self._augmented(step, members, random), self._labels(step, members)
        mixture = draw_mixture(self._mixup, self._recipe.cutmix, count, self._rows.inputs.shape, random).take(members)
        followers = (members + 1) % count
        needed, places = np.unique(np.concatenate([members, followers]), return_inverse=True)
        own, other = np.split(self._augmented(step, needed, random)[places], 2)
        labels = self._labels(step, members), self._labels(step, followers)
        return mixture.mix(own, other), mixture.mix_labels(*labels, self._rows.num_classes)

    def _augmented(self, step: int, members: NDArray[np.int64], random: np.random.Generator) -> Inputs:
        places = self._order.at(step)
        numbers = self._rows.numbers[places]
        if not self._rows.are_pictures:
            return augment_rows(self._rows.inputs, numbers, members, deviation=self._policy.noise, random=random)
        return augment_pictures(
            self._rows.inputs,
            numbers,
            members,
            policy=self._policy,
            is_mirrored=self._mirrored(places, step),
            fill=self._rows.mean_color,
            random=random,
        )

    def _mirrored(self, places: NDArray[np.int64], step: int) -> NDArray[np.bool_]:
        if self._coins is None:
            return np.zeros(len(places), np.bool_)
        return alternate(self._coins, places, self._order.pass_of(step))

    def _labels(self, step: int, members: NDArray[np.int64]) -> Labels:
        places = self._order.at(step)[members]
        return self._rows.labels[places] if self._targets is None else self._targets[places]


def first_batch(rows: Rows, recipe: Recipe) -> NDArray[np.uint8]:
    """Return the pictures of step 0 as the network sees them before normalization: uint8 [B, H, W, C]."""
    return Batches(rows, recipe).stored(0)[0]
