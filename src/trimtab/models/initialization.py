"""Arrays that a network starts from where random ones are not the best there are; they may depend on pictures.

The engines draw every array by torch's rules first. Here nothing is drawn and no framework is needed.

Shapes: N pictures, C channels, H W height and width, O I output and input channels of a convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.models.resnet import STEM_WEIGHT

Array = NDArray[Any]

_PATCH = 2  # pixels a side
_SPREAD = 5e-4  # added to the variance along each direction, so that noise is not blown up


def initial_arrays(
    builder: str, kwargs: Mapping[str, Any], arrays: Mapping[str, Array], pictures: Array
) -> dict[str, Array]:
    """Return the state dict to start training from.

    Of a `trimtab.models.resnet` the stem is set to whiten the pictures, if it is of that kind, and every 3x3
    convolution after it to pass its input on (`dirac`). Other networks start from what was drawn.

    Parameters
    ----------
    builder, kwargs
        The network.
    arrays
        Its state dict as drawn, by torch's names and layouts; left as it is.
    pictures
        Some of the training rows as the network sees them, float32 [N, C, H, W]; a thousand are enough. Of tables
        anything, since nothing depends on it.
    """
    if builder != "resnet":
        return dict(arrays)
    found = {key: dirac(array) if _is_filter(key, array) else array for key, array in arrays.items()}
    if kwargs.get("stem", "whitening") == "whitening":
        found[STEM_WEIGHT] = whitening(pictures)
        found["0.0.bias"] = np.zeros_like(arrays["0.0.bias"])
    return found


def dirac(weight: Array) -> Array:
    """Return filters [O, I, 3, 3] of which the first min(O, I) pass one input channel each on, the others as given.

    So the network starts as a chain of maxima and activations of its input, and what is learned is learned on top
    (Zagoruyko and Komodakis, DiracNets, 2017).
    """
    found = weight.copy()
    for channel in range(min(weight.shape[:2])):
        found[channel] = 0
        found[channel, channel, 1, 1] = 1
    return found


def whitening(pictures: Array) -> NDArray[np.float32]:
    """Return filters [8 C, C, 2, 2] whose first half maps patches of pictures to uncorrelated numbers of unit size.

    They are the eigenvectors of the patches' second moments, divided by the square roots of the eigenvalues; the
    second half is the first with the opposite sign, since a ReLU passes one sign only.

    Parameters
    ----------
    pictures
        float32 [N, C, H, W], normalized; H and W at least 2.

    References
    ----------
    K. Jordan, arXiv 2404.00498, 2024, section 3.2.
    """
    channels, height, width = pictures.shape[1:]
    shifted = [
        pictures[:, :, down : height - _PATCH + 1 + down, across : width - _PATCH + 1 + across]
        for down, across in np.ndindex(_PATCH, _PATCH)
    ]
    numbers = np.stack(shifted, axis=2).transpose(1, 2, 0, 3, 4).reshape(channels * _PATCH**2, -1)
    moments = (numbers @ numbers.T).astype(np.float64) / numbers.shape[1]
    eigenvalues, vectors = np.linalg.eigh(moments)
    filters = (vectors / np.sqrt(np.maximum(eigenvalues, 0) + _SPREAD)).T
    shape = (2 * len(filters), channels, _PATCH, _PATCH)
    return np.concatenate([filters, -filters]).reshape(shape).astype(np.float32)


def _is_filter(key: str, array: Array) -> bool:
    """Return whether it is the weight of a 3x3 convolution after the stem that mixes channels."""
    return key != STEM_WEIGHT and array.ndim == 4 and array.shape[1] > 1 and array.shape[2:] == (3, 3)
