from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trimtab.artifact import Artifact
from trimtab.data.images import decode_image, resize_image
from trimtab.deployment import Predictor, load
from trimtab.errors import InputError


@pytest.fixture(scope="module")
def pets(bundle_of: Callable[[Artifact], Path], image_artifact: Artifact) -> Predictor:
    return load(bundle_of(image_artifact))


@pytest.fixture(scope="module")
def gray_pets(bundle_of: Callable[[Artifact], Path], gray_artifact: Artifact) -> Predictor:
    return load(bundle_of(gray_artifact))


@pytest.fixture(scope="module")
def people(bundle_of: Callable[[Artifact], Path], table_artifact: Artifact) -> Predictor:
    return load(str(bundle_of(table_artifact)))


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def encode(image: np.ndarray, kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, format=kind)
    return file.getvalue()


def test_pictures_of_the_networks_size_give_torchs_probabilities(
    pets: Predictor, image_artifact: Artifact, oracle: Any
) -> None:
    images = random_images(130, 12, 12, 3)  # more than one batch
    expected = oracle.run_torch(
        oracle.make_network("cnn", image_artifact.kwargs), oracle.normalize(images, oracle.image_meta)
    )
    np.testing.assert_allclose(pets.predict_proba(images), expected, atol=1e-5)
    assert pets.predict(images) == [pets.class_names[index] for index in expected.argmax(axis=1)]


def test_every_form_of_a_picture_gives_the_same_probabilities(pets: Predictor, tmp_path: Path) -> None:
    image = random_images(30, 17, 3)
    path = tmp_path / "a.png"
    path.write_bytes(encode(image))
    expected = pets.predict_proba(image)
    assert expected.shape == (1, 3)
    forms: list[Any] = [image[None], [image], [image[None][0]], path, str(path), [str(path)], (path,)]
    forms += [tmp_path.glob("*.png"), encode(image), [bytearray(encode(image))], [memoryview(encode(image))]]
    for form in forms:
        np.testing.assert_array_equal(pets.predict_proba(form), expected)


def test_mixed_sizes_and_forms_keep_their_order(pets: Predictor, tmp_path: Path) -> None:
    images = [random_images(8 + index, 40 - index, 3) for index in range(9)]
    (tmp_path / "x.png").write_bytes(encode(images[4]))
    data: list[Any] = [*images[:4], tmp_path / "x.png", *[encode(image) for image in images[5:]]]
    expected = np.concatenate([pets.predict_proba(image) for image in images])
    np.testing.assert_allclose(pets.predict_proba(data), expected, atol=1e-6)


def test_large_jpeg_is_decoded_as_for_training(pets: Predictor) -> None:
    content = encode(np.kron(random_images(6, 9, 3), np.ones((60, 60, 1), np.uint8)), "JPEG")
    seen_in_training = resize_image(decode_image(content, channels=3, near=12), 12)
    np.testing.assert_array_equal(pets.predict_proba(content), pets.predict_proba(seen_in_training))


def test_gray_pictures_need_no_channel_axis(gray_pets: Predictor) -> None:
    images = random_images(4, 15, 11, 1)
    expected = gray_pets.predict_proba(images)
    assert expected.shape == (4, 3)
    np.testing.assert_array_equal(gray_pets.predict_proba(images[..., 0]), expected)
    np.testing.assert_array_equal(gray_pets.predict_proba(images[1, :, :, 0]), expected[1:2])
    np.testing.assert_array_equal(gray_pets.predict_proba(images[1]), expected[1:2])
    np.testing.assert_array_equal(gray_pets.predict_proba([images[1, :, :, 0], images[2]]), expected[1:3])


def test_feeds_are_what_the_model_file_takes(pets: Predictor, people: Predictor, oracle: Any) -> None:
    batches = list(pets.feeds(random_images(70, 20, 20, 3)))
    assert [feeds["image"].shape for feeds in batches] == [(64, 12, 12, 3), (6, 12, 12, 3)]
    (feeds,) = people.feeds(oracle.make_table(5))
    assert {name: (str(array.dtype), array.shape) for name, array in feeds.items()} == {
        entry["name"]: ("float32" if entry["dtype"] == "float32" else "object", (5, 1))
        for entry in people.manifest["inputs"]
    }


