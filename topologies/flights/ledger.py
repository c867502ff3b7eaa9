"""The effect ledger: a line when a handler starts and one when it ends, to be checked afterwards by `audit`.

Each process appends to a file of its own; a killed process leaves every line that it wrote. A line holds: S (start) or
the outcome, monotonic nanoseconds (one clock for all processes of a machine), partition, offset, attempt and the key
("-" for none).
"""

from __future__ import annotations

import os
import time
from mmap import mmap
from pathlib import Path
from types import TracebackType
from typing import Protocol

import streamq as sq

DONE, REJECTED, FAILED = "D", "R", "F"
FIRST_BYTES = 16 * 1024 * 1024
"""How long a ledger is at first, on paper: zeros take no room. It is doubled when it is full."""


class Ledger(Protocol):
    """Where the effects of handlers are noted."""

    def note(self, what: str, record: sq.Record, attempt: int) -> None:
        """Append one line."""
        ...


class NoLedger:
    """Notes nothing: what runs when nobody wants to check."""

    def note(self, what: str, record: sq.Record, attempt: int) -> None:
        """Do nothing."""


class FileLedger:
    """The ledger of this process: `<folder>/<pid>.ledger`. For the coroutines of one event loop.

    The file is mapped into memory: what is written there is the operating system's at once, also if the process is
    killed in the next moment, and costs no system call. It is longer than what stands in it; the rest is zeros.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{os.getpid()}.ledger").open("w+b") as file:
            file.truncate(FIRST_BYTES)
            self._map = mmap(file.fileno(), FIRST_BYTES)
        self._end = 0

    def note(self, what: str, record: sq.Record, attempt: int) -> None:
        """Append one line; it is with the operating system when this returns."""
        key = record.key.decode("ascii", "backslashreplace") if record.key else "-"
        line = f"{what} {time.monotonic_ns()} {record.partition} {record.offset} {attempt} {key}\n".encode()
        start, self._end = self._end, self._end + len(line)
        if self._end > len(self._map):
            self._map.resize(max(2 * len(self._map), self._end))
        self._map[start : self._end] = line


class Effect:
    """Notes the start of an attempt and how it ended: `with Effect(ledger, ctx): …`."""

    __slots__ = ("_attempt", "_ledger", "_record")

    def __init__(self, ledger: Ledger, ctx: sq.Context) -> None:
        self._ledger = ledger
        self._record = ctx.record
        self._attempt = ctx.attempt

    def __enter__(self) -> None:
        self._ledger.note("S", self._record, self._attempt)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = DONE if kind is None else REJECTED if issubclass(kind, sq.Reject) else FAILED
        self._ledger.note(outcome, self._record, self._attempt)
