import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trimtab.data import decode_image, open_source, resize_image
from trimtab.errors import InputError


@pytest.fixture
def write(tmp_path: Path, encode) -> Any:
    def write_pictures(
        labels: list[Any], names: list[str] | None = None, *, paths: bool = True, **columns: list[Any]
    ) -> Path:
        pictures = [
            {"bytes": encode(seed=row), **({"path": f"p/{row}.png"} if paths else {})} for row in range(len(labels))
        ]
        table = pa.table({"image": pictures, "label": labels, **columns})
        if names is not None:
            features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        path = tmp_path / "pets.parquet"
        pq.write_table(table, path, row_group_size=4)
        return path

    return write_pictures


def message(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_source(path, **options)
    return str(caught.value)


def test_class_names_and_their_order_come_from_the_metadata(write) -> None:
    source = open_source(write([0, 1, 1, 0, 1, 0, 0], names=["zebra", "ant"]))
    assert source.name == "pets"
    assert source.kind == "image"
    assert source.class_names == ("zebra", "ant")
    assert source.class_counts == (4, 3)
    assert source.median_size == (20, 30)


def test_class_names_are_values_without_metadata(write) -> None:
    assert open_source(write(["b", "a", "b", "a", "a", "b"])).class_names == ("a", "b")


def test_pictures_are_decoded_in_row_order_across_row_groups(write) -> None:
    dataset = open_source(write([0, 1] * 5, names=["a", "b"])).load(image_size=8)
    assert dataset.images is not None
    assert dataset.read_original is not None
    assert dataset.row_names[9] == "p/9.png"
    for row in (9, 0, 4, 5):
        content = dataset.read_original(row)
        assert isinstance(content, bytes)
        assert (dataset.images[row] == resize_image(decode_image(content, channels=3), 8)).all()


def test_rows_are_named_by_number_without_paths(write) -> None:
    assert open_source(write([0, 1] * 3, paths=False)).load(image_size=8).row_names[0] == "row 1"


def test_rows_without_label_are_dropped(write) -> None:
    dataset = open_source(write([-1, 1, 0, None, 1, 0, 1, 0], names=["a", "b"])).load(image_size=8)
    assert dataset.row_names == [f"p/{row}.png" for row in (1, 2, 4, 5, 6, 7)]
    assert dataset.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert dataset.warnings == ("dropped 2 of 8 rows: the column 'label' of pets.parquet has no label there",)
    assert dataset.read_original is not None
    assert (dataset.images[0] == resize_image(decode_image(dataset.read_original(0), channels=3), 8)).all()


def test_class_number_without_a_name_is_refused(write) -> None:
    assert message(write([0, 1, 2], names=["a", "b"])) == (
        "the column 'label' of pets.parquet holds the class number 2; "
        "expected 0 to 1, for the 2 class names in the file, or -1 for no label; "
        "write the file again with all class names."
    )


def test_other_label_and_group_columns_can_be_chosen(write) -> None:
    path = write([0] * 6, kind=["x", "y"] * 3, animal=["p", "p", "q", "q", None, None])
    dataset = open_source(path, target="kind", group="animal").load(image_size=8)
    assert dataset.class_names == ("x", "y")
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [0, 0, 1, 1, 2, 3]


def test_misspelt_target_is_refused_with_the_nearest_name(write) -> None:
    assert message(write([0, 1] * 3), target="lable") == (
        "the column 'lable' is not in pets.parquet; expected its only column as --target; "
        "did you mean 'label'? pass --target label."
    )


def test_picture_without_bytes_is_unreadable_by_name(tmp_path: Path, encode) -> None:
    pictures = [{"bytes": None if row == 2 else encode(seed=row), "path": f"{row}.png"} for row in range(8)]
    pq.write_table(pa.table({"image": pictures, "label": [0, 1] * 4}), tmp_path / "pets.parquet")
    assert message(tmp_path / "pets.parquet") == (
        "1 of 8 pictures in pets.parquet cannot be read: 2.png (the file holds no bytes for it); "
        "expected at most 1%; replace or remove them, or leave them out with --skip-unreadable."
    )


def test_same_file_gives_the_same_content_hash(write) -> None:
    path = write([0, 1] * 3)
    assert open_source(path).load(image_size=8).content_hash == open_source(path).load(image_size=8).content_hash


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pets.parquet").write_bytes(b"PAR1 noise")
    text = message(tmp_path / "pets.parquet")
    assert text.startswith("pets.parquet cannot be read (")
    assert text.endswith("); expected a Parquet file; write or copy it again.")
