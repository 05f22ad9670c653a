"""Data sets with one thing made wrong, at three grades, or with nothing made wrong; and the runs trained on them.

Clean are tables of overlapping classes, noisy digits with a column for each pixel, and the same digits as a folder of
pictures with a test part of its own. The pictures are there for what is seen in data alone, SHIFT above all: their runs
are so short that longer ones would be better. Each cause is put into one of these, or into the settings of the run.

Legend: ``N`` rows, ``F`` columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trimtab.findings import CODES

OF_DATA = ("LEAKAGE", "DUPLICATES", "SHIFT", "IMBALANCE")
TEST_SHARE = 0.25
SETTINGS = {
    "engine": "numpy",
    "minutes": 30.0,  # far more than it takes: the number of steps is fixed
    "threads": 1,
    "validation_fraction": 0.3,
    "test_fraction": TEST_SHARE,
}
SOUND = {"options": {"hidden": [32, 16]}, "steps": 300, "dropout": 0.3, "weight_decay": 0.1, "learning_rate": 0.008}
SOUND_ON_DIGITS = {"options": {"hidden": [96, 48]}, "steps": 400, "dropout": 0.3, "weight_decay": 0.1}
SOUND_ON_DIGITS |= {"learning_rate": 0.005}
SHORT = SOUND | {"steps": 100}  # for causes of the data alone, which trials say nothing about
BRIEF = {"options": {"channels": [4]}, "steps": 20}  # for pictures
GREEDY = {"options": {"hidden": [96, 48]}, "dropout": 0.0, "weight_decay": 0.0, "learning_rate": 0.01}
DARKNESS = 64  # of 255, around which pictures vary: not black, so that noise goes both ways


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrays:
    """One data set.

    Attributes
    ----------
    features
        float64 [N, F], or pictures uint8 [N, H, W].
    labels
        int64 [N].
    is_test
        bool [N] where the test part comes with the data; ``None`` where the run divides them.
    """

    features: NDArray[Any]
    labels: NDArray[np.int64]
    is_test: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A cause at a grade.

    Attributes
    ----------
    cause
        The code that should be found; ``"clean"`` when none should.
    kind
        Which of several data sets of the same cause and grade.
    grade
        1 to 3, the strongest last; 0 when clean.
    make
        From a seed to a data set.
    settings
        Of the plan.
    clean_of
        Codes that are false alarms on a clean one.
    """

    cause: str
    kind: str
    grade: int
    make: Callable[[int], Arrays]
    settings: dict[str, Any] = field(default_factory=dict)
    clean_of: tuple[str, ...] = CODES


def cases() -> Iterator[Case]:
    """Yield every case, clean ones first."""
    yield Case(cause="clean", kind="table", grade=0, make=mixture, settings=SOUND)
    yield Case(cause="clean", kind="digits", grade=0, make=digits, settings=SOUND_ON_DIGITS)
    yield Case(cause="clean", kind="pictures", grade=0, make=pictures, settings=BRIEF, clean_of=OF_DATA)
    for cause, (kind, grades, make, settings) in _causes().items():
        for grade, amount in enumerate(grades, 1):
            yield Case(
                cause=cause,
                kind=kind,
                grade=grade,
                make=lambda seed, make=make, amount=amount: make(seed, amount),
                settings=settings(amount),
            )


def _causes() -> dict[str, tuple[str, tuple[float, ...], Callable[[int, float], Arrays], Callable[[float], Any]]]:
    """Return for each cause the kind of data, the grades, and from a grade to data and to settings."""

    def plain(seed: int, _: float) -> Arrays:
        return mixture(seed)

    by_heart = GREEDY | {"steps": 240, "validation_fraction": 0.6, "test_fraction": 0.2}
    noisy = SOUND_ON_DIGITS | {"dropout": 0.0, "weight_decay": 0.0}
    noisy |= {"validation_fraction": 0.45, "test_fraction": 0.1}
    return {
        "OVERFIT": ("table", (6, 12, 24), lambda seed, noise: two_classes(seed, noise=int(noise)), lambda _: by_heart),
        "UNDERFIT": ("table", (60, 30, 15), plain, lambda steps: SOUND | {"steps": int(steps)}),
        "LABEL_NOISE": ("digits", (0.2, 0.35, 0.5), mislabeled, lambda _: noisy),
        "NO_SIGNAL": ("table", (0.1, 0.03, 0.0), lambda seed, apart: mixture(seed, apart=apart), lambda _: SOUND),
        "TEST_TOO_SMALL": ("table", (0.1, 0.05, 0.02), plain, lambda share: SHORT | {"test_fraction": share}),
        "UNCALIBRATED": (
            "table",
            (0.2, 0.4, 0.6),
            plain,
            lambda smoothing: SOUND | {"label_smoothing": smoothing, "calibrate": False},
        ),
        "LEAKAGE": ("table", (0.6, 0.85, 1.0), with_leak, lambda _: SHORT),
        "DUPLICATES": ("table", (0.01, 0.05, 0.2), with_copies, lambda _: SHORT),
        "IMBALANCE": ("table", (0.2, 0.1, 0.04), unbalanced, lambda _: SHORT),
        "SHIFT": ("pictures", (4, 10, 30), darker, lambda _: BRIEF),
    }


