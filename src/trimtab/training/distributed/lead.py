"""Rank 0's stepper: every method tells the other workers what to do and then does its own share.

Shapes: N rows, K classes.
"""

from __future__ import annotations

import signal
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trimtab.training.distributed import channel
from trimtab.training.distributed.share import Share
from trimtab.training.distributed.team import Team
from trimtab.training.distributed.worker import threads_of_a_worker
from trimtab.training.loop import Trained, run_stepper
from trimtab.training.memory import keeping_memory
from trimtab.training.mode import Mode
from trimtab.training.recipe import Recipe
from trimtab.training.rows import Rows
from trimtab.training.stepper import Arrays, using_threads


def train_together(
    team: Team,
    builder: str,
    kwargs: Mapping[str, Any],
    training: Rows,
    validation: Rows,
    recipe: Recipe,
    *,
    is_sharded: bool = False,
    **rest: Any,
) -> Trained:
    """Train as `trimtab.training.loop.train` does, with workers that `follow`; on rank 0.

    Parameters
    ----------
    team
        The workers.
    builder, kwargs, training, validation, recipe
        As in `train`, and as the other workers have them.
    is_sharded
        Whether each worker keeps only its part of the weights.
    **rest
        As in `train`.

    Raises
    ------
    ValueError
        If a batch is too small for so many workers.
    WorkerLost
        If one does not answer.
    TrainingError
        As `train` does.
    """
    with using_threads("torch", threads_of_a_worker(recipe, team.worker)), keeping_memory():
        _end_at_once_when_told()
        share = Share(builder, kwargs, training, recipe, is_sharded=is_sharded)
        stepper = LeadStepper(share, {"validation": validation, "training": training})
        try:
            return run_stepper(stepper, len(training), validation, **rest)
        finally:
            stepper.stop()
            team.is_dismissed = stepper.is_apart


def _end_at_once_when_told() -> None:
    """Let SIGTERM end this process: torchrun sends it when a worker is lost, and then no clean end is possible."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@final
class LeadStepper:
    """A `trimtab.training.stepper.Stepper` of several workers, on rank 0.

    Parameters
    ----------
    share
        What this worker does itself.
    known
        The rows that all workers hold, by name; `logits` takes these, or their first ones.

    Attributes
    ----------
    is_apart
        Whether an error ended a method: the others may wait in the middle of it and hear nothing.
    """

    def __init__(self, share: Share, known: Mapping[str, Rows]) -> None:
        self.recipe = share.recipe
        self._share, self._known = share, known
        self._number, self._copies = 0, _Copies()
        self.is_apart = False

    @property
    def mode(self) -> Mode:
        """What all compute in."""
        return self._share.inner.mode

    def use(self, mode: Mode) -> None:
        """Compute in this mode from now on, on every worker; not compiled."""
        with self._together("use", asdict(mode)):
            self._share.use(mode)

    def modes(self) -> list[Mode]:
        """Return the modes that a trial is worth making of, eager float32 first."""
        modes = self._share.inner.modes()
        return [mode for mode in modes if mode.memory_format == "contiguous"] if self._share.is_sharded else modes

    def compilation_obstacle(self) -> str | None:
        """Return why the network is not compiled."""
        return "several workers train together"

    def copy(self, mode: Mode) -> LeadStepper:
        """Return a twin in another mode, of which every worker makes one too."""
        for number in self._copies.forgotten():
            channel.send("forget", to=number)
        number = self._copies.next_number()
        with self._together("copy", asdict(mode), number):
            twin = LeadStepper(self._share.copy(mode), self._known)
        twin._number, twin._copies = number, self._copies
        self._copies.remember(number, twin)
        return twin

    def step(self, step: int, rate: float) -> float:
        """Do step number ``step`` in place, at learning rate ``rate``; return the loss."""
        with self._together("step", step, rate):
            return self._share.step(step, rate)

    def zero_grad(self) -> None:
        """Forget all gradients, on every worker."""
        with self._together("zero_grad"):
            self._share.zero_grad()

    def add_gradients(self, step: int, part: slice | None = None, *, seed: int) -> float:
        """Add the gradients of every worker's rows of a part; return this worker's share of the loss."""
        with self._together("add_gradients", step, None if part is None else [part.start, part.stop], seed):
            return self._share.add_gradients(step, part, seed=seed)

    def update(self, rate: float) -> None:
        """Sum the gradients and move the weights along them, on every worker."""
        with self._together("update", rate):
            self._share.update(rate)

    def logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return the network's output for rows that all workers hold: float32 [N, K].

        Raises
        ------
        ValueError
            If they do not.
        """
        with self._together("logits", self._name_of(rows), len(rows)):
            return self._share.logits(rows)

    def _name_of(self, rows: Rows) -> str:
        for name, whole in self._known.items():
            is_prefix = _start(rows.numbers) == _start(whole.numbers) and len(rows) <= len(whole)
            if is_prefix and _start(rows.inputs) == _start(whole.inputs):  # not their mirror images
                return name
        raise ValueError(
            f"the {len(rows)} rows are not the first of any that all workers hold; expected those of "
            f"{' or '.join(self._known)}; evaluate them with one process."
        )

    def weights(self) -> Arrays:
        """Return copies of parameters and running statistics."""
        if not self._share.is_sharded:
            return self._share.weights()
        with self._together("weights"):
            return self._share.weights()

    def views(self) -> Arrays:
        """Return the same without copying where this worker holds them whole."""
        return self.weights() if self._share.is_sharded else self._share.inner.views()

    def delivered_weights(self) -> Arrays:
        """Return copies of the weights that `logits` computes with."""
        return self.weights()

    def load_weights(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `weights` returned, on every worker."""
        with self._together("load_weights"):
            channel.send_arrays(arrays)
            self._share.load_weights(arrays)

    def optimizer_arrays(self) -> Arrays:
        """Return copies of what the optimizers remember."""
        if not self._share.is_sharded:
            return self._share.optimizer_arrays()
        with self._together("optimizer_arrays"):
            return self._share.optimizer_arrays()

    def load_optimizer(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `optimizer_arrays` returned, on every worker."""
        with self._together("load_optimizer"):
            channel.send_arrays(arrays)
            self._share.load_optimizer(arrays)

    def stop(self) -> None:
        """Let the other workers go, unless they would not hear it."""
        if not self.is_apart:
            channel.send("stop")

    @contextmanager
    def _together(self, name: str, *arguments: Any) -> Iterator[None]:
        """Tell the others to do what follows."""
        try:
            channel.send(name, *arguments, to=self._number)
            yield
        except BaseException:
            self.is_apart = True
            raise


class _Copies:
    """Numbers of the copies, and which of them nobody uses any more."""

    def __init__(self) -> None:
        self._last = 0
        self._alive: dict[int, weakref.ref[LeadStepper]] = {}

    def next_number(self) -> int:
        self._last += 1
        return self._last

    def remember(self, number: int, twin: LeadStepper) -> None:
        self._alive[number] = weakref.ref(twin)

    def forgotten(self) -> list[int]:
        """Return the numbers of copies that are gone, each once."""
        gone = [number for number, reference in self._alive.items() if reference() is None]
        for number in gone:
            del self._alive[number]
        return gone


def _start(array: NDArray[Any]) -> tuple[Any, ...]:
    """Return what two views have in common that begin with the same row: memory, strides, shape of a row."""
    return array.__array_interface__["data"][0], array.strides, array.shape[1:], array.dtype
