"""Starting several workers of one command, and what each of them does: lead, or follow.

``trimtab run ./photos --workers 4`` starts torchrun (or Ray's actors) and waits; they run the same command line, and
find out here which worker they are. Workers that a user, Slurm or Kubernetes started with torchrun come the same way.

Which exit code a worker may show is a matter of its own: whoever started it starts all again when it is not 0. So a
command that is done, or cannot be done, leaves its code in the folder of the launch, and shows 0.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from trimtab.errors import InputError, TrimtabError
from trimtab.machine import available_threads
from trimtab.storage import write_text
from trimtab.training.distributed.worker import (
    LAUNCH_FOLDER,
    Worker,
    WorkerLost,
    end_with_parent,
    is_started_again,
    set_current_team,
)

LAUNCHERS = ("torchrun", "ray")
_STARTED = "TRIMTAB_LAUNCH_STARTED"  # seconds since the epoch
_LEADER, _CODE = "leader", "code"  # in the folder: the process of rank 0, and the command's exit code
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
# What workers need before they import torch.
_VARIABLES = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait steal time from each other
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # restarted workers would meet the store of the lost ones
    "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "5",
    "TORCH_CPP_LOG_LEVEL": "FATAL",  # a lost worker is told about in one sentence, not by every connection
}
_PATIENCE = 3  # wishes to stop after which nothing is waited for


def worker() -> Worker | None:
    """Return which of several workers this process is; ``None`` when it is alone."""
    return Worker.of(os.environ)


def must_launch(workers: int) -> bool:
    """Return whether so many workers are to be started from here: they are not when this process is one of them."""
    return workers > 1 and not {"RANK", LAUNCH_FOLDER} & os.environ.keys()


def clock_start(started: float) -> tuple[float, float | None]:
    """Return when the budget's clock started, given ``time.monotonic()`` when this process did.

    Returns
    -------
    tuple
        ``time.monotonic()`` of the start, that of the launch the first time. And, when the workers were started
        again, the seconds since the epoch until which the attempt before counts: the clock went on meanwhile.
    """
    found = worker()
    if found is None:
        return started, None
    passed = time.monotonic() - started
    if found.attempt:
        return started, time.time() - passed
    launched = float(os.environ.get(_STARTED, math.inf))
    return time.monotonic() - max(passed, time.time() - launched), None


# ---- the process that the user started ----


def launch(
    arguments: Sequence[str],
    workers: int,
    launcher: str = "torchrun",
    *,
    main: Callable[[Sequence[str]], int],
    started: float | None = None,
) -> int:
    """Run ``trimtab ARGUMENTS`` in so many workers, restart them when one is lost, and return the exit code.

    Ctrl-C reaches rank 0, which finishes with what there is; the second one ends it at once, the third one all.

    Parameters
    ----------
    arguments
        What stands after ``trimtab``; ``--workers`` and ``--launcher`` may be among them.
    workers
        How many, at least 2.
    launcher
        One of `LAUNCHERS`; torchrun starts all on this machine, Ray wherever its cluster has room.
    main
        What carries out such arguments in a process: the command line, a function that a module holds.
    started
        ``time.monotonic()`` at which the budget's clock started; now unless given.

    Raises
    ------
    InputError
        If there is no launcher of that name, or it, or torch, is not installed.
    """
    if launcher not in LAUNCHERS:
        raise InputError(f"--launcher is '{launcher}'", f"one of {' or '.join(LAUNCHERS)}", "change it or leave it out")
    if find_spec("torch") is None:
        raise InputError("torch is not installed", "it for --workers", "pip install 'trimtab[train]'")
    with tempfile.TemporaryDirectory(prefix="trimtab-") as folder:
        passed = 0.0 if started is None else time.monotonic() - started
        environment = {**_VARIABLES, _STARTED: repr(time.time() - passed)}
        if launcher == "ray":
            from trimtab.training.distributed.ray_launcher import run_actors

            return run_actors(arguments, workers, environment, partial(_perform_arguments, main))
        environment |= {LAUNCH_FOLDER: folder, "OMP_NUM_THREADS": str(max(1, available_threads() // workers))}
        environment |= {"GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", _LOOPBACK)}
        module = "trimtab.training.distributed.agent"
        command = [sys.executable, "-m", module, str(workers), *arguments]
        # In a session of its own: the terminal's Ctrl-C comes here alone.
        process = subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)
        with _passing_on(process, Path(folder)) as wishes:
            process.wait()
        code = _noted_code(Path(folder))
        return code if code is not None else 130 if wishes else 1


@contextmanager
def _passing_on(process: subprocess.Popen[bytes], folder: Path) -> Iterator[list[int]]:
    """Pass Ctrl-C and the wish to terminate on to rank 0; give the list of wishes so far."""
    wishes: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        wishes.append(number)
        try:
            leader = int((folder / _LEADER).read_text())
            os.kill(leader, signal.SIGKILL if len(wishes) >= _PATIENCE else signal.SIGINT)
        except (OSError, ValueError):  # it has not begun, or has ended
            process.terminate()
        if len(wishes) >= _PATIENCE:
            process.kill()  # the workers notice

    previous = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wishes
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# ---- the workers ----


def carry_out(act: Callable[[], int]) -> int:
    """Run a command line, ``act``, in the role that this process has; return the code to exit with.

    Alone or as rank 0 it is ``act``; the others of several workers follow what rank 0 does.
    """
    folder = _folder()
    if worker() is None and not is_started_again(os.environ):
        return act()
    if folder is not None and _noted_code(folder) is not None:  # started again although all is done
        return 0
    if is_started_again(os.environ):
        end_with_parent()
    code = _perform(act)
    if code == WorkerLost.exit_code:
        return code
    if folder is None:  # another's torchrun: missing a limit is an outcome, not a reason to do everything again
        return 0 if code == 3 and is_started_again(os.environ) else code
    if code != 0 or os.environ["RANK"] == "0":
        write_text(folder / _CODE, str(code))
    return 0


def _perform_arguments(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    return _perform(lambda: main(arguments))


def _perform(act: Callable[[], int]) -> int:
    """Lead, follow, or act alone; return the exit code, whatever goes wrong."""
    found = worker()
    try:
        return act() if found is None else _perform_together(found, act)
    except TrimtabError as error:  # of one that follows: `act` says its own
        if error.exit_code != WorkerLost.exit_code:  # of that rank 0 tells
            print(f"trimtab: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except Exception:
        traceback.print_exc()
        return 1


def _perform_together(found: Worker, act: Callable[[], int]) -> int:
    from trimtab.training.distributed.team import Team

    folder = _folder()
    if found.rank > 0:
        from trimtab.stages.following import follow

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 decides
        follow(Team(found))
        return 0
    if folder is not None:
        write_text(folder / _LEADER, str(os.getpid()))
    team = Team(found)
    set_current_team(team)
    code = act()
    if code != WorkerLost.exit_code:
        team.dismiss()
    return code


def _noted_code(folder: Path) -> int | None:
    try:
        return int((folder / _CODE).read_text())
    except (OSError, ValueError):
        return None


def _folder() -> Path | None:
    return Path(os.environ[LAUNCH_FOLDER]) if LAUNCH_FOLDER in os.environ else None
