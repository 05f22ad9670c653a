"""What a worker of the tests does: ``python program.py FOLDER``, with torchrun's variables in the environment.

FOLDER/cases.json says what to train, one after the other; rank 0 writes FOLDER/NAME.json with what came of each.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
from tests.training.conftest import make_pictures, make_recipe

from trimtab.training import loop
from trimtab.training.batches import Rows
from trimtab.training.distributed import Worker
from trimtab.training.distributed.follow import follow
from trimtab.training.distributed.lead import train_together
from trimtab.training.distributed.team import Team
from trimtab.training.watch import Watch


def arguments_of(case):
    """Return builder, arguments, rows and recipe."""
    recipe = make_recipe(**{"threads": 1, "augment": "none", **case["recipe"]})
    return case["builder"], case["kwargs"], *rows_of(case), recipe


def rows_of(case):
    """Return pictures, or a table when the network is an mlp."""
    training, validation = case.get("rows", 160), case.get("validation", 61)
    if case["builder"] != "mlp":
        return make_pictures(training, 0), make_pictures(validation, 1)
    features = np.random.default_rng(0).standard_normal((training + validation, 12), dtype=np.float32)
    labels = (features[:, 0] + features[:, 1] > 0).astype(np.int64)
    return Rows.of(features[:training], labels[:training]), Rows.of(features[training:], labels[training:])


def describe(trained):
    """Return what the tests compare."""
    content = b"".join(trained.arrays[key].tobytes() for key in sorted(trained.arrays))
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "history": trained.history,
        "weights": {key: array.tolist() for key, array in trained.arrays.items()},
    }


def watch_of(case, folder):
    """Return who kills this process after ``die_at`` steps, and grants ``seconds``."""

    def on_step(done, total):
        (folder / "step").write_text(str(done))
        if done == case.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)

    resumed = []
    watch = {"on_step": on_step, "on_resume": lambda history, step: resumed.append(step)}
    if "seconds" in case:
        watch["seconds_left"] = lambda: case["seconds"]
    return Watch(**watch), resumed


def main(folder):
    """Train every case."""
    loop._CHECKPOINT_SECONDS = 0.0
    team = Team(Worker.of(os.environ))
    for name, case in json.loads((folder / "cases.json").read_text()).items():
        arguments, options = arguments_of(case), {"is_sharded": case.get("is_sharded", False)}
        if team.worker.rank > 0:
            follow(team, *arguments, **options)
            continue
        watch, resumed = watch_of(case, folder)
        trained = train_together(team, *arguments, **options, watch=watch, checkpoints=folder / name)
        (folder / f"{name}.json").write_text(json.dumps({**describe(trained), "resumed": resumed}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
