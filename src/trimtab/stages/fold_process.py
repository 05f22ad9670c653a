"""One process that trains folds, as the one that started it sees it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from trimtab.stages.fold_training import FoldTask


class FoldProcess:
    """A process of `trimtab.stages.fold_worker`, with a thread that reads what it says.

    Parameters
    ----------
    folder
        What all processes share.
    messages
        Where what it says goes, with the process itself; ``None`` once it says nothing any more.

    Attributes
    ----------
    position
        Of the fold that it works on; ``None`` when it waits for one.
    steps
        Of that fold: done and planned.
    """

    def __init__(self, folder: str, messages: Messages) -> None:
        self.position: int | None = None
        self.steps = [0, 0]
        self._messages = messages
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "trimtab.stages.fold_worker", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._thread = threading.Thread(target=self._listen, name="trimtab-fold", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Its number in the operating system."""
        return self._process.pid

    def give(self, position: int, number: int, task: FoldTask) -> None:
        """Let it train a fold."""
        self.position, self.steps = position, [0, 0]
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):  # it is gone, which the thread tells
            print(json.dumps({"number": number, "task": task.to_dict()}), file=self._process.stdin, flush=True)

    def leave(self) -> int:
        """Return the position of the fold that it worked on, and let it wait for another."""
        position, self.position = self.position, None
        assert position is not None  # noqa: S101 - it says nothing while it waits
        return position

    def end(self, *, patience: float = 0.0) -> int:
        """End it, if it does not end by itself within some seconds, and return its exit code."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self._process.kill()
        code = self._process.wait()
        self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        return code

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with suppress(ValueError):  # half a line: it was killed
            for line in self._process.stdout:
                self._messages.put((self, json.loads(line)))
        self._messages.put((self, None))


Messages = queue.SimpleQueue[tuple[FoldProcess, dict[str, Any] | None]]
