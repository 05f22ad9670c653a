"""What each level of augmentation does, and how strongly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

OPERATIONS = ("rotation", "shear", "crop", "brightness", "contrast", "saturation")
"""What a policy may choose from for each picture; the last one only for color pictures."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Which operations, with which strength; each row gets random numbers of its own.

    Attributes
    ----------
    translation
        Share of a side by which pictures are shifted at most, though by no more than 4 pixels.
    flips
        Whether pictures are mirrored left and right, where the recipe allows it.
    cutout
        Share of a picture's area that is covered by a square.
    operations
        How many different ones of `OPERATIONS` are done to each picture, chosen at random (as RandAugment does). The
        amount of each is drawn evenly between nothing and its maximum, in either direction where there are two.
    rotation
        Degrees at most.
    shear
        Pixels across for each pixel down, at most.
    crop
        Share of each side that is cut away at most, before the picture is enlarged to its size again.
    brightness, contrast, saturation
        How far the factor is away from 1 at most.
    noise
        Standard deviation of what is added to the numbers of encoded table rows.
    table_mixup
        Parameter alpha of mixing table rows, where the recipe itself does not mix.

    References
    ----------
    Cubuk et al., RandAugment: Practical automated data augmentation with a reduced search space, NeurIPS 2020.
    """

    translation: float = 0.0
    flips: bool = False
    cutout: float = 0.0
    operations: int = 0
    rotation: float = 0.0
    shear: float = 0.0
    crop: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    noise: float = 0.0
    table_mixup: float = 0.0


_LIGHT = Policy(translation=1 / 16, flips=True, noise=0.1)  # 1 / 8 costs points in a few passes over 32 pixels

LEVELS: Mapping[str, Policy] = {
    "none": Policy(),
    "light": _LIGHT,
    "strong": replace(
        _LIGHT,
        cutout=(3 / 8) ** 2,
        operations=2,
        rotation=20.0,
        shear=0.2,
        crop=0.3,
        brightness=0.4,
        contrast=0.4,
        saturation=0.6,
        table_mixup=0.2,
    ),
}
"""What `trimtab.training.Recipe.augment` means."""


def policy_of(level: str) -> Policy:
    """Return what a level means.

    Raises
    ------
    ValueError
        If there is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"there is no augmentation '{level}'; expected one of {', '.join(LEVELS)}; pick one.")
    return LEVELS[level]
