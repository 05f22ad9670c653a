"""Folds trained beside each other: a few processes, each with a part of the threads, over one decoded data set.

A step of a small network does not get faster by a second thread: what threads cost each other is more than they
share. So folds of such networks have a processor each. The processes map the decoded pictures from one file; they talk
in lines of JSON (`trimtab.stages.fold_worker`), and only this process writes to console and ledger. A process that is
lost is started again and goes on from the fold's checkpoint; lost twice, it ends the cross-validation.
"""

from __future__ import annotations

import math
import queue
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab import errors
from trimtab.data import Dataset
from trimtab.errors import TrainingError, TrimtabError
from trimtab.generalization.folds import Fold
from trimtab.models import measure_size
from trimtab.stages.fold_process import FoldProcess, Messages
from trimtab.stages.fold_training import FoldTask
from trimtab.stages.fold_worker import LABELS, SHARED
from trimtab.stages.job import Features
from trimtab.storage import write_json
from trimtab.training import Recipe
from trimtab.training.distributed import current_team
from trimtab.training.mode import Mode
from trimtab.training.probe import Probe

_SMALL_STEP = 3e8  # multiplications of a step, forward and backward, per processor: see benchmarks/crossval.py
_PAYS = 0.7  # of the rounds that folds in turn take
_LOSSES = 2  # of a process at one fold, after which it is not tried again


def count_processes(builder: str, features: Features, recipe: Recipe, *, cores: int, folds: int) -> int:
    """Return how many folds to train beside each other; 1 where that is impossible or does not pay.

    Parameters
    ----------
    builder, features, recipe
        Of one fold; the recipe's threads are those that a fold in turn would have.
    cores
        That there are.
    folds
        How many there are in all, finished or not: an interrupted cross-validation goes on with as many threads.
    """
    processes = min(cores, folds)
    is_possible = recipe.engine == "torch" and features.training.are_pictures and current_team() is None
    if processes < 2 or not is_possible or math.ceil(folds / processes) > _PAYS * folds:
        return 1
    meta = features.meta
    size = measure_size(builder, features.kwargs, (meta["channels"], meta["image_size"], meta["image_size"]))
    is_small = 3 * recipe.batch_size * size.macs < _SMALL_STEP * recipe.threads
    return processes if is_small or recipe.threads == 1 else 1


class FoldPool:
    """Some processes for some folds; as a context it ends them and removes what they share.

    Parameters
    ----------
    dataset
        Of pictures.
    directory
        Of the cross-validation, where the processes read the rows of the folds.
    folds
        To be trained, in this order.
    processes
        How many at a time.
    warn
        Takes a sentence for the user.
    """

    def __init__(
        self,
        dataset: Dataset,
        directory: Path,
        folds: Sequence[Fold],
        *,
        processes: int,
        warn: Callable[[str], None],
    ) -> None:
        self._folds, self._count, self._warn = list(folds), processes, warn
        # Under a name that is removed when the cross-validation goes on after it was killed.
        self._folder = tempfile.TemporaryDirectory(prefix=".folds.", suffix=".tmp", dir=directory)
        _share(dataset, directory, Path(self._folder.name))
        self._messages: Messages = queue.SimpleQueue()
        self._processes: list[FoldProcess] = []
        self._losses: Counter[int] = Counter()

    def __enter__(self) -> FoldPool:
        """Return this."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        for process in self._processes:
            process.end()
        self._folder.cleanup()

    def run(
        self,
        task_of: Callable[[int], FoldTask],
        *,
        on_step: Callable[[int, int], None],
        on_probe: Callable[[Probe], None],
        on_done: Callable[[Fold, dict[str, Any]], None],
    ) -> None:
        """Train all folds.

        The first one alone until its probe has decided the mode, in which the others are trained, too.

        Parameters
        ----------
        task_of
            From a fold's position to its task; asked when the fold is next.
        on_step, on_probe
            As of `trimtab.training.watch.Watch`; steps are those of all running folds together.
        on_done
            Called with a fold and the fields of its entry in the ledger, once its files are written.

        Raises
        ------
        TrainingError
            If training diverges, or a process is lost at the same fold twice.
        """
        waiting = deque(range(len(self._folds)))
        is_decided = False
        while waiting or self._busy():
            while waiting and len(self._busy()) < (self._count if is_decided else 1):
                position = waiting.popleft()
                task = task_of(position)
                is_decided = is_decided or task.mode is not None
                self._idle().give(position, self._folds[position].number, task)
            process, message = self._messages.get()
            if message is None:
                waiting.extendleft(self._lost(process))
                continue
            ((what, content),) = message.items()
            if what == "step":
                process.steps = content
                on_step(sum(each.steps[0] for each in self._busy()), sum(each.steps[1] for each in self._busy()))
            elif what == "probe":
                on_probe(Probe(**{**content, "mode": Mode(**content["mode"])}))
                is_decided = True
            elif what == "done":
                on_done(self._folds[process.leave()], content)
            else:
                raise _error_of(*content)

    def _busy(self) -> list[FoldProcess]:
        return [process for process in self._processes if process.position is not None]

    def _idle(self) -> FoldProcess:
        """Return a process that has nothing to do, or a new one."""
        for process in self._processes:
            if process.position is None:
                return process
        self._processes.append(FoldProcess(self._folder.name, self._messages))
        return self._processes[-1]

    def _lost(self, process: FoldProcess) -> list[int]:
        """Return the position of the fold that a process was lost at, to be tried again; none where it waited."""
        self._processes.remove(process)
        code = process.end(patience=5.0)
        if process.position is None:
            return []
        number = self._folds[process.position].number
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        self._losses[number] += 1
        if self._losses[number] >= _LOSSES:
            raise TrainingError(
                f"the process that trained fold {number} ended {how}, and so did the one before",
                f"memory enough for {self._count} of them",
                "give --threads 1, by which folds are trained in turn",
            )
        self._warn(f"the process that trained fold {number} ended {how}: another one goes on from its last checkpoint")
        return [process.position]


def _share(dataset: Dataset, directory: Path, folder: Path) -> None:
    """Leave in a folder what all processes read of the data; pictures that are mapped from a file stay where it is."""
    images = dataset.images
    assert images is not None  # noqa: S101 - see `count_processes`
    path = _file_of(images)
    if path is None:
        path = folder / "images.npy"
        np.save(path, images, allow_pickle=False)
    np.save(folder / LABELS, dataset.labels, allow_pickle=False)
    shared = {name: getattr(dataset, name) for name in ("name", "class_names", "content_hash")}
    write_json(folder / SHARED, {**shared, "images": str(path), "directory": str(directory.resolve())})


def _file_of(images: NDArray[np.uint8]) -> Path | None:
    """Return the file that an array is the whole of, if there is one."""
    name = images.filename if isinstance(images, np.memmap) else None
    if name is None or not str(name).endswith(".npy"):
        return None
    found = np.load(name, mmap_mode="r", allow_pickle=False)
    is_whole = (found.shape, found.strides, found.dtype) == (images.shape, images.strides, images.dtype)
    return Path(name) if is_whole else None


def _error_of(name: str, given: str, expected: str, action: str) -> TrimtabError:
    leaf: type[TrimtabError] = getattr(errors, name)
    return leaf(given, expected, action)
