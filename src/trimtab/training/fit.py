"""A classifier fitted by the NumPy engine in one call: for a network of one's own, without a run around it.

It is the training room's loop with a `trimtab.numpy_nn` network in it: the same budget, schedules, early stopping,
checkpoints and repeatability. `trimtab.pipeline` does not come through here; it goes to the loop by itself.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.machine import available_threads
from trimtab.numpy_nn import Module
from trimtab.training.batches import Rows, channel_statistics, step_seed
from trimtab.training.loop import Trained, run_stepper
from trimtab.training.numpy_steps import NumpyStepper, using_threads
from trimtab.training.recipe import Recipe
from trimtab.training.watch import HistoryRow, Watch


def fit_classifier(
    network: Module,
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    *,
    validation: float | tuple[NDArray[Any], NDArray[np.int64]] = 0.15,
    steps: int | None = None,
    seconds: float | None = None,
    batch_size: int = 64,
    optimizer: str = "adamw",
    learning_rate: float = 3e-3,
    weight_decay: float = 0.01,
    schedule: str = "one-cycle",
    l1: float = 0.0,
    l2: float = 0.0,
    ema: float = 0.0,
    label_smoothing: float = 0.0,
    augment: str = "none",
    flip: bool = False,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    patience: int = 0,
    seed: int = 0,
    threads: int | None = None,
    checkpoints: Path | None = None,
    watch: Watch | None = None,
    verbose: bool = True,
) -> Trained:
    """Train ``network`` in place and leave it with the weights that validated best, in evaluation mode.

    Parameters
    ----------
    network
        Of `trimtab.numpy_nn`, giving logits [B, K]. Its weights are drawn anew from ``seed``.
    inputs
        Pictures uint8 [N, H, W, C], or float32 [N, ...] as it is. Of pictures the network sees
        (inputs / 255 - mean) / std, [B, C, H, W], with ``mean, std = channel_statistics(inputs)`` from
        `trimtab.training.batches`.
    labels
        int64 [N], from 0 to K - 1.
    validation
        Share of the rows that chooses the weights, or such rows: inputs and labels.
    steps, seconds
        The length: exactly so many steps, or as many as the time allows. One of the two.
    batch_size, optimizer, learning_rate, weight_decay, schedule, l1, l2, ema, label_smoothing
        As in `trimtab.training.Recipe`.
    augment, flip, mixup, cutmix, patience
        As in `trimtab.training.Recipe`.
    seed
        Of the weights, the order, augmentation and dropout.
    threads
        Processor threads; all that there are unless given. The last bits of the weights depend on it.
    checkpoints
        A directory to write to and, when it holds a checkpoint, to continue from: bit for bit, when steps are given.
    watch
        Whom to ask for the time and to tell what happens.
    verbose
        Whether to print a line after each validation.

    Returns
    -------
    Trained
        Weights, history, and the corrections that repeat a timed run.

    Raises
    ------
    ValueError
        If not exactly one of ``steps`` and ``seconds`` is given, or the rows do not belong together.
    TrainingError
        If no weights with a finite loss were found.
    """
    check_length(steps, seconds)
    training, held_out = _divide(inputs, labels, validation, seed)
    recipe = Recipe(
        steps=steps,
        epochs_at_most=10**6,
        batch_size=batch_size,
        engine="numpy",
        optimizer=optimizer,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        schedule=schedule,
        l1=l1,
        l2=l2,
        ema=ema,
        label_smoothing=label_smoothing,
        augment=augment,
        flip=flip,
        mixup=mixup,
        cutmix=cutmix,
        precision="float32",
        patience=patience,
        threads=threads or available_threads(),
        seed=seed,
    )
    network.reset_parameters(np.random.default_rng(step_seed(seed, -1)))
    with using_threads(recipe.threads):
        stepper = NumpyStepper(network, training, recipe)
        watch = limited(watch or Watch(on_epoch=_print_row if verbose else lambda row: None), seconds)
        trained = run_stepper(stepper, len(training), held_out, watch=watch, checkpoints=checkpoints)
    network.load_state_dict(trained.arrays)
    network.eval().input_gradient = True
    return trained


def check_length(steps: int | None, seconds: float | None) -> None:
    """Refuse anything but exactly one of the two.

    Raises
    ------
    ValueError
        If both or none are given, or the one is not above zero.
    """
    given = [value for value in (steps, seconds) if value is not None]
    if len(given) != 1 or not given[0] > 0:
        raise ValueError(f"steps is {steps} and seconds {seconds}; expected one of them, above 0; give the other up.")


def limited(watch: Watch, seconds: float | None) -> Watch:
    """Return the watch with a limit of so many seconds from now, if there is one."""
    if seconds is None:
        return watch
    end = time.perf_counter() + seconds
    return replace(watch, seconds_left=lambda: end - time.perf_counter())


def _divide(
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    validation: float | tuple[NDArray[Any], NDArray[np.int64]],
    seed: int,
) -> tuple[Rows, Rows]:
    """Return the rows to train on and those to validate on."""
    if len(inputs) != len(labels):
        raise ValueError(f"there are {len(inputs)} inputs and {len(labels)} labels; expected one label per input.")
    if isinstance(validation, tuple):
        return _rows(inputs, labels, inputs), _rows(*validation, inputs)
    order = np.random.default_rng((seed, 2)).permutation(len(labels))
    count = max(1, round(validation * len(labels)))
    held_out, kept = order[:count], order[count:]
    return _rows(inputs[kept], labels[kept], inputs), _rows(inputs[held_out], labels[held_out], inputs)


def _rows(inputs: NDArray[Any], labels: NDArray[np.int64], given: NDArray[Any]) -> Rows:
    """Return rows; pictures with mean and deviation of those that were given to train on."""
    if inputs.dtype != np.uint8:
        return Rows.of(inputs, labels)
    mean, std = channel_statistics(given)
    return Rows.of(inputs, labels, mean=mean, std=std)


def _print_row(row: HistoryRow) -> None:
    numbers = {name: math.nan if value is None else value for name, value in row.items()}
    print(
        f"step {numbers['step']:6.0f}   loss {numbers['train_loss']:.4f}   "
        f"validation loss {numbers['validation_loss']:.4f}, accuracy {numbers['validation_accuracy']:.4f}   "
        f"{numbers['seconds']:.1f} s"
    )
