import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.data import cache_directory, decoding, open_source
from trimtab.data.cache import cached_entry, hash_files
from trimtab.errors import OutputError


def fill(directory: Path) -> dict[str, Any]:
    np.save(directory / "images.npy", np.full((2, 1, 1, 3), 7, dtype=np.uint8))
    return {"note": "made"}


def forbid(directory: Path) -> dict[str, Any]:
    raise AssertionError("made again")


@pytest.fixture
def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    original = decoding.decode_image

    def counted(content: bytes, *, name: str, **options: Any) -> Any:
        names.append(name)
        return original(content, name=name, **options)

    monkeypatch.setattr(decoding, "decode_image", counted)
    return names


def test_directory_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_directory() == tmp_path / "own"
    monkeypatch.delenv("TRIMTAB_CACHE")
    assert cache_directory() == tmp_path / "xdg" / "trimtab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == tmp_path / "home" / ".cache" / "trimtab"


def test_entry_is_made_once_and_memory_mapped() -> None:
    first = cached_entry(["key", 1], fill)
    second = cached_entry(["key", 1], forbid)
    assert isinstance(second.images, np.memmap)
    assert (second.images == 7).all()
    assert second.facts == {"note": "made"}
    assert second.images_hash == first.images_hash


@pytest.mark.parametrize("file", ["images.npy", "entry.json"])
def test_damaged_entry_is_made_again(file: str, cache: Path) -> None:
    cached_entry(["key"], fill)
    path = next(cache.glob(f"pictures/*/{file}"))
    path.write_bytes(path.read_bytes()[:-1])
    assert (cached_entry(["key"], fill).images == 7).all()


def test_interrupted_entry_leaves_nothing(cache: Path) -> None:
    def interrupt(directory: Path) -> dict[str, Any]:
        fill(directory)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_entry(["key"], interrupt)
    assert list((cache / "pictures").iterdir()) == []


def test_full_disk_is_one_sentence(cache: Path) -> None:
    def full(directory: Path) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError) as caught:
        cached_entry(["key"], full)
    assert str(caught.value) == (
        f"the cache {cache} cannot be written (No space left on device); expected room for the decoded pictures; "
        "free some space, or set TRIMTAB_CACHE to another directory."
    )


def test_cache_that_is_a_file_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError) as caught:
        cached_entry(["key"], fill)
    assert str(caught.value) == (
        f"the cache {tmp_path}/file cannot be written (Not a directory); expected a directory that can be written; "
        "set TRIMTAB_CACHE to another directory."
    )


def test_leftovers_of_killed_processes_are_removed_after_a_day(cache: Path) -> None:
    old, young = cache / "pictures" / ".old.1.tmp", cache / "pictures" / ".young.2.tmp"
    for leftover in (old, young):
        leftover.mkdir(parents=True)
    os.utime(old, (time.time() - 100_000,) * 2)
    cached_entry(["key"], fill)
    assert not old.exists()
    assert young.exists()


def test_pictures_are_decoded_once_per_size(make_folder, count_decoded: list[str]) -> None:
    root = make_folder({"a": 3, "b": 3})
    first = open_source(root).load(image_size=8)
    assert len(count_decoded) == 6
    second = open_source(root).load(image_size=8)
    assert len(count_decoded) == 6
    assert first.content_hash == second.content_hash
    open_source(root).load(image_size=4)
    assert len(count_decoded) == 12


def test_moved_or_touched_pictures_are_not_decoded_again(make_folder, count_decoded: list[str]) -> None:
    root = make_folder({"a": 3, "b": 3})
    first = open_source(root).load(image_size=8)
    moved = root.rename(root.with_name("elsewhere"))
    for path in moved.rglob("*.png"):
        path.touch()
    second = open_source(moved).load(image_size=8)
    assert len(count_decoded) == 6
    assert first.content_hash == second.content_hash


def test_changed_picture_of_the_same_size_and_time_is_noticed(make_folder, encode) -> None:
    root = make_folder({"a": 3, "b": 3})
    path = root / "a/000.png"
    path.write_bytes(encode(file_format="BMP", seed=1))
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    first = open_source(root).load(image_size=8)
    path.write_bytes(encode(file_format="BMP", seed=2))
    os.utime(path, ns=times)
    second = open_source(root).load(image_size=8)
    assert first.content_hash != second.content_hash


def test_unchanged_files_are_not_read_again(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    first = hash_files([str(path)])
    index = next(cache.glob("index/*.json"))
    index.write_text(json.dumps({"contents": "remembered"}))
    assert hash_files([str(path)]) == "remembered"
    index.write_text("no json")
    assert hash_files([str(path)]) == first
