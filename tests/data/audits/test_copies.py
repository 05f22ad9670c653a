"""What is called a copy: pictures coded again, resized, lighter or darker; rows equal or rounded. And what is not."""

import io

import numpy as np
import pytest
from PIL import Image

from trimtab.data import Dataset, Table, open_source
from trimtab.data.audits import find_copies
from trimtab.data.audits.pictures import thumbnails


def photographs(count, seed=0):
    """Smooth random pictures with an edge in them, uint8 [N, 32, 32, 3]."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(count, 7, 7, 3)) / (1 + np.add.outer(np.arange(7), np.arange(7)))[:, :, None]
    places = np.cos(np.pi * np.arange(7)[:, None] * (np.arange(32) + 0.5) / 32)
    smooth = np.einsum("nuvc,ux,vy->nxyc", waves, places, places)
    for picture, column in zip(smooth, rng.integers(8, 24, count), strict=True):
        picture[:, column:] += 0.8
    return np.clip(120 + 45 * smooth + rng.normal(scale=3, size=smooth.shape), 0, 255).astype(np.uint8)


def of_images(images):
    labels = np.arange(len(images)) % 2
    return Dataset(
        name="photos",
        kind="image",
        labels=labels,
        class_names=("a", "b"),
        content_hash="c",
        row_names=[str(row) for row in range(len(images))],
        images=images,
    )


def of_table(columns):
    kinds = {name: "number" if values.dtype.kind == "f" else "category" for name, values in columns.items()}
    rows = len(next(iter(columns.values())))
    return Dataset(
        name="rows",
        kind="table",
        labels=np.arange(rows) % 2,
        class_names=("a", "b"),
        content_hash="c",
        row_names=[str(row) for row in range(rows)],
        table=Table(columns=columns, kinds=kinds),
    )


def coded(picture, quality=75):
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content))


def resized(picture, side=24):
    small = Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small.resize(picture.shape[1::-1], Image.Resampling.BILINEAR))


CHANGES = {
    "exact": lambda picture: picture,
    "coded": coded,
    "resized": resized,
    "lighter": lambda picture: np.clip(np.round(picture * 1.05), 0, 255).astype(np.uint8),
    "darker": lambda picture: np.round(picture * 0.95).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_copies_of_pictures_are_found_and_nothing_else(change):
    images = photographs(300)
    copies = np.stack([change(picture) for picture in images[:100]])
    found = find_copies(of_images(np.concatenate([images, copies])))
    assert (found.numbers[300:] == np.arange(100)).mean() >= 0.95
    assert (found.numbers[:300] == np.arange(300)).all()
    assert (found.exact[300:] == np.arange(100)).all() == (change is CHANGES["exact"])


def test_other_pictures_are_no_copies():
    assert not find_copies(of_images(photographs(1000))).is_copied.any()
    assert not find_copies(open_source("digits").load()).is_copied.any()


def test_a_mirrored_or_recolored_picture_is_no_copy():
    images = photographs(50)
    mirrored = find_copies(of_images(np.concatenate([images, images[:, :, ::-1]])))
    recolored = find_copies(of_images(np.concatenate([images, images[..., [2, 0, 1]]])))
    assert not mirrored.is_copied.any()
    assert not recolored.is_copied.any()


def test_of_pictures_without_contrast_only_equal_ones_are_copies():
    images = np.full((6, 16, 16, 1), 200, dtype=np.uint8)
    images += np.arange(6, dtype=np.uint8)[:, None, None, None] % 3
    assert find_copies(of_images(images)).numbers.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_thumbnail_is_the_average_over_areas():
    images = np.arange(2 * 16 * 24, dtype=np.uint8).reshape(2, 16, 24, 1)
    means = images.reshape(2, 8, 2, 8, 3, 1).mean(axis=(2, 4)).reshape(2, -1)
    np.testing.assert_allclose(np.sort(thumbnails(images)), np.sort(means), rtol=1e-5)


def numbers(rows=400, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=rows) for name in "pqr"} | {"s": rng.choice(["x", "y"], rows).astype(object)}


def test_equal_and_rounded_rows_are_copies():
    columns = numbers()
    for name in "pqr":
        columns[name][399] = columns[name][0]
        columns[name][398] = np.float32(columns[name][1])
    columns["s"][[398, 399]] = columns["s"][[1, 0]]
    found = find_copies(of_table(columns))
    assert found.numbers[[399, 398]].tolist() == [0, 1]
    assert np.flatnonzero(found.is_copied).tolist() == [0, 1, 398, 399]
    assert found.exact[[399, 398]].tolist() == [0, 398]


def test_rows_that_differ_in_one_category_are_no_copies():
    columns = {name: np.concatenate([values, values[:50]]) for name, values in numbers().items()}
    columns["s"][400:] = "z"
    assert not find_copies(of_table(columns)).is_copied.any()


def test_missing_values_are_equal_to_each_other():
    columns = {name: np.concatenate([values, values[:5]]) for name, values in numbers().items()}
    columns["p"][[0, 400]] = np.nan
    assert find_copies(of_table(columns)).numbers[400:].tolist() == [0, 1, 2, 3, 4]


def test_rows_equal_by_chance_are_no_copies():
    rng = np.random.default_rng(0)
    found = find_copies(of_table({"age": rng.integers(18, 80, 600).astype(float), "job": rng.choice(["x", "y"], 600)}))
    assert not found.are_meaningful
    assert not found.is_copied.any()
    assert "are expected by chance of columns so coarse" in found.note


def test_columns_that_repeat_one_coarse_column_make_no_copies():
    codes = np.random.default_rng(0).integers(0, 20, 2000)
    found = find_copies(of_table({name: codes.astype(float) * factor for factor, name in enumerate("abcdef", 1)}))
    assert found.note == "equal rows come 100 at a time on average: the columns are too coarse to tell copies"
