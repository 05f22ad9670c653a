from typing import Any

import numpy as np
import pytest

from trimtab.data import Dataset, Source, Table
from trimtab.data.dataset import hash_array, hash_dataset, hash_rows, hash_table


def make(**changes: Any) -> Dataset:
    fields: dict[str, Any] = {
        "name": "tiny",
        "kind": "image",
        "labels": np.array([0, 1, 1]),
        "class_names": ("a", "b"),
        "content_hash": "0" * 64,
        "row_names": ["row 1", "row 2", "row 3"],
        "images": np.zeros((3, 2, 2, 1), dtype=np.uint8),
    }
    return Dataset(**{**fields, **changes})


def source(**changes: Any) -> Source:
    fields: dict[str, Any] = {
        "name": "tiny",
        "kind": "image",
        "rows": 3,
        "class_names": ("a", "b"),
        "class_counts": (1, 2),
        "loader": lambda image_size, progress: make(),
    }
    return Source(**{**fields, **changes})


def test_dataset_counts_rows_and_classes() -> None:
    dataset = make()
    assert len(dataset) == 3
    assert dataset.num_classes == 2
    assert dataset.class_counts == (1, 2)


def test_fields_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^the fields have \[2, 3\] rows; expected the same number in each\.$"):
        make(parts=np.zeros(2, dtype=np.int8))


def test_images_and_table_together_are_refused() -> None:
    table = Table(columns={"x": np.zeros(3)}, kinds={"x": "number"})
    with pytest.raises(ValueError, match=r"^images and table are both given or both absent; expected one of them"):
        make(table=table)


def test_hashes_depend_on_features_labels_and_names() -> None:
    labels = np.array([0, 1])
    hashes = {
        hash_dataset("f", labels, ["a", "b"]),
        hash_dataset("g", labels, ["a", "b"]),
        hash_dataset("f", labels[::-1], ["a", "b"]),
        hash_dataset("f", labels, ["a", "c"]),
    }
    assert len(hashes) == 4


def test_hash_of_an_array_depends_on_shape_and_type_not_on_layout() -> None:
    array = np.arange(6).reshape(2, 3)
    assert hash_array(array) == hash_array(np.asfortranarray(array))
    assert hash_array(array) != hash_array(array.reshape(3, 2))
    assert hash_array(array) != hash_array(array.astype(np.float64))


def test_hash_of_some_rows_is_that_of_a_copy_of_them() -> None:
    array = np.random.default_rng(0).integers(0, 256, (700, 3, 2, 1), dtype=np.uint8)
    rows = np.random.default_rng(1).permutation(700)[:600]
    assert hash_rows(array, rows) == hash_array(array[rows])
    assert hash_rows(array, rows[:0]) == hash_array(array[rows[:0]])


def test_hash_of_a_table_depends_on_every_cell() -> None:
    def table(number: float, text: str) -> Table:
        columns = {"x": np.array([0.0, number]), "c": np.array(["a", text], dtype=object)}
        return Table(columns=columns, kinds={"x": "number", "c": "category"})

    hashes = {hash_table(table(1, "b")), hash_table(table(2, "b")), hash_table(table(1, "c"))}
    assert len(hashes) == 3
    assert hash_table(table(1, "b")) == hash_table(table(1, "b"))


def test_load_refuses_a_size_below_one() -> None:
    with pytest.raises(ValueError, match=r"^image_size is 0; expected at least 1 pixel\.$"):
        source().load(image_size=0)


def test_load_needs_a_size_when_pictures_differ() -> None:
    with pytest.raises(ValueError, match=r"^image_size is None but the pictures differ in size; expected a number"):
        source(all_same_size=False).load()
