"""What a policy does to the pictures of a batch, whichever of them are wanted."""

import numpy as np
import pytest

from trimtab.training.augmentation import LEVELS, OPERATIONS, Policy, pictures
from trimtab.training.augmentation.geometry import shift
from trimtab.training.augmentation.pictures import augment_pictures, draw_amounts, operate

FILL = np.array([1, 2, 3], np.uint8)
STRONG = LEVELS["strong"]


def noise(count: int, size: int = 16, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def augmented(inputs: np.ndarray, policy: Policy, *, members=..., mirrored: bool = False, seed: int = 0) -> np.ndarray:
    count = len(inputs)
    return augment_pictures(
        inputs,
        np.arange(count),
        np.arange(count)[members],
        policy=policy,
        is_mirrored=np.full(count, mirrored),
        fill=FILL[: inputs.shape[3]],
        random=np.random.default_rng(seed),
    )


def test_the_policy_of_nothing_changes_nothing():
    inputs = noise(20)
    np.testing.assert_array_equal(augmented(inputs, Policy()), inputs)


@pytest.mark.parametrize("level", ["light", "strong"])
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_type_are_kept_and_the_given_pictures_too(level, channels):
    inputs = noise(20, channels=channels)
    before = inputs.copy()
    result = augmented(inputs, LEVELS[level])
    assert (result.dtype, result.shape) == (np.uint8, inputs.shape)
    assert (result != inputs).any(axis=(1, 2, 3)).mean() > 0.8
    np.testing.assert_array_equal(inputs, before)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("part", [slice(0, 5), slice(5, 24), slice(23, 24), slice(1, 20, 3)])
def test_a_part_of_a_batch_is_that_of_the_whole(level, part):
    inputs = noise(24)
    whole = augmented(inputs, LEVELS[level])
    np.testing.assert_array_equal(augmented(inputs, LEVELS[level], members=part), whole[part])


def test_the_pixels_of_rows_that_are_not_wanted_are_not_touched(monkeypatch):
    touched = []
    monkeypatch.setattr(
        pictures, "shift", lambda inputs, rows, *moves: touched.extend(rows) or shift(inputs, rows, *moves)
    )
    augmented(noise(24), STRONG, members=slice(5, 8))
    assert touched == [5, 6, 7]


def test_light_shifts_go_a_pixel_each_way_on_eight_and_hold_only_pixels_of_the_picture():
    picture = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1).repeat(300, axis=0)
    out = augmented(picture, LEVELS["light"])
    centers = np.unique(out[:, 3, 3, 0]).tolist()
    assert centers == [18, 19, 20, 26, 27, 28, 34, 35, 36]  # one pixel at most, each way, on 8 x 8
    assert len({entry.tobytes() for entry in out}) == 9


def test_each_picture_is_mirrored_as_it_is_told():
    inputs = noise(10)
    np.testing.assert_array_equal(augmented(inputs, Policy(), mirrored=True), inputs[:, :, ::-1])


def test_a_hole_has_the_area_of_the_policy_and_lies_anywhere():
    inputs = np.zeros((600, 16, 16, 3), np.uint8)
    out = augmented(inputs, Policy(cutout=(3 / 8) ** 2))
    is_cut = (out == FILL).all(axis=3)
    np.testing.assert_array_equal(is_cut.mean(axis=(1, 2)), (6 / 16) ** 2)
    assert is_cut.any(axis=0).all()
    assert len({entry.tobytes() for entry in is_cut}) > 90  # of 121 places


def test_each_picture_gets_the_number_of_operations_that_the_policy_says():
    amounts = draw_amounts(STRONG, 500, 3, np.random.default_rng(0))
    np.testing.assert_array_equal((amounts != 0).sum(axis=1), 2)
    assert ((amounts != 0).mean(axis=0) > 0.25).all()  # a third each


def test_amounts_fill_their_range_and_do_not_leave_it():
    amounts = draw_amounts(STRONG, 3000, 3, np.random.default_rng(0))
    maxima = np.array([getattr(STRONG, name) for name in OPERATIONS])
    np.testing.assert_array_less(np.abs(amounts).max(axis=0), maxima)
    np.testing.assert_array_less(0.95 * maxima, amounts.max(axis=0))
    np.testing.assert_array_less(amounts.min(axis=0), -0.95 * maxima)


def test_grey_pictures_are_not_given_operations_on_color():
    amounts = draw_amounts(STRONG, 500, 1, np.random.default_rng(0))
    assert amounts.shape == (500, len(OPERATIONS))
    assert not amounts[:, OPERATIONS.index("saturation")].any()
    np.testing.assert_array_equal((amounts != 0).sum(axis=1), 2)


def only(name: str, amount: float) -> np.ndarray:
    amounts = np.zeros((1, len(OPERATIONS)))
    amounts[0, OPERATIONS.index(name)] = amount
    return amounts


@pytest.mark.parametrize(
    ("name", "amount", "seen", "expected"),
    [
        ("rotation", 90.0, lambda picture: picture, np.rot90),
        ("shear", 1.0, lambda picture: picture[6, 2:], lambda picture: picture[6, :-2]),
        ("crop", -0.5, lambda picture: picture[::2, ::2], lambda picture: picture[:5, :5]),
        ("brightness", -0.5, lambda picture: picture, lambda picture: (picture / 2 + 0.5).astype(np.uint8)),
        ("contrast", -1.0, lambda picture: np.ptp(picture), lambda picture: 0),
        ("saturation", -1.0, lambda picture: np.ptp(picture, axis=2), lambda picture: np.zeros((9, 9))),
    ],
)
def test_an_amount_is_in_the_units_of_the_policy(name, amount, seen, expected):
    batch = noise(1, size=9)
    before = batch[0].copy()
    operate(batch, only(name, amount), np.array([[-1.0, -1.0]]))
    np.testing.assert_array_equal(seen(batch[0]), expected(before))
