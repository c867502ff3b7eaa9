"""The effect ledger: a line when a handler starts and one when it ends, to be checked afterwards by `audit`.

Each process appends to a file of its own; each line is one write to the file, so that a killed process leaves every
line that it wrote. A line holds: S (start) or the outcome, monotonic nanoseconds (one clock for all processes of a
machine), partition, offset, attempt and the key ("-" for none).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol

import streamq as sq

DONE, REJECTED, FAILED = "D", "R", "F"
OUTCOMES = (DONE, REJECTED, FAILED)


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
    """The ledger of this process: `<folder>/<pid>.ledger`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{os.getpid()}.ledger"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, what: str, record: sq.Record, attempt: int) -> None:
        """Append one line; it is with the operating system when this returns."""
        key = record.key.decode("ascii", "backslashreplace") if record.key else "-"
        line = f"{what} {time.monotonic_ns()} {record.partition} {record.offset} {attempt} {key}\n"
        os.write(self._file, line.encode())


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
