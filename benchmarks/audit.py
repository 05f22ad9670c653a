"""Recall, precision and seconds of the audit for copies of test pictures in the training part.

    python benchmarks/audit.py --data DIR [--rows 50000] [--test 10000] [--share 0.03] [--sheet FILE.png]

Takes pictures of CIFAR-10 (``cifar10-train.parquet`` in DIR), calls the last ones the test part, and copies a share of
them into the training part: once as they are, once as a JPEG of quality 75, once resized to 24 or 48 pixels and back,
once 5% lighter or darker. For each kind by itself it counts how many of the test pictures copied are named (recall)
and how many of the pictures named are among them (precision). CIFAR-10 holds near copies of its own; pictures that are
named before anything is copied are such, or mistakes, and are told apart by nobody here: they are left out of the
precision, listed as a count, and drawn on a contact sheet with --sheet. Prints a table and writes it, with command,
versions and hardware, to benchmarks/results/audit.json.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trimtab.data import Dataset, open_source
from trimtab.data.audits import find_copies
from trimtab.data.audits.clusters import straddling
from trimtab.evaluation.intervals import wilson
from trimtab.generalization.duplicates import duplicates_finding
from trimtab.machine import describe_machine, package_versions
from trimtab.report.contact_sheets import save_copies
from trimtab.storage import write_json

RESULTS = Path(__file__).parent / "results" / "audit.json"
Picture = NDArray[np.uint8]


def exact(picture: Picture, number: int) -> Picture:
    return picture


def coded(picture: Picture, number: int) -> Picture:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=75)
    return np.asarray(Image.open(content))


def resized(picture: Picture, number: int) -> Picture:
    side, resampling = (24, 48)[number % 2], Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).resize((side, side), resampling).resize((32, 32), resampling))


def shaded(picture: Picture, number: int) -> Picture:
    return np.clip(np.round(picture * (0.95, 1.05)[number % 2]), 0, 255).astype(np.uint8)


KINDS: dict[str, Callable[[Picture, int], Picture]] = {
    "exact": exact,
    "JPEG, quality 75": coded,
    "resized to 24 or 48 and back": resized,
    "5% lighter or darker": shaded,
}


def named(images: Picture, test: int, sheet: str | None = None) -> tuple[set[int], float]:
    """Return which of the last ``test`` pictures are called copies of others, and the processor seconds it took."""
    parts = np.where(np.arange(len(images)) < len(images) - test, 0, 2).astype(np.int8)
    dataset = Dataset(
        name="pictures",
        kind="image",
        labels=np.zeros(len(images), dtype=np.int64),
        class_names=("any", "other"),
        content_hash="",
        row_names=[f"row {row}" for row in range(len(images))],
        images=images,
        parts=parts,
    )
    started = time.process_time()
    copies = find_copies(dataset)
    seconds = time.process_time() - started
    found = straddling(copies.numbers, parts == 2, parts == 0)
    if sheet and len(found):
        save_copies(images, duplicates_finding(dataset, copies, parts).evidence["sets_shown"], Path(sheet))
    return {int(row) - (len(images) - test) for row in found}, seconds


def measure(
    images: Picture, test: int, chosen: NDArray[np.int64], change: Callable[..., Picture], own: set[int]
) -> dict:
    originals = images[len(images) - test :][chosen]
    copied = np.stack([change(picture, number) for number, picture in enumerate(originals)])
    found, seconds = named(np.concatenate([copied, images]), test)
    wanted = set(chosen.tolist())
    recall = wilson(len(found & wanted) / len(wanted), len(wanted), level=0.95)
    new = found - (own - wanted)
    precision = wilson(len(new & wanted) / max(len(new), 1), max(len(new), 1), level=0.95)
    return {"recall": recall.to_dict(), "precision": precision.to_dict(), "seconds": seconds, "copied": len(wanted)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--share", type=float, default=0.03)
    parser.add_argument("--sheet", metavar="FILE.png", help="draw copies that the data hold of their own")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    images = open_source(Path(options.data) / "cifar10-train.parquet").load(progress=True).images
    images = np.asarray(images[np.sort(rng.permutation(len(images))[: options.rows])])
    images = images[rng.permutation(len(images))]
    own, seconds = named(images, options.test, options.sheet)
    print(describe_machine())
    print(f"{len(images):,} pictures in {seconds:.1f} processor seconds; {len(own)} test pictures have copies already")
    chosen = np.sort(rng.choice(options.test, round(options.share * options.test), replace=False))
    results = {}
    print(f"{'copies of test pictures in training':<38}{'recall (95%)':<26}{'precision (95%)':<26}seconds")
    for name, change in KINDS.items():
        found = results[name] = measure(images, options.test, chosen, change, own)
        cells = [
            f"{found[key]['value']:.3f} ({found[key]['low']:.3f} to {found[key]['high']:.3f})"
            for key in ("recall", "precision")
        ]
        print(f"{name:<38}{cells[0]:<26}{cells[1]:<26}{found['seconds']:.1f}")
    write_json(
        RESULTS,
        {
            "command": f"python benchmarks/audit.py --data DIR --rows {options.rows} --test {options.test} "
            f"--share {options.share} --seed {options.seed}",
            "machine": describe_machine(),
            "versions": package_versions(),
            "own_copies": len(own),
            "processor_seconds": seconds,
            "kinds": results,
        },
    )


if __name__ == "__main__":
    main()
