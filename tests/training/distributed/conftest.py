import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start_workers(count: int, *command: object) -> list[subprocess.Popen[str]]:
    """Start a Python program so many times, with the variables that torchrun would set."""
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(count)}
    shared |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            env={**os.environ, **shared, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ends_of(processes: list[subprocess.Popen[str]], seconds: float = 100) -> list[str]:
    """Wait for the end of all; return what each wrote to standard error."""
    try:
        return [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def train_by(workers: int, folder: Path, cases: dict[str, dict]) -> dict[str, dict]:
    """Train every case with so many workers, one after the other; return what rank 0 wrote of each."""
    folder.mkdir(exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases))
    processes = start_workers(workers, Path(__file__).with_name("program.py"), folder)
    errors = ends_of(processes)
    assert not any(process.returncode for process in processes), "\n".join(errors)
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in cases}


@pytest.fixture
def lonely():
    """A process group of this process alone."""
    from torch import distributed

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()
