"""What the benchmark tells a peer's script, and what the script leaves behind; needs nothing but Python.

    python train_PEER.py train FOLDER SECONDS MODEL [--started EPOCH_SECONDS] [--seed N]
    python train_PEER.py predict MODEL PICTURES FILE.csv

`train` reads a folder of class folders and writes whatever `predict` needs into the directory MODEL, at the latest
SECONDS after the process was started. `predict` writes a line for each picture of a flat folder: its file name and
its class. A script defines these two as functions and hands them to `main`; measuring is the benchmark's business.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train on, and until when.

    Attributes
    ----------
    folder
        Of class folders.
    model
        Directory for the result; it exists and is empty.
    seconds
        The whole limit, from the start of the process.
    deadline
        When it ends, in seconds since 1970.
    seed
        Of everything random.
    """

    folder: Path
    model: Path
    seconds: float
    deadline: float
    seed: int

    def seconds_left(self) -> float:
        """Return how long it is until the deadline; negative afterwards."""
        return self.deadline - time.time()


def main(train: Callable[[Job], None], predict: Callable[[Path, list[Path]], list[str]]) -> None:
    """Run what the command line says.

    Parameters
    ----------
    train
        Fills ``job.model``.
    predict
        Returns the class name of each picture, from the directory that `train` filled.
    """
    options = _parse()
    if options.act == "predict":
        pictures = sorted(options.pictures.iterdir())
        names = [picture.name for picture in pictures]
        _write(options.out, list(zip(names, predict(options.model, pictures), strict=True)))
        return
    options.model.mkdir(parents=True)
    deadline = options.started + options.seconds
    train(
        Job(folder=options.folder, model=options.model, seconds=options.seconds, deadline=deadline, seed=options.seed)
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="act", required=True)
    verb = verbs.add_parser("train")
    verb.add_argument("folder", type=Path)
    verb.add_argument("seconds", type=float)
    verb.add_argument("model", type=Path)
    verb.add_argument("--started", type=float, default=time.time())
    verb.add_argument("--seed", type=int, default=0)
    verb = verbs.add_parser("predict")
    verb.add_argument("model", type=Path)
    verb.add_argument("pictures", type=Path)
    verb.add_argument("out", type=Path)
    return parser.parse_args()


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("name", "prediction"), *rows])
