"""One worker's share of every step and of every evaluation. All workers call the same methods at the same time.

Shapes: N rows, K classes, S logical shards, L the length of a shard's outcome.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from trimtab.training.distributed.averaging import choose_averaging
from trimtab.training.distributed.batch_norm import synchronize_batch_norms
from trimtab.training.distributed.team import talking
from trimtab.training.mode import Mode
from trimtab.training.order import step_seed
from trimtab.training.recipe import Recipe
from trimtab.training.rows import Rows
from trimtab.training.stepper import Arrays, Stepper, accumulated_step, batch_parts
from trimtab.training.torch_shards import own_parts, sharded_step
from trimtab.training.torch_steps import TorchStepper, make_stepper

if TYPE_CHECKING:
    from trimtab.training.distributed.fully_sharded import Sharded


@final
class Share:
    """What one worker does of a `trimtab.training.stepper.Stepper`; methods of the same names do the same together.

    Parameters
    ----------
    builder, kwargs, rows, recipe
        As in `trimtab.training.stepper.make_stepper`, the same on every worker.
    is_sharded
        Whether each worker keeps only its part of the weights (FSDP2), as it must where they do not fit.

    Raises
    ------
    ValueError
        If there are more workers than rows in a part of a batch, or than shards.

    Notes
    -----
    Without dropout and stochastic depth, whose random numbers are each worker's own, the steps are those of one
    process up to rounding; with ``recipe.shards`` they are the same bit for bit, dropout included.
    """

    def __init__(
        self, builder: str, kwargs: Mapping[str, Any], rows: Rows, recipe: Recipe, *, is_sharded: bool = False
    ) -> None:
        self._rank, self._workers = distributed.get_rank(), distributed.get_world_size()
        self._source = builder, kwargs, rows, recipe
        self._batch_size = min(recipe.batch_size, len(rows))
        check_enough(recipe, self._batch_size, self._workers)
        self.recipe = recipe
        self.inner = make_stepper(builder, kwargs, rows, recipe)
        with talking():
            for tensor in self.inner.model.state_dict().values():
                first = tensor.contiguous()
                distributed.broadcast(first, 0)
                tensor.copy_(first)
        if not recipe.shards:
            synchronize_batch_norms(self.inner.model)
        self._sharded = _shard(self.inner) if is_sharded else None
        self._averaging = self._sharded or choose_averaging(self.inner.model, recipe)
        self._loss = 0.0

    @property
    def is_sharded(self) -> bool:
        """Whether this worker keeps only its part of the weights."""
        return self._sharded is not None

    def use(self, mode: Mode) -> None:
        """Compute in this mode from now on, not compiled."""
        mode = replace(mode, is_compiled=False)
        if self._sharded:
            self._sharded.use(mode)
            return
        self.inner.use(mode)
        self._averaging = choose_averaging(self.inner.model, self.recipe)  # buckets lie in memory as weights do

    def copy(self, mode: Mode) -> Share:
        """Return a twin in another mode, for trials."""
        if self._sharded:
            twin = Share(*self._source, is_sharded=True)
            twin.use(mode)
            twin.load_weights(self.weights())
            return twin
        twin = copy.copy(self)
        twin.inner = self.inner.copy(mode)
        twin._averaging = choose_averaging(twin.inner.model, self.recipe)
        return twin

    # ---- steps ----

    def step(self, step: int, rate: float) -> float:
        """Do this worker's part of a step, and the update that all do alike; return the loss of the whole batch."""
        with talking():
            if not self.recipe.shards:
                accumulated_step(cast(Stepper, self), self._batch_size, step, rate)
                return self._loss
            return sharded_step(
                self.inner,
                self._batch_size,
                step,
                rate,
                rank=self._rank,
                workers=self._workers,
                exchange=self._gather_shards,
            )

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.inner.zero_grad()
        self._loss = 0.0

    def add_gradients(self, step: int, part: slice | None = None, *, seed: int) -> float:
        """Add the gradients of this worker's rows of a part of a step's batch; return their share of the loss."""
        part = part or slice(0, self._batch_size)
        own = batch_parts(part.stop - part.start, self._workers)[self._rank]
        front = copy.copy(self.inner)
        front.model = self._averaging.front
        rows = slice(part.start + own.start, part.start + own.stop)
        loss = front.add_gradients(step, rows, seed=step_seed(seed, self._rank))
        self._loss += loss
        return loss

    def update(self, rate: float) -> None:
        """Sum the gradients of all workers and move the weights along them; sum the loss meanwhile."""
        total = torch.tensor([self._loss], dtype=torch.float64)
        work = distributed.all_reduce(total, async_op=True)
        self._averaging.finish()
        self.inner.update(rate)
        work.wait()
        self._loss = float(total)

    def _gather_shards(self, outcomes: Tensor) -> Tensor:
        """Return the outcomes of all shards, in order: float32 [S, L]."""
        shards = len(batch_parts(self._batch_size, self.recipe.shards))
        counts = [len(own_parts(shards, rank, self._workers)) for rank in range(self._workers)]
        padding = outcomes.new_zeros(max(counts) - len(outcomes), outcomes.shape[1])
        padded = torch.cat([outcomes, padding])
        found = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(found, padded)
        return torch.cat([part[:count] for part, count in zip(found, counts, strict=True)])

    # ---- evaluation ----

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the network's output for all rows, each computed once: float32 [N, K]; only rank 0 gets them.

        Whole passes of one process are shared out where the last bit matters, rows otherwise.
        """
        edges = [self._edge(rows, rank) for rank in range(self._workers + 1)]
        own = _passes(edges[self._rank], edges[self._rank + 1], rows.rows_at_once)
        if self.is_sharded:  # the layers are gathered for every pass: all must do as many
            most = max(len(_passes(start, stop, rows.rows_at_once)) for start, stop in pairwise(edges))
            own += [slice(0, 0)] * (most - len(own))
        with talking():
            found = [self._logits_of(rows, part) for part in own]
            complete = np.concatenate([np.empty((0, rows.num_classes), np.float32), *found])
            return self._gather_rows(complete, [stop - start for start, stop in pairwise(edges)])

    def _edge(self, rows: Rows, rank: int) -> int:
        """Return the first row of a worker."""
        if self.recipe.shards:
            passes = len(range(0, len(rows), rows.rows_at_once))
            return min(len(rows), passes * rank // self._workers * rows.rows_at_once)
        return len(rows) * rank // self._workers

    def _logits_of(self, rows: Rows, part: slice) -> NDArray[np.float32]:
        """Return the output for some rows; for none, take part in a pass of the others and return nothing."""
        if part.start < part.stop:
            return self.inner.logits(replace(rows, numbers=rows.numbers[part], labels=rows.labels[part]))
        return self.inner.logits(rows.first(1))[:0]

    def _gather_rows(self, own: NDArray[np.float32], sizes: list[int]) -> NDArray[np.float32]:
        if self._rank > 0:
            if len(own):
                distributed.send(torch.from_numpy(own), 0)
            return own
        found = [own]
        for rank, size in enumerate(sizes[1:], 1):
            part = torch.empty(size, own.shape[1])
            if size:
                distributed.recv(part, rank)
            found.append(part.numpy())
        return np.concatenate(found)

    # ---- weights and the optimizer's state, whole ----

    def weights(self) -> Arrays:
        """Return copies of parameters and running statistics."""
        with talking():
            return (self._sharded or self.inner).weights()

    def load_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `weights` returned."""
        (self._sharded or self.inner).load_weights(arrays)

    def optimizer_arrays(self) -> Arrays:
        """Return copies of what the optimizers remember."""
        with talking():
            return (self._sharded or self.inner).optimizer_arrays()

    def load_optimizer(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `optimizer_arrays` returned."""
        (self._sharded or self.inner).load_optimizer(arrays)


def _shard(inner: TorchStepper) -> Sharded:
    from trimtab.training.distributed.fully_sharded import Sharded  # takes half a second, which most never need

    return Sharded(inner)


def check_enough(recipe: Recipe, batch: int, workers: int) -> None:
    """Refuse workers that would have nothing to do.

    Raises
    ------
    ValueError
        If there are more than shards, or than rows in a part of a batch.
    """
    if recipe.shards:
        most, what = len(batch_parts(batch, recipe.shards)), "shards of a deterministic batch"
    else:
        most, what = batch // min(recipe.accumulate, batch), "rows in a part of a batch"
    if workers > most:
        raise ValueError(f"there are {workers} workers and {most} {what}; expected at most as many; start fewer.")


def _passes(start: int, stop: int, at_once: int) -> list[slice]:
    """Return the rows of each pass through the network."""
    return [slice(first, min(first + at_once, stop)) for first in range(start, stop, at_once)]
