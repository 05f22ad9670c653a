"""Steps whose result does not depend on how many workers share them, bit for bit.

The batch is cut into ``recipe.shards`` shards. The gradient of each is computed apart, with random numbers and batch
normalization of its own, and all are summed in the order of the shards; which worker computed which makes no
difference. What this needs besides is one thread for each worker and one kind of processor.

Legend: S shards, L the length of one shard's outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trimtab.training.stepper import batch_parts, part_seed

if TYPE_CHECKING:
    from trimtab.training.torch_steps import TorchStepper

Exchange = Callable[[Tensor], Tensor]


def own_parts(parts: int, rank: int, workers: int) -> range:
    """Return which of so many parts are the business of one worker: neighbors, as evenly as it goes."""
    return range(parts * rank // workers, parts * (rank + 1) // workers)


def sharded_step(
    stepper: TorchStepper,
    batch: int,
    step: int,
    rate: float,
    *,
    rank: int = 0,
    workers: int = 1,
    exchange: Exchange = lambda outcomes: outcomes,
) -> float:
    """Do one step on ``batch`` rows in place; return the loss, the mean over them.

    Parameters
    ----------
    stepper, batch, step, rate
        As in `trimtab.training.stepper.accumulated_step`; ``recipe.shards`` must be above 0.
    rank, workers
        Which worker of how many this is.
    exchange
        From the outcomes of this worker's shards, float32 [its shards, L], to those of all, [S, L], in order.
    """
    recipe = stepper.recipe
    parts = batch_parts(batch, recipe.shards)
    before, counters = _statistics(stepper.model), _counters(stepper.model)
    after = counters
    outcomes = []
    for index in own_parts(len(parts), rank, workers):
        _set_flat(_float_buffers(stepper.model), before)
        _set_counters(stepper.model, counters)
        outcomes.append(_outcome(stepper, step, parts[index], index * recipe.accumulate, len(parts)))
        after = _counters(stepper.model)  # every shard counts the same
    total = _ordered_sum(exchange(torch.stack(outcomes)))
    size = set_gradients(trained_parameters(stepper.model), total)
    _set_flat(_float_buffers(stepper.model), total[size:-1] / len(parts))
    _set_counters(stepper.model, after)
    stepper.update(rate)
    return float(total[-1])


def _outcome(stepper: TorchStepper, step: int, part: slice, number: int, shards: int) -> Tensor:
    """Return gradients, running statistics and share of the loss of one shard: float32 [L]."""
    recipe = stepper.recipe
    count = shards * recipe.accumulate
    stepper.zero_grad()
    loss = 0.0
    for offset, inner in enumerate(batch_parts(part.stop - part.start, recipe.accumulate)):
        rows = slice(part.start + inner.start, part.start + inner.stop)
        loss += stepper.add_gradients(step, rows, seed=part_seed(recipe.seed, step, number + offset, count))
    gradients = flat_gradients(trained_parameters(stepper.model))
    return torch.cat([gradients, _statistics(stepper.model), torch.tensor([loss])])


def _ordered_sum(outcomes: Tensor) -> Tensor:
    total = outcomes[0].clone()
    for outcome in outcomes[1:]:
        total += outcome
    return total


# ---- gradients and statistics as one vector ----


def trained_parameters(model: torch.nn.Module) -> list[Tensor]:
    """Return the parameters that get a gradient, in the network's order."""
    return [entry for entry in model.parameters() if entry.requires_grad]


def flat_gradients(parameters: Iterable[Tensor]) -> Tensor:
    """Return all gradients in one vector, zeros where there is none: float32 [sum of their sizes]."""
    gradients = (torch.zeros_like(entry) if entry.grad is None else entry.grad for entry in parameters)
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


def set_gradients(parameters: Sequence[Tensor], vector: Tensor) -> int:
    """Set all gradients from the start of a vector, in the memory format of the parameters; return how much it took."""
    for entry in parameters:
        entry.grad = torch.empty_like(entry)
    return _set_flat([entry.grad for entry in parameters if entry.grad is not None], vector)


def _set_flat(tensors: Sequence[Tensor], vector: Tensor) -> int:
    start = 0
    for tensor in tensors:
        tensor.copy_(vector[start : start + tensor.numel()].view(tensor.shape))
        start += tensor.numel()
    return start


def _float_buffers(model: torch.nn.Module) -> list[Tensor]:
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def _statistics(model: torch.nn.Module) -> Tensor:
    return torch.cat([torch.empty(0), *(buffer.reshape(-1) for buffer in _float_buffers(model))])


def _counters(model: torch.nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in model.buffers() if not buffer.is_floating_point()]


def _set_counters(model: torch.nn.Module, values: Sequence[Tensor]) -> None:
    counters = (buffer for buffer in model.buffers() if not buffer.is_floating_point())
    for buffer, value in zip(counters, values, strict=True):
        buffer.copy_(value)
