import pytest

from trimtab.storage import new_directory, sha256_bytes, sha256_file, write_bytes, write_json


def test_a_failed_block_leaves_the_old_directory(tmp_path):
    with new_directory(tmp_path / "a") as directory:
        (directory / "file").write_text("old")

    def fail():
        with new_directory(tmp_path / "a") as directory:
            (directory / "file").write_text("new")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert (tmp_path / "a" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_and_its_bytes_have_one_hash(tmp_path):
    write_bytes(tmp_path / "deep" / "file", b"content")
    assert sha256_file(tmp_path / "deep" / "file") == sha256_bytes(b"content")


def test_json_without_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())
