"""torchrun for one machine, in a process of its own.

``python -m trimtab.training.distributed.agent N ARGUMENT ...`` starts ``python -m trimtab ARGUMENT ...`` N times with
the variables that say which worker each is, and all again when one is lost; it ends them when the process that started
it is gone. It is for `trimtab.launching`, not for users.
"""

from __future__ import annotations

import logging
import os
import sys
import uuid

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from trimtab.training.distributed.worker import LAUNCH_FOLDER, end_with_parent

_RESTARTS = 1000  # a mistake that would repeat itself is noted, and ends the run; see `trimtab.launching`
_LOOK_SECONDS = 0.1


def main() -> int:
    """Run the workers to their end; return 0 unless they could not be kept alive."""
    end_with_parent()
    workers, *arguments = sys.argv[1:]
    logging.getLogger("torch").setLevel(logging.CRITICAL)  # that a worker was lost is told by the one that goes on
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=int(workers),
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",  # any free port
        local_addr="127.0.0.1",
        max_restarts=_RESTARTS,
        monitor_interval=_LOOK_SECONDS,
        logs_specs=DefaultLogsSpecs(log_dir=os.path.join(os.environ[LAUNCH_FOLDER], "logs")),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "trimtab", *arguments)
    except (ChildFailedError, SignalException):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
