"""CIFAR-10 as a user has pictures: a folder of class folders to train on, and a flat folder that tells no class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

SEED = 0  # of the split: the same pictures are held out in every round
HELD_OUT = 5  # one in so many
FILE = "cifar10-train.parquet"


def unpack(data: Path, folder: Path, images: int) -> None:
    """Write ``train/CLASS/*.jpg``, ``held-out/*.jpg`` and ``labels.json``, unless they are there already.

    Of every class the same share is held out. Names and order of the held-out files say nothing about their class.

    Parameters
    ----------
    data
        Directory with the Parquet file.
    folder
        Where to write; what else lies there stays.
    images
        How many to use of those in the file, the same number of each class.
    """
    done = folder / "labels.json"
    if done.exists() and json.loads(done.read_text())["images"] == images:
        return
    done.unlink(missing_ok=True)
    for part in ("train", "held-out"):
        shutil.rmtree(folder / part, ignore_errors=True)
    pictures = pq.read_table(data / FILE, columns=["image"]).column("image").to_pylist()
    names = [picture["path"] for picture in pictures]  # class/number.jpg
    training, held_out = split([name.split("/")[0] for name in names], images)
    for index in training:
        write(folder / "train" / names[index], pictures[index]["bytes"])
    labels = {}
    for place, index in enumerate(held_out):
        labels[f"{place:05d}.jpg"] = names[index].split("/")[0]
        write(folder / "held-out" / f"{place:05d}.jpg", pictures[index]["bytes"])
    done.write_text(json.dumps({"images": images, "labels": labels}))


def split(classes: list[str], images: int) -> tuple[list[int], list[int]]:
    """Return the rows to train on and those held out, in random order."""
    rng, training, held_out = np.random.default_rng(SEED), [], []
    for name in sorted(set(classes)):
        members = rng.permutation([row for row, label in enumerate(classes) if label == name])
        members = members[: images // len(set(classes))].tolist()
        count = len(members) // HELD_OUT
        held_out += members[:count]
        training += members[count:]
    return training, rng.permutation(held_out).tolist()


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def read_labels(folder: Path) -> dict[str, str]:
    """Return the class of each held-out file by its name, sorted by name."""
    return json.loads((folder / "labels.json").read_text())["labels"]
