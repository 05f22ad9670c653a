"""The workers that train together, as one of them sees them: joining, waiting for each other, telling what to do.

Before training everything goes through a small store that rank 0 holds (whoever decodes pictures may take minutes, and
nobody waits in a collective for that); in training it goes through `trimtab.training.distributed.channel`.

A worker that is lost is noticed in one of three ways: a connection to it breaks, which is so within milliseconds when
its process dies; torchrun or Ray ends the others; or nothing is heard for `TIMEOUT_SECONDS`, where torch's own limit
would be half an hour of silence.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from trimtab.training.distributed.worker import Worker, WorkerLost

TIMEOUT_SECONDS = 120
_LOOK_SECONDS = 5.0  # how long one wait takes before it looks whether the store is still there
_FAREWELL_SECONDS = 10.0
_STOP = "stop"


@contextmanager
def talking() -> Iterator[None]:
    """Turn a broken connection, or a worker that is silent for too long, into one sentence.

    Other errors pass: it may stand around a computation that talks in between.

    Raises
    ------
    WorkerLost
        If another worker does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        found = re.search(r"[Cc]onnection \w+ by peer|[Tt]imed out|refused", str(error))
        raise WorkerLost(
            "another worker does not answer" + (f" ({found[0].lower()})" if found else ""),
            "all of them until the end",
            "they go on from the newest checkpoint when they are started again",
        ) from error


class Team:
    """The workers of one run; there is one in a process.

    Parameters
    ----------
    worker
        Which of them this process is.

    Attributes
    ----------
    is_dismissed
        Whether the others do not listen any more: they were told to stop, or an error left them waiting.
    may_meet_old_store
        Whether workers that torchrun starts again would find its store of the lost ones (pytorch issue 135712).

    Raises
    ------
    WorkerLost
        If the others do not come within `TIMEOUT_SECONDS`.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._told = self._heard = 0
        self.is_dismissed = False
        timeout = timedelta(seconds=TIMEOUT_SECONDS)
        has_agent_store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        self.may_meet_old_store = has_agent_store and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
        with talking():
            server = TCPStore(
                os.environ["MASTER_ADDR"],
                int(os.environ["MASTER_PORT"]),
                is_master=worker.rank == 0 and not has_agent_store,
                timeout=timeout,
                wait_for_workers=False,
                multi_tenant=True,
            )
            # What an earlier attempt left in a store that outlived it must not be read.
            self._store = PrefixStore(f"trimtab/{worker.attempt}", server)
            group = PrefixStore("group", self._store)
            distributed.init_process_group(
                "gloo", store=group, rank=worker.rank, world_size=worker.world_size, timeout=timeout
            )

    # ---- rank 0 tells, the others hear ----

    def tell(self, name: str, content: dict[str, Any] | None = None) -> None:
        """Leave a message for all others, who hear messages in order."""
        self._set(f"message/{self._told}", {"name": name, "content": content or {}})
        self._told += 1

    def hear(self) -> tuple[str, dict[str, Any]] | None:
        """Wait for the next message, however long it takes; return its name and content, or ``None`` to stop."""
        message = self._get(f"message/{self._heard}")
        self._heard += 1
        if message["name"] != _STOP:
            return message["name"], message["content"]
        self._set(f"gone/{self.worker.rank}", {})
        return None

    def dismiss(self) -> None:
        """Tell all others to stop, and wait a little until they have heard it: the store ends with this process."""
        if self.is_dismissed:
            return
        self.is_dismissed = True
        self.tell(_STOP)
        gone = [f"gone/{rank}" for rank in range(1, self.worker.world_size)]
        with suppress(RuntimeError):  # who does not hear it finds the connection broken
            self._store.wait(gone, timedelta(seconds=_FAREWELL_SECONDS))

    # ---- everybody says something about itself ----

    def report(self, **facts: Any) -> None:
        """Say something about this worker; the name of its machine is added."""
        self._set(f"report/{self.worker.rank}", {"host": socket.gethostname(), **facts})

    def reports(self) -> list[dict[str, Any]]:
        """Wait until every other worker has reported; return what they said, by rank."""
        return [self._get(f"report/{rank}") for rank in range(1, self.worker.world_size)]

    def mark_read(self) -> None:
        """Say that this machine's data are decoded, so that the others on it find them in the cache."""
        self._set(f"read/{self.worker.machine}", {})

    def wait_until_read(self) -> None:
        """Wait until the first worker of this machine has decoded the data; the first itself does not wait."""
        if self.worker.local_rank > 0:
            self._get(f"read/{self.worker.machine}")

    # ---- the store ----

    def _set(self, key: str, content: dict[str, Any]) -> None:
        with talking():
            self._store.set(key, json.dumps(content))

    def _get(self, key: str) -> dict[str, Any]:
        """Wait for a key without end, as long as the store answers."""
        with talking():
            while not self._store.check([key]):
                try:
                    self._store.wait([key], timedelta(seconds=_LOOK_SECONDS))
                except distributed.DistStoreError:  # not yet there
                    continue
            content: dict[str, Any] = json.loads(self._store.get(key))
        return content
