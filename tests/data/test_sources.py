import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.data import open_source
from trimtab.errors import InputError

EXPECTED = "a folder of class folders, a .csv, .parquet or .npz file, or one of breast_cancer, digits, wine"


def message(path: object, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_source(path, **options)
    return str(caught.value)


def test_digits_are_small_gray_pictures() -> None:
    source = open_source("digits")
    dataset = source.load()
    assert (source.kind, source.rows, source.median_size, source.channels) == ("image", 1797, (8, 8), 1)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.images is not None
    assert dataset.images.shape == (1797, 8, 8, 1)
    assert dataset.images.max() == 255
    assert open_source("digits").load().content_hash == dataset.content_hash


@pytest.mark.parametrize(
    ("name", "rows", "columns", "classes"),
    [
        ("breast_cancer", 569, 30, ("malignant", "benign")),
        ("wine", 178, 13, ("class_0", "class_1", "class_2")),
    ],
)
def test_built_in_tables_keep_their_names(name: str, rows: int, columns: int, classes: tuple[str, ...]) -> None:
    source = open_source(name)
    dataset = source.load()
    assert (source.kind, source.rows, source.columns, source.class_names) == ("table", rows, columns, classes)
    assert dataset.table is not None
    assert set(dataset.table.kinds.values()) == {"number"}


def test_missing_path_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert message(tmp_path / "photso") == (
        f"there is no '{tmp_path}/photso'; expected {EXPECTED}; did you mean '{tmp_path}/photos'? check the path."
    )


def test_misspelt_built_in_name_is_suggested() -> None:
    assert message("digit") == (f"there is no 'digit'; expected {EXPECTED}; did you mean 'digits'? check the path.")


def test_empty_path_is_refused() -> None:
    assert message("") == f"there is no ''; expected {EXPECTED}; check the path."


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"x")
    assert message(tmp_path / "a.xlsx") == (
        f"{tmp_path}/a.xlsx is a file of an unknown kind (.xlsx); expected {EXPECTED}; convert it to one of these."
    )


def test_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"x")
    assert message(tmp_path / "a.zip").endswith("; unpack it and give the folder.")


def test_columns_of_a_built_in_set_are_refused() -> None:
    assert message("digits", target="y", group="g") == (
        "digits has no columns to choose from but --target y and --group g was given; "
        "expected these options for tables and Parquet files only; leave them out."
    )


def test_folder_named_like_a_built_in_set_is_mentioned(
    tmp_path: Path, make_folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder({"a": 3, "b": 3}).rename(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert open_source("digits").warnings[0] == (
        "'digits' is the built-in set; for what is here under that name write ./digits"
    )
    assert open_source("./digits").rows == 6
    assert open_source(Path("digits")).rows == 6


def test_name_is_fit_for_a_folder(tmp_path: Path, make_folder) -> None:
    root = make_folder({"a": 3, "b": 3}).rename(tmp_path / "my pets (2024)")
    assert open_source(root).name == "my-pets-2024"


def test_room_works_without_torch_and_loads_nothing_heavy() -> None:
    heavy = ["torch", "sklearn", "pyarrow", "PIL", "tqdm", "pandas", "matplotlib"]
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'torch':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import trimtab.data as data\n"
        f"print([name for name in {heavy[1:]} if name in sys.modules])\n"
        "dataset = data.open_source('wine').load()\n"
        "split = data.make_split(dataset, validation_fraction=0.2, test_fraction=0.2, seed=0)\n"
        "encoder = data.TableEncoder.fit(dataset.table, split.train)\n"
        "print(encoder.encode(dataset.table).shape[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split("\n")[:2] == ["[]", "178"]


def test_arrays_and_folders_give_the_same_kind_of_dataset(make_folder, tmp_path: Path) -> None:
    from_folder = open_source(make_folder({"a": 3, "b": 3})).load()
    np.savez(tmp_path / "same.npz", X=np.asarray(from_folder.images), y=np.array(list("aaabbb")))
    from_arrays = open_source(tmp_path / "same.npz").load()
    assert from_arrays.class_names == from_folder.class_names
    assert (np.asarray(from_arrays.images) == np.asarray(from_folder.images)).all()


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "~nobody-of-that-name/x"])
def test_impossible_path_is_refused_like_a_missing_one(path: str) -> None:
    assert message(path) == f"there is no '{path}'; expected {EXPECTED}; check the path."
