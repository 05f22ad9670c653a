"""3x3 convolutions in bfloat16 whose weight gradients are matrix products where oneDNN's own are slow.

oneDNN, with which torch convolves on processors, computes them badly in two cases (`benchmarks/resnet_step.py`,
measured with AMX): of small pictures with many channels, 12 times as slow as the convolution itself at 3x3 pixels and
256 channels, where nine matrix products take a fifth of that; and with several threads of channels in multiples of 64
that do not become more, where the threads add up by waiting for each other in a loop. When other processes have the
processors, one of two threads does that in vain: a training step takes twice as long to 30 times as long.

Shapes: B batch, I O channels in and out, H W height and width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn import grad as gradients

_ROWS_LEAST = 2048  # pixels of all pictures: with fewer, starting nine products takes longer than they do
_SMALL, _CHANNELS_LEAST = 8, 128  # pixels a side at most, channels at least, where products are faster
_WAITING, _BLOCK = 16, 64  # pixels a side at most where they cost little more; channels that threads wait over
_LAST = torch.channels_last


class Conv2d(torch.nn.Conv2d):
    """`torch.nn.Conv2d`; trains faster in bfloat16 where it can."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution: [B, I, H, W] -> [B, O, H, W]."""
        if self._is_trained_in_bfloat16(x) and self._is_slow(x):
            return _Convolution.apply(x, self.weight)  # type: ignore[no-any-return, no-untyped-call]
        return super().forward(x)

    def _is_trained_in_bfloat16(self, x: Tensor) -> bool:
        is_half = x.is_cpu and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        return is_half and self.training and self.weight.requires_grad and torch.is_grad_enabled()

    def _is_slow(self, x: Tensor) -> bool:
        """Return whether the weight gradient is of a kind that oneDNN is slow at and that is known here."""
        is_known = (self.kernel_size, self.padding, self.stride, self.groups) == ((3, 3), (1, 1), (1, 1), 1)
        if not is_known or self.bias is not None or x.shape[0] * x.shape[2] * x.shape[3] < _ROWS_LEAST:
            return False
        side = max(x.shape[2:])
        is_small = side <= _SMALL and min(self.in_channels, self.out_channels) >= _CHANNELS_LEAST
        waits = self.in_channels % _BLOCK == 0 and self.out_channels <= self.in_channels
        return is_small or (waits and side <= _WAITING and torch.get_num_threads() > 1)


class _Convolution(torch.autograd.Function):
    """A 3x3 convolution with padding in bfloat16: torch's own, but for the gradient of the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            x, half = (each.to(torch.bfloat16, memory_format=_LAST) for each in (x, weight))
            ctx.save_for_backward(x, half)
            return functional.conv2d(x, half, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, half = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=_LAST)
        wants_x, wants_weight = ctx.needs_input_grad
        of_x = gradients.conv2d_input(x.shape, half, gradient, padding=1) if wants_x else None  # type: ignore[no-untyped-call]
        return of_x, weight_gradient(x, gradient).float() if wants_weight else None


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of the filters [O, I, 3, 3] of a convolution of stride 1 with one pixel of padding.

    A column and a row of zeros after each picture make every shift of a picture a shift along all pixels of the
    batch: pixel rows of ``x``, moved by a fixed distance, meet those of ``gradient``, and the zeros of the gradient
    keep what wraps around from counting. So each of the nine places is one product over all pixels of the batch.

    Parameters
    ----------
    x
        What was convolved, [B, I, H, W], channels last.
    gradient
        Of the result, [B, O, H, W], channels last.
    """
    batch, channels_in, height, width = x.shape
    line = width + 1
    margin = line + 1  # the farthest shift
    pixels = batch * (height + 1) * line
    padded = x.new_zeros(pixels + 2 * margin, channels_in)
    _inside(padded[margin:-margin], x).copy_(x.permute(0, 2, 3, 1))
    moved = gradient.new_zeros(pixels, gradient.shape[1])
    _inside(moved, gradient).copy_(gradient.permute(0, 2, 3, 1))
    across = moved.T.contiguous()  # [O, pixels]: multiplies faster than a transposed view
    found = x.new_empty(3, 3, gradient.shape[1], channels_in)
    for down in range(3):
        for right in range(3):
            start = margin + (down - 1) * line + right - 1
            torch.mm(across, padded[start : start + pixels], out=found[down, right])
    return found.permute(2, 3, 0, 1).contiguous(memory_format=_LAST)


def _inside(padded: Tensor, like: Tensor) -> Tensor:
    """Return the pixels [B, H, W, C] among those [B (H + 1) (W + 1), C] with a column and a row after each picture."""
    batch, _, height, width = like.shape
    return padded.view(batch, height + 1, width + 1, -1)[:, :height, :width]
