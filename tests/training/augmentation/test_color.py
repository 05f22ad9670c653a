import numpy as np
import pytest

from trimtab.training.augmentation.color import recolor

LUMA = np.array([0.299, 0.587, 0.114])


def pictures(count: int = 6, channels: int = 3, *, low: int = 60, high: int = 180) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, (count, 8, 7, channels), dtype=np.uint8)


def changed(given: np.ndarray, *, brightness: float = 1, contrast: float = 1, saturation: float = 1) -> np.ndarray:
    return recolor(given, *(np.full(len(given), factor) for factor in (brightness, contrast, saturation)))


@pytest.mark.parametrize("channels", [1, 3])
def test_factors_of_one_change_nothing(channels):
    given = pictures(channels=channels, low=0, high=256)
    np.testing.assert_array_equal(changed(given), given)


def test_brightness_multiplies_every_value():
    given = pictures()
    np.testing.assert_allclose(changed(given, brightness=1.25), 1.25 * given, atol=0.51)


def test_contrast_stretches_values_away_from_the_mean_grey():
    given = pictures()
    mean = (given @ LUMA).mean(axis=(1, 2))[:, None, None, None]
    np.testing.assert_allclose(changed(given, contrast=1.3), mean + 1.3 * (given - mean), atol=0.52)


def test_no_contrast_is_one_grey():
    given = pictures()
    flat = changed(given, contrast=0)
    assert (flat == flat[:, :1, :1, :1]).all()


def test_no_saturation_is_the_grey_of_each_pixel():
    given = pictures()
    np.testing.assert_allclose(changed(given, saturation=0), (given @ LUMA)[..., None].repeat(3, axis=3), atol=0.51)


def test_saturation_keeps_how_bright_pixels_look():
    given = pictures(low=100, high=140)
    vivid = changed(given, saturation=1.8)
    np.testing.assert_allclose(vivid @ LUMA, given @ LUMA, atol=0.6)
    assert np.ptp(vivid, axis=3).mean() > 1.7 * np.ptp(given, axis=3).mean()


def test_all_three_are_one_after_the_other():
    given = pictures(low=100, high=130)
    together = changed(given, brightness=1.1, contrast=0.8, saturation=1.4)
    in_turn = changed(changed(changed(given, brightness=1.1), contrast=0.8), saturation=1.4)
    np.testing.assert_allclose(together.astype(int), in_turn.astype(int), atol=2)  # each rounds


def test_values_stay_within_the_range_of_their_type():
    given = pictures(low=0, high=256)
    bright, dark = changed(given, brightness=3), changed(given, brightness=1.5, contrast=2)
    assert bright.dtype == dark.dtype == np.uint8
    np.testing.assert_array_equal(bright[given > 85], 255)
    assert (dark[given < 20] == 0).all()


def test_each_picture_has_its_own_factors():
    given = pictures(40)
    factors = np.linspace(0.5, 1.3, 40)
    ones = np.ones(40)
    np.testing.assert_allclose(
        recolor(given, factors, ones, ones), factors[:, None, None, None] * given.astype(float), atol=0.51
    )


def test_grey_pictures_have_no_saturation_to_change():
    given = pictures(channels=1)
    np.testing.assert_array_equal(changed(given, saturation=0.2), given)
