"""Torch-Pruning's group magnitude pruner on one of our networks: whole channels, the same share of each layer's.

What it leaves is a narrower network of the same builder, and comes back as an artifact, so that it is trained on,
exported and timed exactly like ours. Needs ``pip install torch-pruning``.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from trimtab.artifact import Artifact
from trimtab.models import build
from trimtab.models.channels import Argument, find_channels, with_widths
from trimtab.training import torch_nn

_STEP = 8  # widths are multiples of it, as ours are


def installed() -> dict[str, str]:
    """Return Torch-Pruning's version by its name, or nothing where it is not installed."""
    try:
        return {"torch-pruning": version("torch-pruning")}
    except PackageNotFoundError:
        return {}


def prune(artifact: Artifact, share: float) -> Artifact:
    """Return the network with about this share of its channels."""
    import torch_pruning as tp

    network: Any = build(torch_nn, artifact.builder, artifact.kwargs)
    network.load_state_dict({key: torch.from_numpy(array.copy()) for key, array in artifact.arrays.items()})
    network.eval()
    meta = artifact.meta
    example = torch.zeros(1, meta["channels"], meta["image_size"], meta["image_size"])
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    pruner = tp.pruner.MagnitudePruner(
        network,
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=1 - share,
        ignored_layers=[last],
        round_to=_STEP,
    )
    pruner.step()
    arrays = {key: value.numpy().copy() for key, value in network.state_dict().items()}
    widths = _widths_in(artifact, arrays)
    kwargs = with_widths(artifact.builder, artifact.kwargs, widths)
    build(torch_nn, artifact.builder, kwargs).load_state_dict(
        {key: torch.from_numpy(array) for key, array in arrays.items()}
    )
    return Artifact(builder=artifact.builder, kwargs=kwargs, arrays=arrays, meta=artifact.meta)


def _widths_in(artifact: Artifact, arrays: dict[str, Any]) -> dict[Argument, int]:
    """Return the widths that the pruned arrays have, by the argument that sets them."""
    return {
        channels.argument: len(arrays[channels.filters[0].weight])
        for channels in find_channels(artifact.builder, artifact.kwargs)
        if channels.argument is not None
    }
