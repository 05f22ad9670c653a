"""Ultralytics: YOLO11n for classification from scratch, under its own time limit.

Recipe: Ultralytics' documentation, "Image Classification" and "CIFAR-10 Dataset" (pictures of 32 pixels; the general
default of 224 would cost fifty times as much), and "Configuration" for `time`. Its defaults otherwise: optimizer and
learning rate by themselves, RandAugment, random erasing, the best epoch by validation delivered, pictures read by the
training process (on a CPU it allows no others).

Three exceptions, in its favor. Batches are of 64, its nominal size, instead of 16 whose gradients are added up to 64:
the optimizer's steps are the same, and a picture costs about half on a CPU. It gets a thread per core; by itself it
would take one. Its documented layout is made of links, nine tenths under `train` and one under `val`; left to itself
it would copy the files and hold out a fifth.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))  # before torch is imported

from protocol import Job, main
from ultralytics import YOLO, settings

SIZE = 32
BATCH_SIZE = 64
TO_END = 0.04, 5.0  # of the limit, and at least seconds: last validation, that of the best epoch, pictures


def train(job: Job) -> None:
    settings.update({"sync": False})  # nothing is reported over a network
    folder = link(job)

    def start_clock(trainer: Any) -> None:
        trainer.args.time = hours_left(job)

    model = YOLO("yolo11n-cls.yaml")
    model.add_callback("on_train_start", start_clock)
    model.train(
        data=folder,
        imgsz=SIZE,
        batch=BATCH_SIZE,
        time=hours_left(job),
        pretrained=False,
        seed=job.seed,
        device="cpu",
        project=job.model.resolve(),
        name="run",
    )


def hours_left(job: Job) -> float:
    share, at_least = TO_END
    return max(1.0, job.seconds_left() - max(share * job.seconds, at_least)) / 3600


def link(job: Job) -> Path:
    """Return a folder of links with the two parts that the trainer expects."""
    rng, folder = random.Random(job.seed), job.model.resolve() / "data"
    for group in sorted(path for path in job.folder.iterdir() if path.is_dir()):
        files = sorted(group.resolve().iterdir())
        rng.shuffle(files)
        count = len(files) // 10
        for part, members in (("val", files[:count]), ("train", files[count:])):
            target = folder / part / group.name
            target.mkdir(parents=True)
            for file in members:
                os.symlink(file, target / file.name)
    return folder


def predict(model: Path, pictures: list[Path]) -> list[str]:
    network = YOLO(model / "run" / "weights" / "best.pt")
    results = network.predict(
        [str(path) for path in pictures], imgsz=SIZE, batch=256, stream=True, verbose=False, device="cpu"
    )
    return [result.names[result.probs.top1] for result in results]


if __name__ == "__main__":
    main(train, predict)