def test_nothing_gives_no_probabilities(pets: Predictor, people: Predictor) -> None:
    assert pets.predict_proba([]).shape == (0, 3)
    assert pets.predict_proba(random_images(0, 12, 12, 3)).shape == (0, 3)
    assert people.predict_proba([]).shape == (0, 2)
    assert people.predict([]) == []


@pytest.mark.parametrize(
    ("data", "given"),
    [
        (np.zeros((2, 12, 12, 3), np.float32), "the array is float32 [2, 12, 12, 3]"),
        (np.zeros((12, 12), np.uint8), "the array is uint8 [12, 12]"),
        (np.zeros((2, 12, 12, 1), np.uint8), "the array is uint8 [2, 12, 12, 1]"),
        (np.zeros((1, 2, 12, 12, 3), np.uint8), "the array is uint8 [1, 2, 12, 12, 3]"),
        (np.zeros((0, 12, 3), np.uint8), "the array is uint8 [0, 12, 3]"),
        ([np.zeros((12, 12, 3), np.uint8), np.zeros((12, 12, 4), np.uint8)], "picture 2 is uint8 [12, 12, 4]"),
        ([np.zeros((1, 12, 12, 3), np.uint8)], "picture 1 is uint8 [1, 12, 12, 3]"),
        ([b"", 7], "picture 2 is of the type int"),
        (7, "the data are of the type int"),
        ({"image": 1}, "the data are of the type dict"),
    ],
)
def test_what_is_no_picture_is_named(data: Any, given: str, pets: Predictor) -> None:
    if isinstance(data, list) and isinstance(data[0], bytes):
        data = [encode(random_images(5, 5, 3)), *data[1:]]
    with pytest.raises(InputError) as caught:
        pets.predict_proba(data)
    assert str(caught.value) == (
        f"{given}; expected uint8 [N, H, W, 3] or [H, W, 3], file names or encoded files; "
        "convert the pictures or give their files."
    )


def test_wrong_array_for_a_gray_model_is_named(gray_pets: Predictor) -> None:
    with pytest.raises(InputError) as caught:
        gray_pets.predict_proba(np.zeros((2, 12, 12, 3), np.uint8))
    assert str(caught.value) == (
        "the array is uint8 [2, 12, 12, 3]; expected uint8 [N, H, W, 1] or [H, W, 1] (or without the 1), file names or "
        "encoded files; convert the pictures or give their files."
    )


def test_missing_and_unreadable_files_are_named(pets: Predictor, tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no.png", "no such file or directory"), (tmp_path, "is a directory")):
        with pytest.raises(InputError) as caught:
            pets.predict_proba([path])
        assert str(caught.value) == (
            f"the picture {path} cannot be opened ({reason}); expected the name of a picture file; check the name."
        )
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=f"the picture {tmp_path / 'text.png'} cannot be read"):
        pets.predict_proba(tmp_path / "text.png")
    with pytest.raises(InputError, match="the picture number 1 cannot be read"):
        pets.predict_proba(b"no picture")


def test_table_gives_torchs_probabilities(people: Predictor, table_artifact: Artifact, oracle: Any) -> None:
    table = oracle.make_table(5000)  # more than one batch
    network = oracle.make_network("mlp", table_artifact.kwargs)
    expected = oracle.run_torch(network, oracle.encoder.encode(table))
    np.testing.assert_allclose(people.predict_proba(table), expected, atol=1e-5)


ROWS = [
    {"job": "cook", "age": "41", "time stamp": 1.65e9, "/path": "", "probabilities": "low", "rare": "a", "constant": 1},
    {
        "job": "smith",
        "age": None,
        "time stamp": 1.62e9,
        "/path": -1,
        "probabilities": "high",
        "rare": "b",
        "constant": 1,
    },
]


class FakeFrame:
    """What pandas and PyArrow tables have in common with ours."""

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return [dict(row) for row in ROWS]


def test_every_form_of_rows_gives_the_same_probabilities(people: Predictor, tmp_path: Path) -> None:
    expected, warnings = people.predict_proba_with_warnings(ROWS)
    assert expected.shape == (2, 2)
    assert warnings == ("the values 'a', 'b' of 'rare' were not seen in training, or too rarely to count",)
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    lines = [",".join(f'"{name}"' for name in ROWS[0])]
    lines += [",".join("" if value is None else str(value) for value in row.values()) for row in ROWS]
    (tmp_path / "rows.csv").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    arrow = SimpleNamespace(to_pylist=lambda: ROWS)
    for form in (tuple(ROWS), columns, FakeFrame(), arrow, tmp_path / "rows.csv", str(tmp_path / "rows.csv")):
        np.testing.assert_array_equal(people.predict_proba(form), expected)
    np.testing.assert_allclose(people.predict_proba(ROWS[1]), expected[1:], atol=1e-6)


