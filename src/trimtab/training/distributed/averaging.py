"""How the gradients of all workers become one sum: in one piece after backward, or in buckets while it goes on.

Each worker weights its loss by its share of the batch's rows, so that what is needed is the sum, also where the parts
differ in size. `trimtab.training.distributed.fully_sharded` is the third way.
"""

from __future__ import annotations

import warnings
from typing import Protocol, final

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from trimtab.training.recipe import Recipe
from trimtab.training.torch_shards import flat_gradients, set_gradients, trained_parameters

_ONE_PIECE_BYTES = 2**20  # torch's first bucket: a network that fits into it has nothing to overlap with


class Averaging(Protocol):
    """One way to sum gradients over the workers."""

    @property
    def front(self) -> torch.nn.Module:
        """The network to compute with."""

    def finish(self) -> None:
        """Make the gradients of the parameters, in place, the sum of those of all workers."""


def choose_averaging(model: torch.nn.Module, recipe: Recipe) -> Averaging:
    """Return the faster way for a network that each worker holds whole.

    Where a batch is computed in parts, only their sum is worth sending: in one piece after the last.
    """
    size = sum(entry.numel() * entry.element_size() for entry in trained_parameters(model))
    is_small = size <= _ONE_PIECE_BYTES or recipe.accumulate > 1 or recipe.shards
    return OnePiece(model) if is_small else Buckets(model)


@final
class OnePiece:
    """All gradients in one all_reduce after backward: the least there is to wait for."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model, self._parameters = model, trained_parameters(model)

    @property
    def front(self) -> torch.nn.Module:
        """The network itself."""
        return self._model

    def finish(self) -> None:
        """Sum the gradients."""
        vector = flat_gradients(self._parameters)
        distributed.all_reduce(vector)
        set_gradients(self._parameters, vector)


@final
class Buckets:
    """torch's DistributedDataParallel: buckets of gradients are on their way while backward goes on."""

    def __init__(self, model: torch.nn.Module) -> None:
        with warnings.catch_warnings():
            # Newer versions have another name for it, which older ones do not know.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            self._wrapped = DistributedDataParallel(
                model, broadcast_buffers=False, gradient_as_bucket_view=True, init_sync=False
            )
        # Sum, where DistributedDataParallel by itself would take the mean.
        self._wrapped.register_comm_hook(None, lambda _, bucket: _sum(bucket.buffer()))

    @property
    def front(self) -> torch.nn.Module:
        """The wrapped network."""
        return self._wrapped

    def finish(self) -> None:
        """Do nothing: backward waited for the sums."""


def _sum(bucket: Tensor) -> torch.futures.Future[Tensor]:
    work = distributed.all_reduce(bucket, async_op=True)
    found: torch.futures.Future[Tensor] = work.get_future().then(lambda future: future.value()[0])
    return found
