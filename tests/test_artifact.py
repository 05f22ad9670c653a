import numpy as np
import pytest

from trimtab.artifact import Artifact
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