def test_parquet_rows_are_read(people: Predictor, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    rows = [{**row, "age": 41.0, "/path": -1.0} for row in ROWS]
    write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    np.testing.assert_array_equal(people.predict_proba(tmp_path / "rows.parquet"), people.predict_proba(rows))
    np.testing.assert_array_equal(people.predict_proba(pyarrow.Table.from_pylist(rows)), people.predict_proba(rows))


def test_unseen_value_and_missing_column_are_answered_with_warnings(people: Predictor) -> None:
    row = {name: value for name, value in ROWS[0].items() if name != "age"} | {"job": "astronaut", "rare": ""}
    probabilities, warnings = people.predict_proba_with_warnings(row)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert warnings == (
        "the column 'age' is missing in 1 of 1 rows: treated as a missing value",
        "the value 'astronaut' of 'job' was not seen in training, or too rarely to count",
    )


def test_text_that_is_no_unicode_counts_as_unseen(people: Predictor) -> None:
    row = ROWS[0] | {"job": "\ud800"}
    np.testing.assert_array_equal(people.predict_proba([row]), people.predict_proba([row | {"job": "astronaut"}]))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_separator_is_read_off_the_header(separator: str, people: Predictor, tmp_path: Path) -> None:
    lines = [["job", "age", ""], ["cook", "4.5", "x, y"], ["smith", "", ""]]
    (tmp_path / "rows.csv").write_text("\n".join(separator.join(line) for line in lines))
    expected = people.predict_proba([{"job": "cook", "age": 4.5}, {"job": "smith"}])
    probabilities, warnings = people.predict_proba_with_warnings(tmp_path / "rows.csv")
    np.testing.assert_array_equal(probabilities, expected)
    assert "ignored the unknown column 'column 3'" in warnings


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "", "it is empty"),
        ("a.csv", "job,age\ncook,3,4\n", "line 2 has 3 cells, the header 2"),
        ("a.csv", 'job,age\n"cook,3\n', "line 2 has 1 cells, the header 2"),
        ("gone.csv", None, "No such file or directory"),
    ],
)
def test_table_file_that_cannot_be_read_is_named(
    name: str, content: str | None, reason: str, people: Predictor, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        people.predict_proba(tmp_path / name)
    assert str(caught.value) == (
        f"the table {tmp_path / name} cannot be read ({reason}); expected a readable CSV or Parquet file; "
        "check the file."
    )


def test_parquet_file_that_is_none_is_named(people: Predictor, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("no table")
    with pytest.raises(InputError, match=f"^the table {tmp_path / 'a.parquet'} cannot be read \\("):
        people.predict_proba(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            7,
            "the data are of the type int; expected a list of rows, each a mapping from column to value, or the name "
            'of a CSV or Parquet file; give [{"column": value, ...}, ...].',
        ),
        (
            "rows.txt",
            "the file rows.txt does not end in .csv or .parquet; expected a CSV or Parquet file; convert or rename it.",
        ),
        (
            {"age": [1, 2], "job": ["cook"]},
            "the column 'job' has 1 values and 'age' has 2; expected one value per row in every column; "
            "give None where a value is missing.",
        ),
        (
            [{"age": "old"}],
            "row 1 has 'old' in the column 'age'; expected a finite number, or nothing when it is missing; "
            "correct the cell or leave it empty.",
        ),
    ],
)
def test_what_are_no_rows_is_named(data: Any, message: str, people: Predictor) -> None:
    with pytest.raises(InputError) as caught:
        people.predict_proba(data)
    assert str(caught.value) == message


def test_predicting_imports_no_heavy_library(bundle_of: Callable[[Artifact], Path], image_artifact: Artifact) -> None:
    program = (
        "import sys, numpy; from trimtab.deployment import load\n"
        "load(sys.argv[1]).predict(numpy.zeros((20, 20, 3), numpy.uint8))\n"
        "print(sorted({'torch', 'onnx', 'sklearn', 'pyarrow', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    arguments = [sys.executable, "-c", program, str(bundle_of(image_artifact))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
