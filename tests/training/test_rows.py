import numpy as np
import pytest

from trimtab.training.batches import Batches
from trimtab.training.rows import Rows, channel_statistics


def random_pictures(count: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)


def test_the_network_sees_standardized_channels():
    images = random_pictures()
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)) / 255, rtol=1e-12)
    np.testing.assert_allclose(std, images.std((0, 1, 2)) / 255, rtol=1e-9)
    rows = Rows.of(images, np.zeros(40, np.int64), mean=mean, std=std)
    batch = rows.normalize(rows.inputs)
    assert batch.shape == (40, 3, 6, 6)
    assert batch.dtype == np.float32
    assert batch.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_allclose(batch.mean((0, 2, 3)), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(batch.std((0, 2, 3)), np.ones(3), atol=1e-5)


def test_a_channel_without_variation_does_not_divide_by_zero():
    assert channel_statistics(np.full((2, 3, 3, 1), 51, np.uint8)) == ([0.2], [1.0])


def test_the_mean_color_is_what_the_network_sees_as_zero():
    images = random_pictures()
    mean, std = channel_statistics(images)
    rows = Rows.of(images, np.zeros(40, np.int64), mean=mean, std=std)
    seen = rows.normalize(np.broadcast_to(rows.mean_color, (1, 6, 6, 3)))
    np.testing.assert_allclose(seen, np.zeros((1, 3, 6, 6)), atol=0.51 / 255 / min(std))


def test_there_are_as_many_classes_as_is_said_or_as_the_labels_show():
    table = np.zeros((4, 2), np.float32)
    labels = np.array([0, 2, 1, 0])
    assert Rows.of(table, labels).num_classes == 3
    assert Rows.of(table, labels, num_classes=7).num_classes == 7
    assert Rows.of(table, labels, num_classes=7).first(1).num_classes == 7


def test_mirrored_rows_give_the_network_mirror_images():
    images = random_pictures()
    rows = Rows.of(images, np.arange(40), mean=[0.5] * 3, std=[0.2] * 3)
    plain, mirrored = (np.concatenate(list(each.chunks())) for each in (rows, rows.mirrored()))
    np.testing.assert_array_equal(mirrored, plain[..., ::-1])
    np.testing.assert_array_equal(rows.mirrored().labels, rows.labels)


def test_a_table_has_no_mirror_image():
    rows = Rows.of(np.zeros((4, 2), np.float32), np.zeros(4, np.int64))
    with pytest.raises(ValueError, match=r"inputs are float32 \[4, 2\]; expected pictures, uint8 \[N, H, W, C\]; a ta"):
        rows.mirrored()


@pytest.mark.parametrize(
    ("inputs", "are_pictures"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), True),
        (np.zeros((2, 3, 8, 8), np.float32), False),  # given as the network takes them
        (np.zeros((2, 5), np.float32), False),
    ],
)
def test_pictures_are_known_by_type_and_shape(inputs, are_pictures):
    assert Rows.of(inputs, np.zeros(2, np.int64)).are_pictures == are_pictures


def mapped_pictures(tmp_path, count=700):
    np.save(tmp_path / "images.npy", random_pictures(count))
    return np.load(tmp_path / "images.npy", mmap_mode="r")


@pytest.mark.parametrize("augment", ["none", "light", "strong"])
def test_a_part_by_row_numbers_is_what_a_copy_of_it_would_be(tmp_path, recipe, augment):
    images = mapped_pictures(tmp_path)
    numbers = np.random.default_rng(1).permutation(len(images))[:600]
    labels = numbers % 3
    mean, std = channel_statistics(images, numbers)
    assert (mean, std) == channel_statistics(images[numbers])
    part = Rows.of(images, labels, numbers=numbers, mean=mean, std=std)
    copy = Rows.of(images[numbers], labels, mean=mean, std=std)
    assert len(part) == 600
    settings = recipe(augment=augment, flip=True, cutmix=0.5)
    for step in (0, 9, 40):
        for ours, theirs in zip(Batches(part, settings).at(step), Batches(copy, settings).at(step), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for view in (lambda rows: rows, lambda rows: rows.first(70), lambda rows: rows.mirrored()):
        pairs = zip(view(part).chunks(), view(copy).chunks(), strict=True)
        assert all(np.array_equal(ours, theirs) for ours, theirs in pairs)
    np.testing.assert_array_equal(part.sample(), copy.sample())


def test_pictures_on_disk_stay_there(tmp_path):
    images = mapped_pictures(tmp_path)
    part = Rows.of(images, np.zeros(5, np.int64), numbers=np.arange(5))
    assert np.shares_memory(part.inputs, images)
    assert np.shares_memory(part.first(2).inputs, images)


@pytest.mark.parametrize(("side", "count"), [(32, 512), (64, 256), (128, 64), (256, 16), (3000, 1)])
def test_fewer_rows_go_through_the_network_at_once_where_they_are_large(side, count):
    images = np.broadcast_to(np.zeros((1, 1, 1, 1), np.uint8), (600, side, side, 3))
    rows = Rows(inputs=images, numbers=np.arange(600), labels=np.zeros(600, np.int64), num_classes=2)
    assert rows.rows_at_once == count
