"""The effect ledger: every start and end of a handler, a file a process, appended line by line.

Line: `S|E key partition offset attempt monotonic_ns`. The monotonic clock is one for all processes of a machine, so the
lines of all files have one order. A line is one `write` to a file opened with O_APPEND: a killed process loses none.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


class Ledger:
    """Writes this process's file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / f"{os.getpid()}.ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def start(self, key: str, partition: int, offset: int, attempt: int) -> None:
        """A handler starts."""
        self._write("S", key, partition, offset, attempt)

    def end(self, key: str, partition: int, offset: int, attempt: int) -> None:
        """A handler has done its work."""
        self._write("E", key, partition, offset, attempt)

    def _write(self, what: str, key: str, partition: int, offset: int, attempt: int) -> None:
        line = f"{what} {key} {partition} {offset} {attempt} {time.monotonic_ns()}\n"
        os.write(self._file, line.encode())
