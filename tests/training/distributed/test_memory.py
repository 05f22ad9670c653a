import pytest
from tests.training.conftest import make_recipe

from trimtab.training.distributed.memory import does_fit, free_bytes


@pytest.fixture
def machine(tmp_path):
    """A machine with 1000 kB free, 600 kB of which this control group may still take, files in the cache included."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:    1000 kB\n")
    write("sys/fs/cgroup/memory.max", f"{900 * 1024}\n")
    write("sys/fs/cgroup/memory.current", f"{500 * 1024}\n")
    write("sys/fs/cgroup/memory.stat", f"anon 5\ninactive_file {200 * 1024}\nactive_file 7\n")
    return tmp_path


def test_the_control_group_limits_what_is_free_and_cached_files_can_go(machine):
    assert free_bytes(root=machine) == 600 * 1024


def test_without_a_limit_the_machine_decides(machine):
    (machine / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert free_bytes(root=machine) == 1000 * 1024


def test_where_nothing_is_known_everything_fits(tmp_path):
    assert does_fit(10**15, make_recipe(), 1, root=tmp_path)


@pytest.mark.parametrize(
    ("settings", "copies"),
    [({}, 5), ({"optimizer": "sgd"}, 4), ({"shards": 4}, 12)],
)
def test_weights_gradients_states_and_sums_must_fit_into_each_workers_share(machine, settings, copies):
    most = 300 * 1024 // (4 * copies)
    assert does_fit(most, make_recipe(**settings), 2, root=machine)
    assert not does_fit(most + 1, make_recipe(**settings), 2, root=machine)
