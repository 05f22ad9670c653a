import subprocess
import sys
import time

import pytest
from tests.training.conftest import make_recipe

from trimtab.training.distributed.share import check_enough
from trimtab.training.distributed.worker import Worker, threads_of_a_worker

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "1",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RESTART_COUNT": "2",
}
FIFTH = Worker(rank=5, world_size=8, local_rank=1, local_world_size=4, machine=1, attempt=2)


def test_torchruns_variables_say_which_worker_it_is():
    assert Worker.of(TORCHRUN) == FIFTH


@pytest.mark.parametrize("changes", [{"WORLD_SIZE": "1", "RANK": "0"}, {"MASTER_PORT": None}, {"RANK": None}])
def test_a_process_alone_is_no_worker(changes):
    assert Worker.of({key: value for key, value in (TORCHRUN | changes).items() if value is not None}) is None


def test_workers_of_one_machine_share_its_threads():
    assert threads_of_a_worker(make_recipe(threads=16), FIFTH) == 4
    assert threads_of_a_worker(make_recipe(threads=2), FIFTH) == 1
    assert threads_of_a_worker(make_recipe(threads=16), None) == 16


def test_deterministic_steps_use_one_thread_with_any_number_of_workers():
    recipe = make_recipe(threads=16, shards=4)
    assert threads_of_a_worker(recipe, FIFTH) == threads_of_a_worker(recipe, None) == 1


def test_more_workers_than_shards_is_a_mistake():
    recipe = make_recipe(shards=4)
    check_enough(recipe, 16, 4)
    with pytest.raises(ValueError, match="shards") as caught:
        check_enough(recipe, 16, 5)
    assert str(caught.value) == (
        "there are 5 workers and 4 shards of a deterministic batch; expected at most as many; start fewer."
    )


def test_more_workers_than_rows_in_a_part_is_a_mistake():
    check_enough(make_recipe(accumulate=4), 16, 4)
    with pytest.raises(ValueError, match="there are 5 workers and 4 rows in a part of a batch"):
        check_enough(make_recipe(accumulate=4), 16, 5)


def test_a_process_ends_when_the_one_that_started_it_is_gone(tmp_path):
    child = "from trimtab.training.distributed.worker import end_with_parent as e; e(); import time; time.sleep(60)"
    parent = (
        "import subprocess, sys, time, pathlib; "
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(1.5); "
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(p.pid)); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int((tmp_path / "pid").read_text())
    process.kill()
    process.wait()
    assert ends_within(pid, 5)


def ends_within(pid: int, seconds: float) -> bool:
    """Whether a process that nobody waits for is gone, or a zombie, in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.05)
    return False
