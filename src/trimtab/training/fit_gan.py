"""The adversarial loop in NumPy: a generator learns to make examples that a discriminator cannot tell from real ones.

Both play with a relativistic loss, each real example against a generated one, and the discriminator's gradient is
held down at the data, real (R1) and generated (R2), without which the game need not settle. Whether the generated
examples are worth anything is not judged here.

Legend: ``B`` batch, ``Z`` latent features, ``K`` classes.

References
----------
Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, NeurIPS 2024, sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import TrainingError
from trimtab.machine import available_threads
from trimtab.numpy_nn import Adam, Module, gradient_penalty
from trimtab.numpy_nn.activations import sigmoid
from trimtab.training.batches import step_seed
from trimtab.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from trimtab.training.fit import check_length, limited
from trimtab.training.numpy_steps import using_threads
from trimtab.training.stepper import Arrays
from trimtab.training.watch import HistoryRow, Watch

Array = NDArray[Any]
_REPORTS = 20  # lines of the history in a run of known length
_REPORT_STEPS = 100  # between two of them in a run of unknown length


@dataclass(frozen=True, kw_only=True)
class TrainedGan:
    """The outcome; the generator has the averaged weights.

    Attributes
    ----------
    history
        At intervals ``step``, ``discriminator_loss``, ``generator_loss``, ``penalty`` and ``seconds``.
    steps
        Done.
    """

    history: list[HistoryRow]
    steps: int


def fit_gan(
    generator: Module,
    discriminator: Module,
    examples: NDArray[np.float32],
    *,
    latent_features: int,
    labels: NDArray[np.int64] | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    penalty: float = 1.0,
    average: float = 0.995,
    seed: int = 0,
    threads: int | None = None,
    checkpoints: Path | None = None,
    watch: Watch | None = None,
    verbose: bool = True,
) -> TrainedGan:
    """Train both networks in place; the generator is left with a running average of its weights, in evaluation mode.

    Parameters
    ----------
    generator
        Latent numbers [B, Z] (with labels [B, Z + K]) to examples.
    discriminator
        Examples to one number each, [B, 1]; piecewise linear. With labels it gets K more features, or K more channels.
    examples
        [N, F] or [N, C, H, W].
    latent_features
        Z.
    labels
        Classes of the examples, int64 [N]: the generator is then told which class to make.
    steps, seconds
        The length: exactly so many steps, or until the time is up. One of the two.
    batch_size
        Real examples in a step, and as many generated ones.
    learning_rate
        Of Adam, for both, constant.
    penalty
        Strength of R1 and of R2.
    average
        Share of the running average that a step leaves.
    seed
        Of the weights, the order and the latent numbers; each step draws from (seed, step).
    threads, checkpoints, verbose
        As in `trimtab.training.fit.fit_classifier`.
    watch
        Whom to ask for the time and to tell what happens; ``on_epoch`` gets the rows of the history.

    Raises
    ------
    ValueError
        If not exactly one of ``steps`` and ``seconds`` is given.
    TypeError
        If a layer of the discriminator is not piecewise linear.
    TrainingError
        If a loss is not a number any more.
    """
    check_length(steps, seconds)
    watch = limited(watch or Watch(on_epoch=_print_row if verbose else lambda row: None), seconds)
    rng = np.random.default_rng(step_seed(seed, -1))
    generator.reset_parameters(rng)
    discriminator.reset_parameters(rng)
    conditions = None if labels is None else np.eye(labels.max() + 1, dtype=np.float32)[labels]
    game = _Game(generator, discriminator, learning_rate, penalty, average)

    def play(step: int) -> dict[str, float]:
        rng = np.random.default_rng(step_seed(seed, step))
        rows = rng.integers(len(examples), size=batch_size)
        latent = rng.standard_normal((batch_size, latent_features), np.float32)
        generator.train().seed(step_seed(seed, step))
        return game.step(examples[rows], latent, None if conditions is None else conditions[rows])

    with using_threads(threads or available_threads()):
        history = _run(game, play, steps, watch, checkpoints)
    generator.load_state_dict(game.average)
    generator.eval().input_gradient = True
    return TrainedGan(history=history, steps=game.steps)


@final
class _Game:
    """Both players with their optimizers, and the running average of the generator."""

    def __init__(self, generator: Module, discriminator: Module, rate: float, penalty: float, average: float) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.generator.input_gradient = False
        self.optimizers = [Adam(network.parameters(), rate, (0.5, 0.99)) for network in (generator, discriminator)]
        self.penalty, self.share = penalty, 1 - average
        self.average = generator.state_dict()
        self.steps = 0

    def step(self, real: Array, latent: Array, condition: Array | None) -> dict[str, float]:
        """Move the discriminator, then the generator; return both losses and the penalty."""
        latent = latent if condition is None else np.concatenate([latent, condition], axis=1)
        fake = self.generator(latent)
        both = np.concatenate([_told(real, condition), _told(fake, condition)])
        loss, penalty = self._move_discriminator(both, fake.shape[1])
        opposed = self._move_generator(both, fake.shape[1])
        self._average()
        self.steps += 1
        return {"discriminator_loss": loss, "generator_loss": opposed, "penalty": penalty}

    def _move_discriminator(self, both: Array, width: int) -> tuple[float, float]:
        """Minimize softplus(D(fake) - D(real)) + penalty / 2 (|dD/dreal|^2 + |dD/dfake|^2)."""
        optimizer = self.optimizers[1]
        optimizer.zero_grad()
        self.discriminator.input_gradient = False
        loss, slopes = _relativistic(self.discriminator(both), sign=1)
        self.discriminator.backward(slopes)
        # Twice the strength, since the mean is over the real and the generated ones together.
        penalty = gradient_penalty(self.discriminator, both, 2 * self.penalty, features=width)
        optimizer.step()
        return loss, penalty

    def _move_generator(self, both: Array, width: int) -> float:
        """Minimize softplus(D(real) - D(fake)), through a discriminator that is held still."""
        optimizer = self.optimizers[0]
        optimizer.zero_grad()
        self.discriminator.requires_grad_(False).input_gradient = True
        loss, slopes = _relativistic(self.discriminator(both), sign=-1)
        through = self.discriminator.backward(slopes)
        self.discriminator.requires_grad_(True)
        self.generator.backward(through[len(both) // 2 :, :width])
        optimizer.step()
        return loss

    def _average(self) -> None:
        """Average over few steps at first, so that the first weights are soon forgotten."""
        share = max(self.share, 1 / (self.steps + 1))
        for name, array in self.generator.state_dict().items():
            kept = self.average[name]
            self.average[name] = (kept + share * (array - kept)).astype(kept.dtype)

    def checkpoint(self, history: list[HistoryRow]) -> Checkpoint:
        """Return everything that the next step depends on."""
        networks = (self.generator, self.discriminator)
        return Checkpoint(
            step=self.steps,
            model=_numbered([network.state_dict() for network in networks]),
            optimizer=_numbered([optimizer.state_dict() for optimizer in self.optimizers]),
            best=self.average,
            state={"history": history},
        )

    def restore(self, checkpoint: Checkpoint) -> list[HistoryRow]:
        """Take up what `checkpoint` returned; return the history."""
        for index, network in enumerate((self.generator, self.discriminator)):
            network.load_state_dict(_of_number(checkpoint.model, index))
            self.optimizers[index].load_state_dict(_of_number(checkpoint.optimizer, index))
        self.average, self.steps = dict(checkpoint.best), checkpoint.step
        return list(checkpoint.state["history"])


def _run(
    game: _Game,
    play: Callable[[int], dict[str, float]],
    steps: int | None,
    watch: Watch,
    checkpoints: Path | None,
) -> list[HistoryRow]:
    """Play until the steps are done, the time is up or the user has enough; return the history."""
    started = watch.clock()
    saved = load_checkpoint(checkpoints) if checkpoints else None
    history = game.restore(saved) if saved else []
    interval = max(1, steps // _REPORTS) if steps else _REPORT_STEPS
    is_over = steps is not None and game.steps >= steps
    while not is_over:
        figures = play(game.steps)
        watch.on_step(game.steps, steps or game.steps)
        is_over = game.steps >= steps if steps else watch.seconds_left() <= 0
        is_over = is_over or watch.wants_to_stop()
        if is_over or game.steps % interval == 0:
            _check(figures, game.steps)
            history.append({"step": game.steps, **figures, "seconds": watch.clock() - started})
            watch.on_epoch(history[-1])
            if checkpoints:
                save_checkpoint(checkpoints, game.checkpoint(history))
    return history


def _relativistic(scores: Array, *, sign: int) -> tuple[float, Array]:
    """Return the mean of softplus(sign (fake - real)) and its gradient, for scores [2 B, 1], the real ones first."""
    real, fake = np.split(scores, 2)
    difference = sign * (fake - real)
    slope = sign * sigmoid(difference) / len(real)
    loss = np.logaddexp(0, difference).mean()
    return float(loss), np.concatenate([-slope, slope]).astype(scores.dtype)


def _told(examples: Array, condition: Array | None) -> Array:
    """Return the examples with their classes [B, K] as further features, or as further channels."""
    if condition is None:
        return examples
    planes = condition.reshape(*condition.shape, *[1] * (examples.ndim - 2))
    return np.concatenate([examples, np.broadcast_to(planes, (*condition.shape, *examples.shape[2:]))], axis=1)


def _check(figures: dict[str, float], step: int) -> None:
    if not np.isfinite(list(figures.values())).all():
        raise TrainingError(
            f"the adversarial training diverged: after {step} steps a loss is not a number",
            "losses that stay finite",
            "lower the learning rate or raise the penalty",
        )


def _numbered(parts: list[Arrays]) -> Arrays:
    return {f"{index}.{name}": array for index, part in enumerate(parts) for name, array in part.items()}


def _of_number(arrays: Arrays, index: int) -> Arrays:
    prefix = f"{index}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _print_row(row: HistoryRow) -> None:
    print(
        f"step {row['step']:6.0f}   discriminator {row['discriminator_loss']:.4f}   "
        f"generator {row['generator_loss']:.4f}   penalty {row['penalty']:.4f}   {row['seconds']:.1f} s"
    )
