"""The application under fire: handlers of 1 to 20 ms that write the effect ledger and nothing else."""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from pathlib import Path

import msgspec

import streamq as sq
from tests.chaos.ledger import Ledger

TOPIC = os.environ.get("LEDGER_TOPIC", "chaos")
PARTITIONS = 6


class Task(msgspec.Struct):
    """What is published."""

    number: int


app = sq.App(f"{TOPIC}-app")
tasks = app.topic(TOPIC, value=Task, partitions=PARTITIONS)
_ledger: list[Ledger] = []


def ledger() -> Ledger:
    """This process's ledger, opened by its first handler."""
    if not _ledger:
        _ledger.append(Ledger(Path(os.environ["LEDGER_FOLDER"])))
    return _ledger[0]


def duration_s(task: Task) -> float:
    """1 to 20 ms, the same for a task at every attempt."""
    return 0.001 + zlib.crc32(str(task.number).encode()) % 19_001 / 1_000_000


def _place(ctx: sq.Context) -> tuple[str, int, int, int]:
    record = ctx.record
    return (record.key or b"").decode(), record.partition, record.offset, ctx.attempt


@app.processor(tasks, name="coroutine", concurrency=64)
async def coroutine(task: Task, ctx: sq.Context) -> None:
    """An `async def` handler."""
    ledger().start(*_place(ctx))
    await asyncio.sleep(duration_s(task))
    ledger().end(*_place(ctx))


@app.processor(tasks, name="thread", concurrency=64)
def thread(task: Task, ctx: sq.Context) -> None:
    """A `def` handler."""
    ledger().start(*_place(ctx))
    time.sleep(duration_s(task))
    ledger().end(*_place(ctx))
