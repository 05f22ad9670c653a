"""``trimtab check``: what is installed, what the machine offers, and a whole run in ten seconds."""

from __future__ import annotations

import shutil
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from trimtab.console import Console
from trimtab.data import cache_directory
from trimtab.errors import TrimtabError
from trimtab.machine import describe_machine, has_bfloat16, package_versions

_NEEDED = ("jinja2", "matplotlib", "onnx", "pyarrow", "sklearn", "tqdm")  # by a run, and not by a server


def check(*, is_quick: bool = False) -> int:
    """Print the facts; run a tiny job from data to served prediction; return 0 when all is well."""
    machine = describe_machine()
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    print(f"versions   {versions}")
    print(f"machine    {machine['processor']}, {machine['threads']} threads, {machine['system']}")
    print(f"python     {machine['python']}")
    print(f"device     {_device()}")
    print(f"engines    {_engines()}")
    print(f"bfloat16   {'in hardware' if has_bfloat16() else 'not in hardware: float32 is used'}")
    cache = cache_directory()
    print(f"cache      {cache} ({_free_gigabytes(cache):.0f} GB free); nothing else is written outside a run directory")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        lacking = f"there is no {', '.join(missing)}; pip install 'trimtab[run]'"
        print(f"smoke run  left out: this installation serves, it does not train ({lacking})")
        return 0
    return 0 if is_quick else _smoke_run(cache)


def _device() -> str:
    if find_spec("torch") is None:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return f"cpu (a GPU is there, {torch.cuda.get_device_name(0)}; this version trains on the processor)"
    return "cpu"


def _engines() -> str:
    if find_spec("torch") is None:
        return "numpy (torch is not installed; pip install 'trimtab[train]' adds it)"
    return "torch, numpy"


def _free_gigabytes(directory: Path) -> float:
    existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
    return shutil.disk_usage(existing).free / 1e9


def _smoke_run(cache: Path) -> int:
    from trimtab.pipeline import run

    cache.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=cache, prefix="check-") as directory:
        try:
            result = run("wine", out=Path(directory) / "wine", steps=200, minutes=1, console=Console(is_quiet=True))
            accuracy = result.evaluation.metrics["accuracy"].value or 0.0
            prediction = result.load().predict_proba([{"alcohol": 13.2}])
        except TrimtabError as error:
            print(f"smoke run  FAILED: {error}")
            return 1
    seconds = time.monotonic() - started
    is_good = accuracy > 0.8 and abs(float(prediction.sum()) - 1) < 1e-3
    word = "works" if is_good else "FAILED"
    print(f"smoke run  {word}: wine trained, exported, evaluated ({100 * accuracy:.1f}%), served; {seconds:.1f} s")
    return 0 if is_good else 1
