from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.data import open_source
from trimtab.errors import InputError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (8, 5, 6, 3), dtype=np.uint8)
LABELS = np.array([0, 1] * 4)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_arrays(**arrays: Any) -> Path:
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return write_arrays


def message(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_source(path, **options)
    return str(caught.value)


def test_two_dimensions_are_a_table_of_numbers(write) -> None:
    features = RNG.normal(size=(8, 2))
    features[0, 1] = np.nan
    dataset = open_source(write(X=features, y=LABELS)).load()
    assert dataset.kind == "table"
    assert dataset.table is not None
    assert list(dataset.table.columns) == ["x0", "x1"]
    assert np.array_equal(dataset.table.columns["x1"], features[:, 1], equal_nan=True)
    assert dataset.read_original is None


@pytest.mark.parametrize(
    ("features", "channels"),
    [
        (PIXELS, 3),
        (PIXELS[..., :1], 1),
        (PIXELS[..., 0], 1),
        (PIXELS.astype(np.int64), 3),
        (PIXELS / 255, 3),
        ((PIXELS / 255).astype(np.float32), 3),
    ],
)
def test_pictures_in_every_form_are_the_same_pixels(write, features: Any, channels: int) -> None:
    source = open_source(write(X=features, y=LABELS))
    dataset = source.load()
    assert (source.kind, source.median_size, source.channels) == ("image", (5, 6), channels)
    assert dataset.images is not None
    assert dataset.images.dtype == np.uint8
    assert (dataset.images == PIXELS[..., :channels]).all()


def test_pictures_are_squashed_to_the_asked_size(write) -> None:
    images = open_source(write(X=PIXELS, y=LABELS)).load(image_size=4).images
    assert images is not None
    assert images.shape == (8, 4, 4, 3)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS, ("0", "1")),
        (LABELS.astype(float), ("0", "1")),
        (LABELS[:, None], ("0", "1")),
        (LABELS.astype(bool), ("false", "true")),
        (np.array(["b", "a"] * 4), ("a", "b")),
    ],
)
def test_labels_may_be_numbers_or_text(write, labels: Any, names: tuple[str, ...]) -> None:
    assert open_source(write(X=PIXELS, y=labels)).class_names == names


def test_rows_without_label_are_dropped(write) -> None:
    labels = np.array([0, 1, np.nan, 1, 0, 1, 0, 1])
    dataset = open_source(write(X=PIXELS, y=labels)).load()
    assert dataset.images is not None
    assert (dataset.images == np.delete(PIXELS, 2, axis=0)).all()
    assert dataset.row_names[2] == "row 4"


def test_labels_and_groups_may_have_other_names(write) -> None:
    path = write(X=PIXELS, kind=LABELS, who=np.array(list("aabbccdd")))
    dataset = open_source(path, target="kind", group="who").load()
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_file_without_labels_is_refused(write) -> None:
    assert message(write(X=PIXELS, Y=LABELS)) == (
        "data.npz has no array 'y' (it has 'X', 'Y'); expected X, and y or the name given as --target; "
        "did you mean 'Y'? write it with numpy.savez(file, X=..., y=...)."
    )


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, X=PIXELS, y=np.array([0, "a"] * 4, dtype=object), allow_pickle=True)
    assert message(path) == (
        "'y' of data.npz holds Python objects, which would have to be unpickled; "
        "expected an array of numbers or text; convert it, for example with y.astype(str) or y.astype(float)."
    )


def test_lengths_that_differ_are_refused(write) -> None:
    assert message(write(X=PIXELS, y=LABELS[:5])) == (
        "'y' of data.npz has 5 rows and 'X' 8; expected the same number of rows; "
        "write the file again with one label per row."
    )


def test_scalar_labels_are_refused(write) -> None:
    assert message(write(X=PIXELS, y=np.array(3))) == (
        "'y' of data.npz has shape () and type int64; expected one whole number or text per row; "
        "write one class per row."
    )


def test_one_hot_labels_are_refused(write) -> None:
    assert message(write(X=PIXELS, y=np.eye(8))) == (
        "'y' of data.npz has shape (8, 8) and type float64; expected one whole number or text per row; "
        "write one class per row."
    )


def test_channels_first_are_refused_with_the_remedy(write) -> None:
    assert message(write(X=PIXELS.transpose(0, 3, 1, 2), y=LABELS)) == (
        "'X' of data.npz has shape (8, 3, 5, 6); "
        "expected [rows, features], [rows, height, width] or [rows, height, width, 1 or 3 channels]; "
        "move the channels last with X.transpose(0, 2, 3, 1)."
    )


def test_pixels_out_of_range_are_refused(write) -> None:
    features = PIXELS.astype(float)
    features[0, 0, 0, 0], features[0, 0, 0, 1] = 0, 255
    assert message(write(X=features, y=LABELS)) == (
        "'X' of data.npz has float64 values from 0.0 to 255.0; "
        "expected pictures as whole numbers in 0..255 or fractions in 0..1; scale it and write it as uint8."
    )


def test_infinite_features_are_refused(write) -> None:
    features = RNG.normal(size=(8, 2))
    features[3, 1] = np.inf
    assert message(write(X=features, y=LABELS)) == (
        "the column 'x1' of data.npz has 1 infinite value (the first in row 4); "
        "expected finite numbers below 1e30, or empty cells where a value is missing; correct these cells or empty "
        "them."
    )


def test_text_features_are_refused(write) -> None:
    assert message(write(X=np.array([["a", "b"]] * 8), y=LABELS)) == (
        "'X' of data.npz has type <U1; expected real numbers; convert it."
    )


@pytest.mark.parametrize("content", [b"", b"noise", b"PK\x03\x04noise"])
def test_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    text = message(path)
    assert text.startswith("data.npz cannot be read (")
    assert text.endswith("); expected an .npz file with X and y; write it with numpy.savez.")
