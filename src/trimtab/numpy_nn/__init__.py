"""Neural networks in NumPy, forward and backward, under torch.nn's names.

Same names, argument order, weight layouts and state-dict keys as torch.nn, so that one network definition runs in
both, and torch is the oracle of the tests. Nothing but NumPy is needed.

A forward pass keeps what the backward pass needs; ``backward`` takes the gradient of the output and returns that of
the input; parameters collect theirs in ``grad``. Losses return value and gradient together.
"""

from trimtab.numpy_nn.activations import GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from trimtab.numpy_nn.attention import SelfAttention, TokenMean, Tokens
from trimtab.numpy_nn.containers import Identity, Residual, Sequential
from trimtab.numpy_nn.convolution import Conv2d, ConvTranspose2d, frozen
from trimtab.numpy_nn.linear import Dropout, Embedding, Flatten, Linear, Scale, Unflatten
from trimtab.numpy_nn.losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_penalty,
    l2_penalty,
    log_softmax,
    mse_loss,
    nll_loss,
    softmax,
)
from trimtab.numpy_nn.module import Module, Parameter, ShapeError, inference
from trimtab.numpy_nn.normalization import BatchNorm1d, BatchNorm2d, LayerNorm, ShiftNorm2d
from trimtab.numpy_nn.optimizers import SGD, Adam, AdamW, clip_grad_norm_
from trimtab.numpy_nn.penalties import gradient_penalty
from trimtab.numpy_nn.pooling import AvgPool2d, MaxPool2d
from trimtab.numpy_nn.resampling import AdaptiveAvgPool2d, Upsample
from trimtab.numpy_nn.shards import threads

__all__ = [
    "GELU",
    "SGD",
    "Adam",
    "AdamW",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Residual",
    "Scale",
    "SelfAttention",
    "Sequential",
    "ShapeError",
    "ShiftNorm2d",
    "SiLU",
    "Sigmoid",
    "Tanh",
    "TokenMean",
    "Tokens",
    "Unflatten",
    "Upsample",
    "binary_cross_entropy_with_logits",
    "clip_grad_norm_",
    "cross_entropy",
    "frozen",
    "gradient_penalty",
    "inference",
    "l1_penalty",
    "l2_penalty",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "softmax",
    "threads",
]
