"""A data set that is larger than the memory a process may have: pictures stay on the disk until they are looked at."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from trimtab.ledger import Ledger

PICTURES, SIDE = 8192, 128  # decoded 403 MB
ALLOWED = 380_000_000  # bytes beyond the libraries; a copy of the training part alone would take most of it

CHILD = """
import re, resource, sys
from pathlib import Path
import trimtab
from trimtab import stages
from trimtab.stages.reserve import load_libraries
from trimtab.training import loop

load_libraries("torch")
used = 1024 * int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
limit = used + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # what is mapped from files does not count
trimtab.run(
    sys.argv[1], out=sys.argv[2], steps=3, image_size=int(sys.argv[4]), batch_size=8, threads=1, model="cnn",
    options={"channels": [4, 4]},
)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
def test_a_run_needs_less_memory_than_its_decoded_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    write_pictures(tmp_path / "pictures")
    process = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path / "pictures", tmp_path / "run", str(ALLOWED), str(SIDE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    (cached,) = tmp_path.glob("cache/pictures/*/images.npy")
    assert cached.stat().st_size > ALLOWED
    assert Ledger(tmp_path / "run" / "ledger.jsonl").events("finished")


def write_pictures(folder):
    """Write small files, a few different ones of each of two classes, that become large when decoded."""
    random = np.random.default_rng(0)
    for label, brightness in (("dark", 0), ("light", 120)):
        (folder / label).mkdir(parents=True)
        contents = [encode(random.integers(0, 120, (16, 16, 3)) + brightness) for _ in range(64)]
        for number in range(PICTURES // 2):
            (folder / label / f"{number}.jpg").write_bytes(contents[number % len(contents)])


def encode(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()
