"""Every network with every kind of its options, small: what the laws of all networks are tried on."""

from __future__ import annotations

from typing import Any

_PICTURES = {"in_channels": 3, "image_size": 12, "num_classes": 3}
_VIT = {**_PICTURES, "width": 8, "depth": 2, "heads": 2, "patch": 4}

# Label: builder, keyword arguments, shape of an input.
CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "mlp": ("mlp", {"in_features": 7, "hidden": [16, 8], "num_classes": 3}, (7,)),
    "cnn": ("cnn", {**_PICTURES, "image_size": 20, "channels": [8, 16, 24]}, (3, 20, 20)),
    "separable_cnn": (
        "separable_cnn",
        {"in_channels": 1, "image_size": 9, "channels": [8, 16, 24], "num_classes": 3},
        (1, 9, 9),
    ),
    "resnet": ("resnet", {**_PICTURES, "channels": [8, 12]}, (3, 12, 12)),
    "resnet, grey": ("resnet", {**_PICTURES, "in_channels": 1, "channels": [16, 16]}, (1, 12, 12)),
    "resnet, branches": ("resnet", {**_PICTURES, "channels": [8, 12], "depth": 3}, (3, 12, 12)),
    "resnet, convolution stem": (
        "resnet",
        {**_PICTURES, "channels": [16, 24], "stem": "convolution", "activation": "gelu"},
        (3, 12, 12),
    ),
    "resnet, patch stem, separable": (
        "resnet",
        {**_PICTURES, "channels": [8, 12], "depth": 3, "stem": "patch", "separable": True},
        (3, 12, 12),
    ),
    "vit": ("vit", _VIT, (3, 12, 12)),
    "vit, narrow heads": ("vit", {**_VIT, "heads": 1, "head_width": 3, "mlp_ratio": 0.875}, (3, 12, 12)),
}
