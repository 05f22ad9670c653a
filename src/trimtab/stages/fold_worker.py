"""A process that trains folds: a line of JSON for each comes in, lines about what happens go out.

``python -m trimtab.stages.fold_worker FOLDER`` is started by `trimtab.stages.fold_pool`, which leaves in the folder
what all its processes share. It ends when nothing comes in any more, or when the process that started it is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from trimtab.data import Dataset
from trimtab.errors import TrimtabError
from trimtab.generalization.fold_files import load_folds
from trimtab.stages.fold_training import FoldTask, train_fold
from trimtab.training.distributed.worker import end_with_parent

SHARED, LABELS = "shared.json", "labels.npy"
_TOLD_SECONDS = 0.1  # between two lines about steps


def main() -> None:
    """Train what is asked for until nothing is any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    end_with_parent()
    tell = _Teller(os.fdopen(os.dup(sys.stdout.fileno()), "w"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else is printed is no answer
    dataset, directory = _read_shared(Path(sys.argv[1]))
    folds = {fold.number: fold for fold in load_folds(directory)}
    for line in sys.stdin:
        fields = json.loads(line)
        task, fold = FoldTask.from_dict(fields["task"]), folds[fields["number"]]
        try:
            entry = train_fold(
                task, dataset, fold, on_step=tell.step, on_probe=lambda trial: tell.say("probe", asdict(trial))
            )
        except TrimtabError as error:
            tell.say("error", [type(error).__name__, error.given, error.expected, error.action])
        else:
            tell.say("done", entry)


def _read_shared(folder: Path) -> tuple[Dataset, Path]:
    """Return the pictures, mapped from their file, with what training reads of the data, and the directory."""
    shared = json.loads((folder / SHARED).read_text())
    labels = np.load(folder / LABELS, allow_pickle=False)
    dataset = Dataset(
        name=shared["name"],
        kind="image",
        labels=labels,
        class_names=tuple(shared["class_names"]),
        content_hash=shared["content_hash"],
        row_names=[""] * len(labels),  # nobody asks for names here
        images=np.load(shared["images"], mmap_mode="r", allow_pickle=False),
    )
    return dataset, Path(shared["directory"])


class _Teller:
    """Writes lines of JSON; of steps only some, for a bar."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._told = stream, 0.0

    def say(self, what: str, content: Any) -> None:
        print(json.dumps({what: content}), file=self._stream, flush=True)

    def step(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= _TOLD_SECONDS or done == total:
            self._told = now
            self.say("step", [done, total])


if __name__ == "__main__":
    main()
