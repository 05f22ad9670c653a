"""The record of a run: what was opened, spent and decided, appended line by line and chained by hashes.

Each line carries the hash of the line before it, so a line changed or removed later is noticed. This is
tamper-evident, not tamper-proof: whoever can write the file can rewrite all of it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trimtab.errors import IntegrityError
from trimtab.storage import sha256_bytes

_FIRST = "0" * 64


class Ledger:
    """An append-only JSON-lines file.

    Parameters
    ----------
    path
        The file; it is made at the first `append`. Reading changes nothing. A torn last line, left by a killed
        process, is passed over; the first `append` cuts it off and records that.
    clock
        Seconds since the epoch; only written down, nothing depends on it.

    Raises
    ------
    IntegrityError
        If a complete line is not the one that was written.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._events: list[dict[str, Any]] = []
        self._torn_bytes = self._read()

    def append(self, event: str, **fields: Any) -> None:
        """Write one event and wait until it is on the disk.

        Raises
        ------
        ValueError
            If a field is not JSON (NaN and infinity are not).
        """
        self._remove_torn_line()
        entry = {"sequence": len(self._events), "time": round(self._clock(), 3), "event": event, **fields}
        entry["previous"] = self._events[-1]["hash"] if self._events else _FIRST
        entry["hash"] = _hash(entry)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._events.append(json.loads(json.dumps(entry)))

    def _remove_torn_line(self) -> None:
        torn, self._torn_bytes = self._torn_bytes, 0
        if torn:
            with self.path.open("r+b") as file:
                file.truncate(self.path.stat().st_size - torn)
            self.append("torn_line_removed", bytes=torn)

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the events in order; with a name, only those."""
        return [event for event in self._events if name is None or event["event"] == name]

    def verify(self) -> None:
        """Read the file again and check every hash.

        Raises
        ------
        IntegrityError
            If a line is not the one that was written.
        """
        self._read()

    def _read(self) -> int:
        """Load and check the complete lines; return the number of bytes after the last of them."""
        content = self.path.read_bytes() if self.path.exists() else b""
        *lines, rest = content.split(b"\n")
        self._events, previous = [], _FIRST
        for number, line in enumerate(lines):
            entry = _parse(line)
            if entry is None or entry.get("previous") != previous or entry.get("hash") != _hash(entry):
                raise IntegrityError(
                    f"line {number + 1} of {self.path} does not continue the chain of hashes",
                    "a ledger that only trimtab has written to",
                    "restore the file from a copy or start a new run",
                )
            previous = entry["hash"]
            self._events.append(entry)
        return len(rest)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _hash(entry: dict[str, Any]) -> str:
    content = {key: value for key, value in entry.items() if key != "hash"}
    return sha256_bytes(json.dumps(content, sort_keys=True).encode())
