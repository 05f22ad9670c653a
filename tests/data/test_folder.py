import os
from typing import Any

import numpy as np
import pytest

from trimtab.data import open_source
from trimtab.errors import InputError


def message(path: object, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        open_source(path, **options)
    return str(caught.value)


def test_class_folders_are_classes(make_folder) -> None:
    source = open_source(make_folder({"dog": 4, "cat": 3}))
    assert source.name == "photos"
    assert source.kind == "image"
    assert source.rows == 7
    assert source.class_names == ("cat", "dog")
    assert source.class_counts == (3, 4)
    assert source.median_size == (20, 30)
    assert source.all_same_size
    assert source.channels == 3
    assert source.warnings == ()


def test_loaded_pictures_have_the_asked_size_and_keep_their_names(make_folder) -> None:
    root = make_folder({"dog": 4, "cat": 3})
    dataset = open_source(root).load(image_size=16)
    assert dataset.images is not None
    assert dataset.images.shape == (7, 16, 16, 3)
    assert isinstance(dataset.images, np.memmap)
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert dataset.row_names[3] == "dog/000.png"
    assert dataset.read_original is not None
    assert dataset.read_original(3) == (root / "dog/000.png").read_bytes()


def test_pictures_keep_a_shared_size_without_a_given_one(make_folder) -> None:
    dataset = open_source(make_folder({"dog": 3, "cat": 3})).load()
    assert dataset.images is not None
    assert dataset.images.shape == (6, 20, 30, 3)


def test_gray_pictures_have_one_channel(make_folder, encode) -> None:
    root = make_folder({"a": 0, "b": 0})
    for folder in "ab":
        for number in range(3):
            (root / folder / f"{number}.png").write_bytes(encode("L", seed=number))
    source = open_source(root)
    assert source.channels == 1
    dataset = source.load()
    assert dataset.images is not None
    assert dataset.images.shape == (6, 20, 30, 1)


def test_pictures_may_lie_deeper_in_a_class(make_folder) -> None:
    source = open_source(make_folder({"dog/2024/may": 3, "cat": 3}))
    assert source.class_counts == (3, 3)
    assert source.load().row_names[-1] == "dog/2024/may/002.png"


def test_given_parts_are_kept(make_folder) -> None:
    counts = {"train/a": 4, "train/b": 4, "valid/a": 2, "valid/b": 2, "Test/a": 1, "Test/b": 3}
    dataset = open_source(make_folder(counts)).load()
    assert dataset.class_names == ("a", "b")
    assert dataset.parts is not None
    assert np.bincount(dataset.parts).tolist() == [8, 4, 4]


def test_classes_may_be_named_like_parts(make_folder) -> None:
    source = open_source(make_folder({"train": 3, "bus": 3}))
    assert source.class_names == ("bus", "train")


def test_part_without_class_folders_is_refused(make_folder) -> None:
    root = make_folder({"train": 5, "test": 3})
    assert message(root) == (
        f"{root}/train holds pictures that are not in class folders; expected train/<class>/<picture>; "
        "move the pictures into a folder per class."
    )


def test_empty_part_is_a_warning(make_folder) -> None:
    source = open_source(make_folder({"train/a": 4, "train/b": 4, "test/a": 0}))
    assert source.warnings == (
        "ignored the folders without pictures 'test/a'",
        "'test' has no pictures: that part is taken from the training pictures",
    )


def test_hidden_files_are_not_looked_at_and_others_are_counted(make_folder) -> None:
    root = make_folder({"a": 3, "b": 3, ".thumbnails": 2, "empty": 0})
    (root / "a" / ".DS_Store").write_bytes(b"x")
    (root / "a" / "notes.txt").write_text("x")
    (root / "b" / "raw.heic").write_bytes(b"x")
    source = open_source(root)
    assert source.rows == 6
    assert source.warnings == (
        "ignored 2 files that are not pictures in class folders (.txt: 1, .heic: 1)",
        "ignored the folders without pictures 'empty'",
    )


def test_empty_folder_is_refused(make_folder) -> None:
    root = make_folder({})
    assert message(root) == (
        f"{root} is empty; expected a folder per class with pictures in it; "
        "arrange them as photos/<class>/<picture>; JPEG, PNG, WebP, BMP, GIF and TIFF are read."
    )


def test_folder_of_other_files_is_refused(make_folder) -> None:
    root = make_folder({"docs": 0})
    (root / "docs" / "a.pdf").write_bytes(b"x")
    assert message(root) == (
        f"{root} holds no pictures (only .pdf: 1); expected a folder per class with pictures in it; "
        "arrange them as photos/<class>/<picture>; JPEG, PNG, WebP, BMP, GIF and TIFF are read."
    )


def test_folder_around_a_table_asks_for_the_file(make_folder) -> None:
    root = make_folder({})
    (root / "a.csv").write_text("x,y")
    assert message(root) == (
        f"{root} holds no pictures (only .csv: 1); expected a folder per class with pictures in it; "
        "to use a file in it give the path of that file, else arrange as photos/<class>/<picture>."
    )


def test_pictures_without_class_folders_are_refused(make_folder, encode) -> None:
    root = make_folder({})
    (root / "cat.png").write_bytes(encode())
    assert message(root) == (
        f"the pictures in {root} are not in class folders; expected a folder per class with pictures in it; "
        "arrange them as photos/<class>/<picture>."
    )


def test_one_class_is_refused(make_folder) -> None:
    root = make_folder({"cat": 4})
    assert message(root) == (
        f"{root} has one class only ('cat': 4 rows); expected at least two classes; "
        "add examples of another class, or choose other labels."
    )


def test_class_with_one_example_is_refused(make_folder) -> None:
    root = make_folder({"cat": 4, "dog": 1})
    assert message(root) == (
        f"{root} has too few examples of 'dog' (1); "
        "expected at least 3 of each class, one each for training, validation and test; "
        "add examples, or merge or remove these classes."
    )


def test_folder_around_the_data_is_noticed(make_folder) -> None:
    root = make_folder({"photos/cat": 3, "photos/dog": 3})
    assert message(root) == (
        f"{root} has one class folder only ('photos'), which holds 2 folders; expected at least two class folders; "
        f"did you mean {root}/photos? give that path."
    )


def test_columns_of_a_folder_are_refused(make_folder) -> None:
    root = make_folder({"cat": 3, "dog": 3})
    assert message(root, target="label") == (
        f"{root} has no columns to choose from but --target label was given; "
        "expected these options for tables and Parquet files only; leave them out."
    )


def test_link_to_a_parent_folder_does_not_loop(make_folder) -> None:
    root = make_folder({"cat": 3, "dog": 3})
    (root / "cat" / "again").symlink_to(root / "cat")
    assert open_source(root).class_counts == (3, 3)


def test_file_name_that_is_not_utf8_is_read_and_printable(make_folder, encode) -> None:
    root = make_folder({"a": 3, "b": 3})
    try:
        (root / os.fsdecode(b"a/caf\xe9.png")).write_bytes(encode())
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    dataset = open_source(root).load(image_size=8)
    assert dataset.row_names[3] == "a/caf\ufffd.png"
    assert dataset.read_original is not None
    assert dataset.read_original(3) == encode()


def test_folder_without_permission_is_refused(make_folder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"a": 3, "b/deeper": 3})
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("deeper"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert message(root) == (
        f"the folder {root}/b/deeper cannot be listed (Permission denied); expected a readable folder; "
        "change its permissions."
    )
