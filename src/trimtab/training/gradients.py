"""The gradients of a trained network's loss on some of its training rows: to judge its parts by, not to train it."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.artifact import Artifact
from trimtab.training.recipe import Recipe
from trimtab.training.rows import Rows
from trimtab.training.stepper import Arrays, make_stepper, using_threads

_BATCH = 128


def loss_gradients(
    artifact: Artifact, rows: Rows, *, engine: str, threads: int, batches: int = 16, seed: int = 0
) -> Iterator[Arrays]:
    """Yield the gradients of the mean log loss of one batch each, by the artifact's keys; the network does not change.

    Batch normalization takes its statistics from the batch, as in training; rows are not augmented.

    Parameters
    ----------
    artifact
        The network.
    rows
        Training rows, of which batches of 128 are drawn without repetition.
    engine, threads
        That compute.
    batches
        How many, at most as many as there are rows for.
    seed
        Of the choice of rows.

    Raises
    ------
    ValueError
        If there is no such engine.
    """
    recipe = Recipe(
        engine=engine,
        steps=1,
        epochs_at_most=1,
        batch_size=_BATCH,
        optimizer="sgd",
        learning_rate=0.0,
        weight_decay=0.0,
        schedule="constant",
        label_smoothing=0.0,
        augment="none",
        precision="float32",
        patience=0,
        threads=threads,
        seed=seed,
    )
    with using_threads(engine, threads):
        stepper = make_stepper(artifact.builder, artifact.kwargs, rows, recipe)
        stepper.load_weights(artifact.arrays)
        for step in range(min(batches, max(1, len(rows) // _BATCH))):
            stepper.zero_grad()
            stepper.add_gradients(step, seed=seed)
            yield stepper.gradients()
