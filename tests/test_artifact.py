import json
import re

import numpy as np
import pytest
from safetensors.numpy import save

from trimtab.artifact import Artifact, read_tensors
from trimtab.errors import IntegrityError


@pytest.fixture
def artifact():
    arrays = {
        "0.weight": np.arange(12, dtype=np.float32).reshape(3, 4).T,  # not contiguous
        "1.num_batches_tracked": np.array(7, dtype=np.int64),
    }
    return Artifact(builder="mlp", kwargs={"hidden": [4]}, arrays=arrays, meta={"kind": "table"})


def test_what_is_saved_comes_back_bit_for_bit(artifact, tmp_path):
    artifact.save(tmp_path / "model")
    again = Artifact.load(tmp_path / "model")
    assert (again.builder, again.kwargs, again.meta) == ("mlp", {"hidden": [4]}, {"kind": "table"})
    for key, array in artifact.arrays.items():
        np.testing.assert_array_equal(again.arrays[key], array)
        assert again.arrays[key].dtype == array.dtype
    assert again.sha256 == artifact.sha256


@pytest.mark.parametrize("name", ["weights.safetensors", "artifact.json"])
def test_one_altered_byte_is_noticed(artifact, tmp_path, name):
    artifact.save(tmp_path / "model")
    path = tmp_path / "model" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match="is not a whole, unaltered artifact"):
        Artifact.load(tmp_path / "model")


def test_a_missing_directory_is_an_integrity_error(tmp_path):
    with pytest.raises(IntegrityError):
        Artifact.load(tmp_path / "nothing")


def test_saving_replaces_and_leaves_nothing_behind(artifact, tmp_path):
    artifact.save(tmp_path / "model")
    artifact.save(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


# ---- the file format ----

KINDS = ("float64", "float32", "float16", "int64", "int32", "int8", "uint8", "bool")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_the_library_and_the_reader_agree(kind, shape):
    values = np.arange(int(np.prod(shape))).reshape(shape).astype(kind)
    (name, read), *others = read_tensors(save({"a.b": values}, {"note": "any text"})).items()
    assert (name, others) == ("a.b", [])
    assert (read.dtype, read.shape) == (values.dtype, values.shape)
    np.testing.assert_array_equal(read, values)
    read[...] = 0  # a copy


def test_many_arrays_of_mixed_types_are_read():
    random = np.random.default_rng(0)
    arrays = {f"{kind} {index}": random.integers(0, 2, index).astype(kind) for index in range(5) for kind in KINDS}
    read = read_tensors(save(arrays))
    assert set(read) == set(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(read[name], values)


def tensors(header, data=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(kind="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": kind, "shape": list(shape), "data_offsets": list(offsets)}


NO_ARRAY = "the header's entry for 'a' does not describe an array"
NOT_DENSE = "the arrays do not lie one after the other from the header to the end"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "there is no whole header"),
        (b"\0" * 8, "there is no whole header"),
        (tensors({"a": entry()})[:40], "there is no whole header"),
        ((2**60).to_bytes(8, "little") + b"{}", "there is no whole header"),
        (tensors(b"[1]"), "there is no whole header"),
        (tensors(b'{"a": 1, "a": 2}'), "a name stands twice in the header"),
        (tensors({"a": entry("BF16")}), NO_ARRAY),
        (tensors({"a": entry(kind=7)}), NO_ARRAY),
        (tensors({"a": entry(shape=(3,))}), NO_ARRAY),
        (tensors({"a": entry(shape=(-1, -2))}), NO_ARRAY),
        (tensors({"a": entry(shape=(2.0,))}), NO_ARRAY),
        (tensors({"a": entry(shape=(True, 2))}), NO_ARRAY),
        (tensors({"a": entry(offsets=(8, 0))}), NO_ARRAY),
        (tensors({"a": entry(offsets=(0, 4, 8))}), NO_ARRAY),
        (tensors({"a": {**entry(), "more": 1}}), NO_ARRAY),
        (tensors({"a": [1]}), NO_ARRAY),
        (tensors({"a": None}), NO_ARRAY),
        (tensors({"a": entry()}, b"\0" * 7), NOT_DENSE),
        (tensors({"a": entry()}, b"\0" * 9), NOT_DENSE),
        (tensors({"a": entry(offsets=(1, 9))}, b"\0" * 9), NOT_DENSE),
        (tensors({"a": entry(), "b": entry()}), NOT_DENSE),
        (tensors({}), NOT_DENSE),
        (tensors({"a": entry("BOOL", (8,))}, b"\2" * 8), "an array of truth values holds something else"),
        (tensors({"a": entry("F32", (0, 10**30), (0, 0))}, b""), "a shape is too large"),
    ],
)
def test_a_file_that_is_odd_is_refused(content, reason):
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        read_tensors(content)


@pytest.mark.parametrize("header", [b"{", b"{\xff}", b'{"a": ' + b"[" * 100_000, b"{} {}"])
def test_a_header_that_is_no_json_is_an_integrity_error(header, artifact, tmp_path, monkeypatch):
    artifact.save(tmp_path / "model")
    (tmp_path / "model" / "weights.safetensors").write_bytes(tensors(header))
    monkeypatch.setattr("trimtab.artifact.sha256_bytes", lambda content: "same")  # the hashes are whoever's wrote it
    description = json.loads((tmp_path / "model" / "artifact.json").read_text())
    same = {**description, "weights_sha256": "same", "description_sha256": "same"}
    (tmp_path / "model" / "artifact.json").write_text(json.dumps(same))
    with pytest.raises(IntegrityError, match="is not a whole, unaltered artifact"):
        Artifact.load(tmp_path / "model")
