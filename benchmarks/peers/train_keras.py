"""Keras: the small Xception of its example, on TensorFlow, until a callback stops it.

Recipe: Keras' example "Image classification from scratch": `image_dataset_from_directory` with batches of 128, flips
and rotations in the data pipeline, the small Xception, dropout, Adam at 3e-4, a checkpoint per epoch; the pictures
keep their 32 pixels, a tenth is held out for validation (in the example a fifth).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import layers
from protocol import Job, main

SIZE = (32, 32)
TO_SAVE = 3.0  # seconds
VALIDATION = 0.5  # seconds of a batch there, relative to a training step, until it was measured


class Deadline(keras.callbacks.Callback):
    """Stop in time for the validation that follows, and for saving."""

    def __init__(self, job: Job, validation_batches: int) -> None:
        super().__init__()
        self.job, self.batches = job, validation_batches
        self.last_end, self.validation_seconds, self.test_began = 0.0, 0.0, 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stop when another step would be too many."""
        now = time.monotonic()
        step, self.last_end = now - (self.last_end or now), now
        if self.validation_seconds == 0.0 and batch > 0:
            after = VALIDATION * self.batches * step
        else:
            after = self.validation_seconds
        if self.job.seconds_left() < after + step + TO_SAVE:
            self.model.stop_training = True

    def on_test_begin(self, logs: Any = None) -> None:
        """Note when validation begins."""
        self.test_began = time.monotonic()

    def on_test_end(self, logs: Any = None) -> None:
        """Note how long it took; the next epoch's first step is not timed from before it."""
        self.validation_seconds, self.last_end = time.monotonic() - self.test_began, 0.0


def train(job: Job) -> None:
    keras.utils.set_random_seed(job.seed)
    training, validation = keras.utils.image_dataset_from_directory(
        job.folder, validation_split=0.1, subset="both", seed=job.seed, image_size=SIZE, batch_size=128
    )
    class_names = training.class_names
    augment = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)]
    batches = training.map(lambda x, y: (apply(augment, x), y), num_parallel_calls=tf.data.AUTOTUNE)
    model = make_model(len(class_names))
    model.compile(
        optimizer=keras.optimizers.Adam(3e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        batches.prefetch(tf.data.AUTOTUNE),
        epochs=1_000_000,
        callbacks=[
            keras.callbacks.ModelCheckpoint(job.model / "model.keras"),
            Deadline(job, int(validation.cardinality())),
        ],
        validation_data=validation.prefetch(tf.data.AUTOTUNE),
        verbose=2,
    )
    (job.model / "classes.json").write_text(json.dumps(class_names))


def apply(augment: list[Any], pictures: Any) -> Any:
    for layer in augment:
        pictures = layer(pictures)
    return pictures


def make_model(num_classes: int) -> keras.Model:
    """Return the example's network; its last layer gives a logit per class."""
    inputs = keras.Input((*SIZE, 3))
    x = layers.Rescaling(1.0 / 255)(inputs)
    x = layers.Conv2D(128, 3, strides=2, padding="same")(x)
    x = block_input = layers.Activation("relu")(layers.BatchNormalization()(x))
    for width in (256, 512, 728):
        for _ in range(2):
            x = layers.SeparableConv2D(width, 3, padding="same")(layers.Activation("relu")(x))
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(width, 1, strides=2, padding="same")(block_input)
        x = block_input = layers.add([x, residual])
    x = layers.SeparableConv2D(1024, 3, padding="same")(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(num_classes)(x))


def predict(model: Path, pictures: list[Path]) -> list[str]:
    class_names = json.loads((model / "classes.json").read_text())
    files = keras.utils.image_dataset_from_directory(
        pictures[0].parent, labels=None, shuffle=False, image_size=SIZE, batch_size=256
    )
    order = {Path(name).name: place for place, name in enumerate(files.file_paths)}
    answers = keras.models.load_model(model / "model.keras").predict(files, verbose=0).argmax(axis=1)
    return [class_names[answers[order[picture.name]]] for picture in pictures]


if __name__ == "__main__":
    main(train, predict)
