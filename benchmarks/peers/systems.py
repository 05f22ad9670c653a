"""The systems compared: how each is installed, what its two processes are, and how a process is timed and ended."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = {"fastai": "torch", "ultralytics": "torch", "lightning": "torch", "keras": "keras", "skore": "skore"}
SYSTEMS = ("trimtab", "fastai", "ultralytics", "lightning", "keras")  # that train; skore only checks
IMPORTS = {  # what a process loads first; done once beforehand, so that nobody's limit pays for a cold disk
    "trimtab": "trimtab.pipeline, torch, onnxruntime, sklearn, matplotlib.pyplot",
    "fastai": "fastai.vision.all",
    "ultralytics": "ultralytics.models.yolo.classify, torchvision",
    "lightning": "lightning.pytorch, torchvision",
    "keras": "tensorflow, keras",
}
OFFLINE = {  # no reports, no downloads, no installation at run time
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "MPLBACKEND": "Agg",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
CHOSEN_BY_SYSTEM = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "KERAS_BACKEND")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process went; ``code`` is ``None`` when it was killed at its limit. Its children are in the CPU-seconds."""

    code: int | None
    wall_seconds: float
    cpu_seconds: float


# ---- installation ----


def install(system: str, environments: Path) -> Path:
    """Return the system's Python; make its environment, which peers may share, when it is not there yet."""
    if system == "trimtab":
        return Path(sys.executable)
    name = ENVIRONMENTS[system]
    python, done = environments / name / "bin" / "python", environments / name / "installed.txt"
    files = [HERE / f"requirements-{peer}.txt" for peer, shared in ENVIRONMENTS.items() if shared == name]
    wanted = "\n".join(file.read_text() for file in files)
    if not done.exists() or done.read_text() != wanted:
        print(f"installing {', '.join(file.stem for file in files)} into {environments / name}", flush=True)
        if not python.exists():
            venv.create(environments / name, with_pip=True)
        arguments = [word for file in files for word in ("-r", str(file))]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True)
        done.write_text(wanted)
    return python


def pinned_versions(system: str, python: Path) -> dict[str, str]:
    """Return the installed versions of what a peer's requirements name, and of NumPy and Pillow where they are."""
    lines = (HERE / f"requirements-{system}.txt").read_text().splitlines()
    wanted = {line.split("==")[0] for line in lines} | {"numpy", "pillow"}
    command = [str(python), "-m", "pip", "list", "--format", "json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found = {each["name"].lower().replace("_", "-"): each["version"] for each in listed}
    return {name: found[name] for name in sorted(wanted & found.keys())}


def warm_up(system: str, python: Path, home: Path) -> None:
    """Load the system's packages once: files come into memory, and libraries make their caches in ``home``."""
    home.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-c", f"import {IMPORTS[system]}"]
    subprocess.run(command, check=True, env=surroundings(home), cwd=home, capture_output=True)


# ---- processes ----


def train_command(system: str, python: Path, folder: Path, seconds: float, model: Path, seed: int) -> list[str]:
    """Return the command that trains: as a user types it for trimtab, a peer's script otherwise."""
    if system == "trimtab":
        limits = ["--minutes", f"{seconds / 60:.6g}", "--seed", str(seed)]
        return [str(python), "-m", "trimtab", "run", str(folder), *limits, "--out", str(model)]
    script = str(HERE / f"train_{system}.py")
    when = ["--started", f"{time.time():.3f}", "--seed", str(seed)]
    return [str(python), script, "train", str(folder), f"{seconds:g}", str(model), *when]


def predict_command(system: str, python: Path, model: Path, pictures: Path, out: Path) -> list[str]:
    """Return the command that predicts with what was delivered."""
    if system == "trimtab":
        return [str(python), "-m", "trimtab", "predict", str(model), str(pictures), "--out", str(out)]
    return [str(python), str(HERE / f"train_{system}.py"), "predict", str(model), str(pictures), str(out)]


def read_predictions(path: Path) -> dict[str, str]:
    """Return the predicted class of each file by its name, without folders."""
    with path.open(newline="") as file:
        return {Path(row["name"]).name: row["prediction"] for row in csv.DictReader(file)}


def surroundings(home: Path) -> dict[str, str]:
    """Return the environment variables of every system's processes: offline, threads left to the system's default."""
    kept = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_SYSTEM}
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "YOLO_CONFIG_DIR", "MPLCONFIGDIR"), str(home))
    return kept | OFFLINE | homes


def run_process(command: list[str], limit: float, log: Path, home: Path, **variables: str) -> Ended:
    """Run a process in ``home``, and end it and its children when it is not done by ``limit`` seconds."""
    before, started = child_seconds(), time.monotonic()
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=surroundings(home) | variables,
            cwd=home,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            wall = time.monotonic() - started
            end_group(process)
    return Ended(code=code, wall_seconds=wall, cpu_seconds=child_seconds() - before)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process that leads its own group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def child_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
