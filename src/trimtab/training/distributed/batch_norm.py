"""Batch normalization over the batch of all workers, on any device.

``torch.nn.SyncBatchNorm`` refuses tensors on the CPU (torch 2.13: "expected input tensor to be on GPU or XPU"). Here
the per-channel sums of all workers are added, so that every worker normalizes as one process with the whole batch does.

Shapes: B rows of this worker, C channels, ... any further dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm


def synchronize_batch_norms(model: torch.nn.Module) -> None:
    """Replace, in place, every batch norm inside ``model``; parameters and statistics keep their names and memory."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, _synchronized(child))


def _synchronized(layer: _BatchNorm) -> SynchronizedBatchNorm:
    found = SynchronizedBatchNorm(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    ).train(layer.training)
    for name, parameter in layer.named_parameters(recurse=False):
        setattr(found, name, parameter)
    for name, buffer in layer.named_buffers(recurse=False):
        setattr(found, name, buffer)
    return found


class SynchronizedBatchNorm(_BatchNorm):
    """A batch norm whose statistics in training are those of all workers' rows together.

    Every worker must pass through it at the same time, with at least one row.

    References
    ----------
    Ioffe and Szegedy, Batch Normalization, 2015, algorithm 1 and the gradients in section 3.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept [B, C] and [B, C, ...]."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized rows of this worker: as the input in shape and type."""
        if not self.training:
            return super().forward(input)
        found: tuple[Tensor, Tensor, Tensor, Tensor] = _Normalize.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps
        )
        output, *statistics = found
        self._remember(*statistics)
        return output

    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics, the variance unbiased, as torch's own layers do."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1))
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(unbiased.to(variance.dtype), share)


class _Normalize(torch.autograd.Function):
    """(input - mean) / sqrt(variance + eps) * weight + bias, with mean and variance over all workers' rows."""

    @staticmethod
    def forward(
        context: Any, rows: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, variance, count = _statistics(rows)
        context.save_for_backward(rows, weight, mean, variance, count)
        context.eps, context.has_bias = eps, bias is not None
        context.mark_non_differentiable(mean, variance, count)
        return torch.batch_norm(rows, weight, bias, mean, variance, False, 0.0, eps, False), mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(context: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        rows, weight, mean, variance, count = context.saved_tensors
        # With the statistics taken as given: sum of grad, and of grad times the normalized rows, come with it.
        grad_rows, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad, rows, weight, mean, variance, None, None, False, context.eps, [True, True, True]
        )
        # Through the statistics: -weight / deviation * (mean of grad + normalized row * mean of the product).
        sums = torch.cat([grad_weight, grad_bias])
        distributed.all_reduce(sums)
        scale = -(variance + context.eps).rsqrt() / count.to(sums.dtype)
        slope, shift = (part * (scale if weight is None else scale * weight) for part in sums.chunk(2))
        grad_rows += torch.batch_norm(rows, slope, shift, mean, variance, False, 0.0, context.eps, False)
        return grad_rows, None if weight is None else grad_weight, grad_bias if context.has_bias else None, None


def _statistics(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance (biased) of all workers' rows per channel, float32 [C], and their count, float64 []."""
    channels = rows.shape[1]
    # Running statistics that are given decide the type of the result: float32 also for bfloat16.
    unused = torch.zeros(2, channels)
    mean, variance = torch.ops.aten.batch_norm_update_stats(rows, unused[0], unused[1], 0.0)
    mean, variance = mean.double(), variance.double()
    count = torch.tensor([rows.numel() // channels], dtype=torch.float64)
    moments = torch.cat([count, count * mean, count * (variance + mean**2)])
    distributed.all_reduce(moments)
    count, mean, square = moments[0], *(moments[1:] / moments[0]).chunk(2)
    return mean.float(), (square - mean**2).clamp(min=0).float(), count
