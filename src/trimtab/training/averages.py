"""The running average of the weights, around any stepper: what validates and is delivered instead of the last ones.

Averaging over the last steps takes out what single batches shook the weights by; a schedule that ends at zero does
some of the same, so the average helps most where the learning rate is still high.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trimtab.training.batches import Rows
from trimtab.training.mode import Mode
from trimtab.training.stepper import Arrays, Stepper

_PREFIX = "average."
_COUNT = "averaged_steps"


@final
class Averaged:
    """A stepper whose output and delivered weights are those of the average over its steps.

    After every step average <- d average + (1 - d) weights, with d = min(decay, (1 + t) / (10 + t)) after t steps, so
    that a short run does not deliver the weights that it began with. Running statistics are averaged with the weights
    that they belong to; whole numbers, which count, are taken as they are.

    The steps are those of the stepper within: nothing here changes how it trains.

    References
    ----------
    Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM J. Control and Optimization 1992.
    The start is that of TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``.
    """

    def __init__(self, stepper: Stepper, decay: float) -> None:
        self._stepper, self._decay, self.recipe = stepper, decay, stepper.recipe
        self._begin()

    def _begin(self) -> None:
        self._averages = {key: np.array(view) for key, view in self._stepper.views().items()}
        self._count = 0

    @property
    def mode(self) -> Mode:
        """What it computes in."""
        return self._stepper.mode

    def use(self, mode: Mode) -> None:
        """Compute in this mode from now on; to be called before `load_weights` and the first step."""
        self._stepper.use(mode)
        self._begin()  # so that the averages lie in memory as the weights do

    def modes(self) -> list[Mode]:
        """Return the modes that a trial is worth making of, eager float32 first."""
        return self._stepper.modes()

    def compilation_obstacle(self) -> str | None:
        """Return why the network cannot be compiled, or ``None``."""
        return self._stepper.compilation_obstacle()

    def copy(self, mode: Mode) -> Averaged:
        """Return a twin in another mode, whose average begins anew."""
        return Averaged(self._stepper.copy(mode), self._decay)

    def step(self, step: int, rate: float) -> float:
        """Do step number ``step`` in place, at learning rate ``rate``; return the loss."""
        loss = self._stepper.step(step, rate)
        self._follow()
        return loss

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self._stepper.zero_grad()

    def add_gradients(self, step: int, part: slice | None = None, *, seed: int) -> float:
        """Add the gradients of some rows of a step's batch to those that there are; return their share of the loss."""
        return self._stepper.add_gradients(step, part, seed=seed)

    def update(self, rate: float) -> None:
        """Move the weights in place along their gradients, and the average after them."""
        self._stepper.update(rate)
        self._follow()

    def _follow(self) -> None:
        share = 1 - min(self._decay, (1 + self._count) / (10 + self._count))
        for key, view in self._stepper.views().items():
            average = self._averages[key]
            if average.dtype.kind == "f":
                with np.errstate(invalid="ignore", over="ignore"):  # weights that diverge are the loop's business
                    average += share * (view - average)  # exact for what does not move
            else:
                average[...] = view
        self._count += 1

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the output of the averaged network for all rows in evaluation mode: float32 [N, K]."""
        trained = self._stepper.weights()
        self._stepper.load_weights(self._averages)
        try:
            return self._stepper.logits(rows)
        finally:
            self._stepper.load_weights(trained)

    def weights(self) -> Arrays:
        """Return copies of the weights that are trained, not of their average."""
        return self._stepper.weights()

    def views(self) -> Arrays:
        """Return the weights that are trained, as they lie in memory."""
        return self._stepper.views()

    def delivered_weights(self) -> Arrays:
        """Return copies of the average."""
        return {key: np.array(average, order="C") for key, average in self._averages.items()}

    def load_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `weights` returned; the average begins anew, unless `load_optimizer` brings one."""
        self._stepper.load_weights(arrays)
        self._begin()

    def optimizer_arrays(self) -> Arrays:
        """Return the state of the optimizer within, the averages and how many steps they are over."""
        averages = {_PREFIX + key: average for key, average in self.delivered_weights().items()}
        return {**self._stepper.optimizer_arrays(), **averages, _COUNT: np.array(self._count)}

    def load_optimizer(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `optimizer_arrays` returned."""
        within = {key: array for key, array in arrays.items() if not key.startswith(_PREFIX) and key != _COUNT}
        self._stepper.load_optimizer(within)
        for key, average in self._averages.items():
            average[...] = arrays[_PREFIX + key]
        self._count = int(arrays[_COUNT])
