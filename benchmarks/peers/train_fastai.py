"""fastai: a ResNet-18 from scratch, the one-cycle policy over as many epochs as fit.

Recipe: fastai's tutorial "Computer vision intro" (`ImageDataLoaders.from_folder`, `aug_transforms`, `vision_learner`,
`fit_one_cycle`) and, for networks that are not pretrained, chapter 7 of "Practical Deep Learning for Coders"
(normalization among the batch transforms). Its defaults: batches of 64, Adam, 1e-3 at the peak.

`fit_one_cycle` must know the number of epochs beforehand. A user finds it by timing an epoch; here the first steps of
the run itself are timed, so that it costs the peer nothing, and epochs may be fractions, so that rounding does not
either.
"""

from __future__ import annotations

import math
import statistics
import time
from pathlib import Path

from fastai.vision.all import (
    Callback,
    CancelFitException,
    ImageDataLoaders,
    Normalize,
    accuracy,
    aug_transforms,
    imagenet_stats,
    load_learner,
    resnet18,
    set_seed,
    vision_learner,
)
from protocol import Job, main

UNTIMED = 3  # steps at the start
SETTLED = 0.2  # of the cycle: while the learning rate still rises, its length follows the speed
USED = 0.97  # of what is left: the rest is for steps that turn out slower
TO_SAVE = 2.0  # seconds
VALIDATION = 1 / 3  # seconds of a batch there, relative to a training step


class Cycle(Callback):
    """Let the cycle have as many steps as fit, which need not be whole epochs; stop after them, or at the deadline."""

    order = -9  # right after fastai's own bookkeeping

    def __init__(self, job: Job, share: float) -> None:
        self.job, self.share = job, share
        self.steps, self.step_seconds, self.last_end = math.inf, [], 0.0

    def before_train(self) -> None:
        """Undo what whole epochs would mean for the schedule; the pause before an epoch is no step."""
        self.learn.pct_train, self.last_end = min(1.0, self.train_iter / self.steps), time.monotonic()

    def after_batch(self) -> None:
        """Say how far the cycle is."""
        now = time.monotonic()
        self.step_seconds.append(now - self.last_end)
        self.last_end = now
        if UNTIMED < self.train_iter < SETTLED * self.steps:
            left = USED * self.share * (self.job.seconds_left() - TO_SAVE)
            self.steps = self.train_iter + left / statistics.mean(self.step_seconds[UNTIMED:])
        self.learn.pct_train = min(1.0, self.train_iter / self.steps)
        if self.train_iter >= self.steps or self.job.seconds_left() < TO_SAVE:
            print(f"{self.train_iter} steps of {self.steps:.0f}", flush=True)
            raise CancelFitException


def train(job: Job) -> None:
    set_seed(job.seed)
    loaders = ImageDataLoaders.from_folder(
        job.folder,
        valid_pct=0.1,
        seed=job.seed,
        batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)],
    )
    learner = vision_learner(loaders, resnet18, pretrained=False, metrics=accuracy)
    share = len(loaders.train) / (len(loaders.train) + VALIDATION * len(loaders.valid))
    learner.fit_one_cycle(1_000_000, cbs=Cycle(job, share))  # the callback ends it
    learner.export(job.model.resolve() / "model.pkl")


def predict(model: Path, pictures: list[Path]) -> list[str]:
    learner = load_learner(model / "model.pkl")
    probabilities, _ = learner.get_preds(dl=learner.dls.test_dl(pictures, bs=256))
    return [learner.dls.vocab[number] for number in probabilities.argmax(dim=1).tolist()]


if __name__ == "__main__":
    main(train, predict)
