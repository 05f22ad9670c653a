import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from trimtab.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint


def make_checkpoint(step):
    arrays = {"weight": np.arange(60, dtype=np.float32).reshape(3, 4, 5) + step}
    transposed = {"momentum": arrays["weight"].transpose(0, 2, 1)}
    return Checkpoint(step=step, model=arrays, optimizer=transposed, best=arrays, state={"history": [{"step": step}]})


def assert_same(loaded, saved):
    assert (loaded.step, loaded.state) == (saved.step, saved.state)
    for part in ("model", "optimizer", "best"):
        then, now = getattr(saved, part), getattr(loaded, part)
        assert then.keys() == now.keys()
        assert all(np.array_equal(then[key], now[key]) for key in then)


def test_the_newest_checkpoint_is_loaded_as_it_was_saved(tmp_path):
    assert load_checkpoint(tmp_path) is None
    for step in (5, 40):
        save_checkpoint(tmp_path, make_checkpoint(step))
    assert_same(load_checkpoint(tmp_path), make_checkpoint(40))
    assert [entry.name for entry in tmp_path.iterdir()] == ["step_000000040"], "the older one is gone"


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "best.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_one_that_is_not_as_it_was_written_is_passed_over(tmp_path, name, damage, monkeypatch):
    save_checkpoint(tmp_path, make_checkpoint(5))
    monkeypatch.setattr("trimtab.training.checkpoints._remove", lambda directory: None)
    save_checkpoint(tmp_path, make_checkpoint(6))
    file = tmp_path / "step_000000006" / name
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        file.write_bytes(content.replace(b"6", b"7") if name == "state.json" else content[:-1] + b"?")
    assert_same(load_checkpoint(tmp_path), make_checkpoint(5))


@pytest.mark.parametrize("call", range(1, 9))
def test_a_full_disk_loses_nothing_that_was_there(tmp_path, call, monkeypatch):
    save_checkpoint(tmp_path, make_checkpoint(5))
    sync, calls = os.fsync, []

    def fill(descriptor):
        calls.append(descriptor)
        if len(calls) == call:  # where a disk says at the latest that it is full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, make_checkpoint(6))
    monkeypatch.undo()
    assert_same(load_checkpoint(tmp_path), make_checkpoint(5))
    assert [entry.name for entry in tmp_path.iterdir()] == ["step_000000005"], "no half of another one takes room"
    save_checkpoint(tmp_path, make_checkpoint(6))
    assert_same(load_checkpoint(tmp_path), make_checkpoint(6))


KILLED = """
import os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_checkpoints import assert_same, make_checkpoint
from trimtab.training.checkpoints import load_checkpoint, read_checkpoint, save_checkpoint

MOMENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}


def die_at(moment):
    seen = []

    def watch(event, arguments):
        if event in MOMENTS:
            seen.append(event)
            if len(seen) == moment:
                os._exit(9)

    sys.addaudithook(watch)


directory, found = Path(sys.argv[1]), {5: 0, 6: 0}
for moment in range(1, 1000):
    shutil.rmtree(directory, ignore_errors=True)
    save_checkpoint(directory, make_checkpoint(5))
    process = os.fork()
    if process == 0:
        die_at(moment)
        save_checkpoint(directory, make_checkpoint(6))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    loaded = load_checkpoint(directory)
    assert_same(loaded, make_checkpoint(loaded.step))
    assert all(read_checkpoint(each) is not None for each in directory.glob("step_*")), moment
    if status == 0:
        break
    assert status == 9
    found[loaded.step] += 1
assert loaded.step == 6
print(moment, found[5], found[6])
"""


def test_a_process_killed_at_any_moment_leaves_whole_checkpoints(tmp_path):
    folder = os.path.dirname(__file__)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "checkpoints", folder], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    moments, before, after = map(int, process.stdout.split())
    assert moments > 20
    assert before > 10, "some died before the new one was there"
    assert after > 3, "and some while the old one was removed"
