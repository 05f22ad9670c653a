import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trimtab.data import decode_image, decoding, folder, open_source, resize_image
from trimtab.errors import InputError


def spoil(root: Path, *names: str) -> None:
    for name in names:
        (root / name).write_bytes(b"no picture")


def damage(root: Path, *names: str) -> None:
    """Cut the pixels off, so that only decoding notices."""
    for name in names:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])


def message(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_source(root).load(image_size=8)
    return str(caught.value)


def test_cached_pictures_equal_those_decoded_one_by_one(make_folder) -> None:
    dataset = open_source(make_folder({"a": 40, "b": 40})).load(image_size=8)
    assert dataset.images is not None
    assert dataset.read_original is not None
    for row in range(len(dataset)):
        content = dataset.read_original(row)
        assert isinstance(content, bytes)
        assert (dataset.images[row] == resize_image(decode_image(content, channels=3), 8)).all()


def test_more_than_one_percent_unreadable_stops_the_run(make_folder) -> None:
    root = make_folder({"a": 30, "b": 30})
    spoil(root, "a/003.png")
    assert message(root) == (
        f"1 of 60 pictures in {root} cannot be read: a/003.png (it is not JPEG, PNG, WebP, BMP, GIF or TIFF); "
        "expected at most 1%; replace or remove them, or leave them out with --skip-unreadable."
    )


def test_damage_behind_the_header_stops_the_run_too(make_folder) -> None:
    root = make_folder({"a": 30, "b": 30})
    damage(root, "a/003.png", "b/000.png")
    assert message(root).startswith(f"2 of 60 pictures in {root} cannot be read: a/003.png (")
    assert ", b/000.png (" in message(root)


def test_five_unreadable_pictures_are_named_and_the_rest_counted(make_folder) -> None:
    root = make_folder({"a": 30, "b": 30})
    spoil(root, *[f"a/{number:03}.png" for number in range(7)])
    text = message(root)
    assert text.startswith(f"7 of 60 pictures in {root} cannot be read: a/000.png (")
    assert "a/004.png" in text
    assert "a/005.png" not in text
    assert " and 2 more; expected at most 1%;" in text


def test_unreadable_pictures_are_left_out_on_request(make_folder) -> None:
    root = make_folder({"a": 30, "b": 30})
    spoil(root, "a/003.png")
    damage(root, "b/000.png")
    dataset = open_source(root, skip_unreadable=True).load(image_size=8)
    assert len(dataset) == 58
    assert dataset.images is not None
    assert dataset.images.shape == (58, 8, 8, 3)
    assert "a/003.png" not in dataset.row_names
    assert dataset.class_counts == (29, 29)
    assert dataset.warnings[0].startswith("skipped 2 of 60 pictures that cannot be read: a/003.png (it is not JPEG")
    assert dataset.read_original is not None
    expected = resize_image(decode_image((root / "a/004.png").read_bytes(), channels=3), 8)
    assert dataset.row_names[3] == "a/004.png"
    assert dataset.read_original(3) == (root / "a/004.png").read_bytes()
    assert (dataset.images[3] == expected).all()


def test_one_percent_unreadable_is_a_warning_that_names_them(make_folder) -> None:
    root = make_folder({"a": 50, "b": 50})
    damage(root, "a/003.png")
    dataset = open_source(root).load(image_size=8)
    assert len(dataset) == 99
    assert dataset.warnings[0].startswith("skipped 1 of 100 pictures that cannot be read: a/003.png (")


def test_nothing_readable_is_refused_even_when_skipping(make_folder) -> None:
    root = make_folder({"a": 3, "b": 3})
    spoil(root, *[f"{folder}/{number:03}.png" for folder in "ab" for number in range(3)])
    with pytest.raises(InputError, match="convert or replace the files") as caught:
        open_source(root, skip_unreadable=True)
    assert f"6 of 6 pictures in {root} cannot be read: a/000.png" in str(caught.value)


def test_class_that_loses_its_pictures_is_refused(make_folder) -> None:
    root = make_folder({"a": 30, "b": 3})
    spoil(root, "b/000.png")
    with pytest.raises(InputError) as caught:
        open_source(root, skip_unreadable=True).load(image_size=8)
    assert str(caught.value) == (
        f"what is readable of {root} has too few examples of 'b' (2); "
        "expected at least 3 of each class, one each for training, validation and test; "
        "add examples, or merge or remove these classes."
    )


@pytest.mark.parametrize("skip", [False, True])
def test_pixel_bomb_stops_the_run_unless_skipped(make_folder, skip: bool) -> None:
    root = make_folder({"a": 3, "b": 4})
    header = bytearray((root / "b/000.png").read_bytes())
    header[16:24] = (40_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    (root / "b/000.png").write_bytes(header)
    if skip:
        assert len(open_source(root, skip_unreadable=True).load(image_size=8)) == 6
        return
    assert message(root) == (
        "the picture b/000.png has 40,000 x 40,000 pixels; expected at most 100 million pixels; "
        "shrink it or leave it out."
    )


def test_file_without_permission_or_vanished_is_unreadable_by_name(make_folder) -> None:
    root = make_folder({"a": 30, "b": 30})
    source = open_source(root)
    (root / "a/001.png").unlink()
    with pytest.raises(InputError, match=r"a/001\.png \(No such file or directory\)"):
        source.load(image_size=8)


def test_many_failures_stop_before_the_end(make_folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_STOP_EARLY_ABOVE", 3)
    root = make_folder({"a": 130, "b": 130})
    damage(root, *[f"a/{number:03}.png" for number in range(130)])
    with pytest.raises(InputError) as caught:
        open_source(root).load(image_size=8)
    assert int(str(caught.value).split()[0]) < 130


def test_colored_pictures_among_gray_ones_are_counted(make_folder, encode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_SAMPLE", 2)
    root = make_folder({"a": 3, "b": 3})
    for name in ("a/000.png", "b/002.png"):
        (root / name).write_bytes(encode("L"))
    dataset = open_source(root).load(image_size=8)
    assert dataset.images is not None
    assert dataset.images.shape[-1] == 1
    assert dataset.warnings == ("turned 4 colored pictures into grey ones, since those looked at are grey",)


def test_progress_is_shown_on_standard_error(make_folder, capsys: pytest.CaptureFixture[str]) -> None:
    open_source(make_folder({"a": 3, "b": 3})).load(image_size=8, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "6/6" in captured.err


@pytest.mark.slow
def test_interrupt_stops_decoding_and_leaves_nothing_behind(make_folder, cache: Path, encode) -> None:
    root = make_folder({"a": 3, "b": 3})
    large = np.random.default_rng(0).integers(0, 255, (3000, 3000, 3), dtype=np.uint8)
    Image.fromarray(large).save(root / "a" / "large0.png", compress_level=1)
    for number in range(1, 40):
        os.link(root / "a" / "large0.png", root / "a" / f"large{number}.png")
    program = (
        "import signal, sys\nfrom trimtab.data import open_source\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "source = open_source(sys.argv[1])\nprint('ready', flush=True)\nsource.load(image_size=8)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 20
    while not list(cache.glob("pictures/.*.tmp/images.npy")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert time.monotonic() - start < 5
    assert list((cache / "pictures").iterdir()) == []
