import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.errors import InputError
from trimtab.training.distributed.ray_launcher import _roles, cores_of_a_worker, run_actors
from trimtab.training.distributed.worker import Worker

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.mark.parametrize(
    ("cores", "workers", "expected"),
    [([16, 16], 8, 4), ([16, 16], 3, 8), ([1, 1, 1], 3, 1), ([1, 1], 3, 1), ([8, 2], 3, 2), ([], 2, 1)],
)
def test_workers_get_as_many_cores_as_there_are_for_all(cores, workers, expected):
    assert cores_of_a_worker(cores, workers) == expected


def test_ranks_are_given_machine_by_machine_as_torchrun_does():
    places = [("a", "10.0.0.1", 7001), ("b", "10.0.0.2", 7002), ("a", "10.0.0.1", 7003)]
    roles = _roles(places)
    assert {(role["MASTER_ADDR"], role["MASTER_PORT"]) for role in roles} == {("10.0.0.1", "7001")}
    workers = [Worker.of(role) for role in roles]
    assert [(worker.rank, worker.local_rank, worker.local_world_size, worker.machine) for worker in workers] == [
        (0, 0, 2, 0),
        (2, 0, 1, 1),
        (1, 1, 2, 0),
    ]


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_the_user_is_told_what_to_install():
    with pytest.raises(InputError) as caught:
        run_actors(["train"], 2, {}, lambda arguments: 0)
    assert str(caught.value) == ("ray is not installed; expected it for --launcher ray; pip install 'trimtab[ray]'.")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed")
def test_a_run_on_three_raylets_completes_when_one_is_killed(tmp_path):
    """In a process of its own: Ray leaves threads, files and warnings behind."""
    program = Path(__file__).with_name("ray_program.py")
    environment = {**os.environ, "RAY_usage_stats_enabled": "0"}
    result = subprocess.run(
        [sys.executable, program, tmp_path / "run"], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert "a worker was lost, and all were started again" in result.stdout + result.stderr
    events = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events].count("started") == 2
    assert [event["event"] for event in events].count("trained") == 1
    assert (tmp_path / "run" / "model").is_dir()
