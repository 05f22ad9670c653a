"""Networks that do not fit a worker: each keeps a part of weights, gradients and optimizer (torch's FSDP2).

For a pass, the weights of one layer after the other are gathered from all workers, who therefore must do the same
passes at the same time. Checkpoints and results hold whole arrays.

References
----------
Zhao et al., PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel, VLDB 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from trimtab.training.mode import Mode
from trimtab.training.stepper import Arrays
from trimtab.training.torch_optimizer import TorchOptimizer
from trimtab.training.torch_steps import TorchStepper


@final
class Sharded:
    """What FSDP2 makes of a worker's stepper, which it changes in place.

    As a way to sum gradients it gives each worker its part of the sum, after every part of a batch: sending only once
    for a batch in parts would take the memory of whole gradients, which is what is lacking.

    The methods return and take whole arrays; all workers must call them at the same time.
    """

    def __init__(self, inner: TorchStepper) -> None:
        self._inner = inner
        self.use(inner.mode)
        mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
        for module in [*inner.model.children(), inner.model]:
            if next(module.parameters(), None) is not None:
                _sum_only(fully_shard(module, mesh=mesh))
        inner.optimizer = TorchOptimizer(inner.model, inner.recipe)  # of this worker's parts

    @property
    def front(self) -> torch.nn.Module:
        """The network to compute with."""
        return self._inner.model

    def finish(self) -> None:
        """Do nothing: backward waited for the sums."""

    def use(self, mode: Mode) -> None:
        """Compute in this mode from now on; not with filters channels last, which FSDP2 refuses."""
        self._inner.use(replace(mode, memory_format="contiguous"))

    def weights(self) -> Arrays:
        """Return copies of parameters and running statistics."""
        return {name: _whole(value) for name, value in self._inner.model.state_dict().items()}

    @torch.no_grad()
    def load_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over this worker's part of what `weights` returned."""
        for name, value in self._inner.model.state_dict().items():
            value.copy_(_part(arrays[name], value))

    def optimizer_arrays(self) -> Arrays:
        """Return copies of what the optimizers remember, by the names of `TorchOptimizer.arrays`."""
        optimizer = self._inner.optimizer
        return {
            f"{what}.{name}": _whole(value)
            for name, parameter in optimizer.parameters.items()
            for what, value in optimizer.state_of(parameter).items()
        }

    def load_optimizer(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over this worker's part of what `optimizer_arrays` returned."""
        optimizer = self._inner.optimizer
        for key, array in arrays.items():
            what, name = key.split(".", 1)
            parameter = optimizer.parameters[name]
            is_divided = array.shape == parameter.shape  # not the step counter
            value = _part(array, parameter.detach()) if is_divided else torch.from_numpy(np.array(array))
            optimizer.state_of(parameter)[what] = value


def _sum_only(module: FSDPModule) -> None:
    """Sum, where FSDP2 by itself would take the mean."""
    module.set_gradient_divide_factor(1.0)
    module.set_force_sum_reduction_for_comms(True)  # gloo knows no scaled sum


def _whole(tensor: Tensor) -> NDArray[Any]:
    complete = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return np.array(complete.detach().numpy(), order="C")


def _part(array: NDArray[Any], model: Tensor) -> Tensor:
    """Return this worker's part of a whole array, divided as ``model`` is."""
    tensor = torch.from_numpy(np.array(array))
    if not isinstance(model, DTensor):
        return tensor
    return distribute_tensor(tensor, model.device_mesh, model.placements, src_data_rank=None)
