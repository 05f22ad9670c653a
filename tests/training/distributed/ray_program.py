"""Training on a local Ray cluster of three raylets, one of which is killed: ``python ray_program.py DIRECTORY``."""

import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from trimtab import cli
from trimtab.launching import launch


def train(out):
    """Train with three workers, of which two are left."""
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    nodes = [cluster.add_node(**small) for _ in range(2)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, logging_level="error")

    def kill_one():
        while not list((out / "checkpoints").glob("step_*")):
            time.sleep(0.1)
        cluster.remove_node(nodes[1], allow_graceful=False)

    threading.Thread(target=kill_one, daemon=True).start()
    arguments = ["train", "wine", "--steps", "4000", "--minutes", "9", "--patience", "0", "--out", str(out)]
    code = launch(arguments, 3, "ray", main=cli.main)
    ray.shutdown()
    cluster.shutdown()
    return code


if __name__ == "__main__":
    sys.exit(train(Path(sys.argv[1])))
