"""Pruning that really shrinks: whole channels are taken out, and what is left is the same builder, narrower.

Which channels go is decided by an importance; how many stay, by the keyword argument that sets their number, since
the result has to be a network that the builder makes. So channels whose number one argument sets all lose as many,
each its own least important ones.

`masked` gives the network before anything is taken out, with the same channels silenced: both answer alike, which
shows that what was cut is only what was silenced. It has the old size: masks are for checking and for choosing.

Legend: ``C`` channels, ``O I`` output and input channels of a weight.

References
----------
Magnitude: H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017. Scales: Z. Liu et al., "Learning
Efficient Convolutional Networks through Network Slimming", ICCV 2017. Taylor: P. Molchanov et al., "Importance
Estimation for Neural Network Pruning", CVPR 2019, with the sum over what reads a channel instead of what makes it:
behind a normalization the latter is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.models.channels import Argument, find_channels, widths_of, with_widths

Arrays = Mapping[str, NDArray[Any]]
Scores = NDArray[np.float64]
Kept = list[NDArray[np.int64]]
"""For each of `find_channels` the channels that stay, increasing."""

_STEP = 8  # widths are multiples of it where they are large: processors compute with 8 or 16 channels at once
_LEAST = 4
_EPSILON = 1e-5  # of the normalizations


def narrower_widths(builder: str, kwargs: Mapping[str, Any], share: float) -> dict[Argument, int]:
    """Return widths of about this share of the present ones, in multiples of 8 where they are at least 16.

    Raises
    ------
    ValueError
        If the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share:g}; expected above 0 and at most 1; give the share of channels to keep.")
    return {argument: _rounded(width, share) for argument, width in widths_of(builder, kwargs).items()}


def _rounded(width: int, share: float) -> int:
    step = _STEP if width * share >= 2 * _STEP else 1
    return min(width, max(_LEAST, step * round(width * share / step)))


# ---- importance ----


def magnitudes(artifact: Artifact) -> list[Scores]:
    """Return the mean norm of the filters that make each channel, as they compute: normalization folded in.

    Returns
    -------
    list
        float64 [C] for each of `find_channels`; each filter's norms are relative to their mean.
    """
    return [
        np.mean([_relative(_norms(artifact.arrays, each.weight, each.norm)) for each in channels.filters], axis=0)
        for channels in find_channels(artifact.builder, artifact.kwargs)
    ]


def scales(artifact: Artifact) -> list[Scores]:
    """Return the mean size of the scales of the batch normalizations that each channel goes through.

    Raises
    ------
    ValueError
        If some channels go through none that has a scale.
    """
    found = []
    for channels in find_channels(artifact.builder, artifact.kwargs):
        keys = [f"{each.norm}.weight" for each in channels.filters if f"{each.norm}.weight" in artifact.arrays]
        if not keys:
            raise ValueError(
                f"channels of '{channels.filters[0].weight}' go through no normalization with a scale; expected batch "
                "normalization; use magnitudes or Taylor scores."
            )
        found.append(np.mean([_relative(np.abs(artifact.arrays[key])) for key in keys], axis=0))
    return found


def taylor(artifact: Artifact, gradients: Iterable[Arrays]) -> list[Scores]:
    """Return how much the loss would change, to first order, without each channel: squares, averaged over batches.

    Parameters
    ----------
    artifact
        The network.
    gradients
        Of the mean loss of one batch each, by the artifact's keys.

    Raises
    ------
    ValueError
        If there is no batch.
    """
    all_channels = find_channels(artifact.builder, artifact.kwargs)
    totals, batches = [np.zeros(channels.width) for channels in all_channels], 0
    for gradient in gradients:
        batches += 1
        for channels, total in zip(all_channels, totals, strict=True):
            total += sum(_contributions(artifact.arrays[key], gradient[key]) for key in channels.readers) ** 2
    if not batches:
        raise ValueError("there are no gradients; expected those of one batch or more; give training rows.")
    return [total / batches for total in totals]


def _contributions(weight: NDArray[Any], gradient: NDArray[Any]) -> Scores:
    """Return the sum of weight times gradient over all but the second axis."""
    product = weight.astype(np.float64) * gradient
    return np.asarray(product.sum(axis=tuple(axis for axis in range(product.ndim) if axis != 1)))


def _norms(arrays: Arrays, weight: str, norm: str | None) -> Scores:
    filters = arrays[weight].astype(np.float64)
    norms = np.sqrt((filters.reshape(len(filters), -1) ** 2).sum(axis=1))
    if norm is not None:
        norms = norms * np.abs(arrays.get(f"{norm}.weight", 1.0)) / np.sqrt(arrays[f"{norm}.running_var"] + _EPSILON)
    return np.asarray(norms)


def _relative(values: NDArray[Any]) -> Scores:
    return values.astype(np.float64) / max(float(values.mean()), np.finfo(np.float64).tiny)


# ---- what stays ----


def choose_kept(
    builder: str, kwargs: Mapping[str, Any], scores: Sequence[Scores], widths: Mapping[Argument, int]
) -> Kept:
    """Return the most important channels, as many as the widths say.

    Parameters
    ----------
    builder, kwargs
        The network.
    scores
        [C] for each of `find_channels`.
    widths
        Of the narrower network, by argument.

    Raises
    ------
    ValueError
        If a width is below one or above the present one.
    """
    kept = []
    for channels, own in zip(find_channels(builder, kwargs), scores, strict=True):
        width = widths.get(channels.argument or ("", None), channels.width)
        if not 1 <= width <= channels.width:
            raise ValueError(
                f"width is {width} of {channels.width} channels; expected 1 to {channels.width}; change it."
            )
        kept.append(np.sort(np.argsort(-own, kind="stable")[:width]).astype(np.int64))
    return kept


def pruned(artifact: Artifact, kept: Kept) -> Artifact:
    """Return the narrower network that holds only the channels that stay."""
    arrays, widths = dict(artifact.arrays), dict[Argument, int]()
    for channels, stay in zip(find_channels(artifact.builder, artifact.kwargs), kept, strict=True):
        for key in [*(each.weight for each in channels.filters), *channels.carried]:
            arrays[key] = arrays[key][stay]
        for key in channels.readers:
            arrays[key] = arrays[key][:, stay]
        if channels.argument is not None:
            widths[channels.argument] = len(stay)
    return Artifact(
        builder=artifact.builder,
        kwargs=with_widths(artifact.builder, artifact.kwargs, widths),
        arrays=arrays,
        meta=artifact.meta,
    )


def masked(artifact: Artifact, kept: Kept) -> Artifact:
    """Return the network of the old size in which the channels that `pruned` takes out are zero."""
    arrays = {key: array.copy() for key, array in artifact.arrays.items()}
    for channels, stay in zip(find_channels(artifact.builder, artifact.kwargs), kept, strict=True):
        gone = np.setdiff1d(np.arange(channels.width), stay)
        for key in [*(each.weight for each in channels.filters), *channels.carried]:
            arrays[key][gone] = 0
    return Artifact(builder=artifact.builder, kwargs=artifact.kwargs, arrays=arrays, meta=artifact.meta)