# ---- data ----


def mixture(seed: int, *, rows: int = 2000, apart: float = 1.0) -> Arrays:
    """Return rows of three overlapping classes, two clusters each, with four columns that mean nothing."""
    rng = np.random.default_rng((seed, 1))
    labels = rng.integers(0, 3, rows)
    centers = rng.standard_normal((3, 2, 6)) * apart
    known = centers[labels, rng.integers(0, 2, rows)] + rng.standard_normal((rows, 6))
    return Arrays(features=np.concatenate([known, rng.standard_normal((rows, 4))], axis=1), labels=labels)


def two_classes(seed: int, *, rows: int = 1000, noise: int) -> Arrays:
    """Return rows of two classes that three columns tell apart a little, with columns that mean nothing."""
    rng = np.random.default_rng((seed, 7))
    labels = rng.integers(0, 2, rows)
    known = 0.5 * (2 * labels - 1)[:, None] + rng.standard_normal((rows, 3))
    return Arrays(features=np.concatenate([known, rng.standard_normal((rows, noise))], axis=1), labels=labels)


def digits(seed: int, *, noise: float = 56.0) -> Arrays:
    """Return digits under so much noise that some are told wrong, with a column for each pixel."""
    data = pictures(seed, noise=noise)
    return Arrays(features=data.features.reshape(len(data.labels), -1).astype(np.float64), labels=data.labels)


def pictures(seed: int, *, noise: float = 56.0) -> Arrays:
    """Return the same as pictures, with a test part drawn at random."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng((seed, 2))
    images, labels = load_digits(return_X_y=True)
    gray = DARKNESS + 8 * images.reshape(-1, 8, 8) + rng.normal(0, noise, (len(images), 8, 8))
    is_test = rng.random(len(labels)) < TEST_SHARE
    return Arrays(features=_bytes(gray), labels=labels.astype(np.int64), is_test=is_test)


def mislabeled(seed: int, share: float) -> Arrays:
    """Return digits under little noise, with a share of the labels drawn anew among the other classes."""
    rng, data = np.random.default_rng((seed, 3)), digits(seed, noise=16)
    moved = rng.random(len(data.labels)) < share
    labels = np.where(moved, (data.labels + rng.integers(1, 10, len(data.labels))) % 10, data.labels)
    return Arrays(features=data.features, labels=labels)


def darker(seed: int, amount: float) -> Arrays:
    """Return digits whose test part was taken in less light."""
    data = pictures(seed)
    gray = data.features.astype(np.float64)
    gray[data.is_test] -= amount
    return Arrays(features=_bytes(gray), labels=data.labels, is_test=data.is_test)


def with_leak(seed: int, share: float) -> Arrays:
    """Return a table with a column that gives the label away in a share of the rows."""
    rng, data = np.random.default_rng((seed, 4)), mixture(seed)
    count = len(data.labels)
    leak = np.where(rng.random(count) < share, data.labels, rng.permutation(data.labels)) + rng.normal(0, 0.1, count)
    return Arrays(features=np.concatenate([data.features, leak[:, None]], axis=1), labels=data.labels)


def with_copies(seed: int, share: float) -> Arrays:
    """Return a table with a share of the rows there twice."""
    rng, data = np.random.default_rng((seed, 5)), mixture(seed)
    twice = rng.permutation(len(data.labels))[: round(share * len(data.labels))]
    rows = np.concatenate([np.arange(len(data.labels)), twice])
    return Arrays(features=data.features[rows], labels=data.labels[rows])


def unbalanced(seed: int, share: float) -> Arrays:
    """Return a table with only a share of the rows of class 0."""
    rng, data = np.random.default_rng((seed, 6)), mixture(seed)
    kept = (data.labels != 0) | (rng.random(len(data.labels)) < share)
    return Arrays(features=data.features[kept], labels=data.labels[kept])


def _bytes(gray: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.round(gray), 0, 255).astype(np.uint8)


# ---- files ----


def write(data: Arrays, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Write a data set as a user has it; return where it is and how it is to be read."""
    if data.features.ndim == 2:
        return _write_table(data, folder / "t.csv"), {"target": "label"}
    for number, (picture, label) in enumerate(zip(data.features, data.labels, strict=True)):
        part = "test" if data.is_test is not None and data.is_test[number] else "train"
        place = folder / "pictures" / part / f"c{label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place / f"{number}.png")
    return folder / "pictures", {}


def _write_table(data: Arrays, path: Path) -> Path:
    names = [*(f"x{index}" for index in range(data.features.shape[1])), "label"]
    rows = zip(data.features, data.labels, strict=True)
    lines = [",".join([*(f"{value:.4f}" for value in row), f"c{label}"]) for row, label in rows]
    path.write_text("\n".join([",".join(names), *lines]) + "\n")
    return path
