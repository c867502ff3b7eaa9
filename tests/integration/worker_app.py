"""The application of the worker's tests. Topic and behaviour come from the environment and from the values."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import streamq as sq

app = sq.App(os.environ.get("WORKER_APP", "worker-app"))
tasks = app.topic(os.environ.get("WORKER_TOPIC", "worker-topic"), value=dict[str, float], partitions=2)


def note(line: str) -> None:
    """Append a line to the test's file."""
    path = Path(os.environ["WORKER_NOTES"])
    with path.open("a") as notes:
        notes.write(line + "\n")


@app.processor(tasks, name="wait", concurrency=8, retry=sq.RetryPolicy(max_attempts=2, backoff_s=0.05))
async def wait(task: dict[str, float], ctx: sq.Context) -> None:
    """Waits as long as the task says; fails or rejects if it says so."""
    key = (ctx.record.key or b"").decode()
    note(f"start {key} {ctx.record.partition}:{ctx.record.offset} pid={os.getpid()}")
    await asyncio.sleep(task.get("seconds", 0))
    if task.get("fail"):
        raise ValueError("it always fails")
    note(f"end {key} {ctx.record.partition}:{ctx.record.offset} pid={os.getpid()}")


@app.processor(tasks, name="block", concurrency=2, timeout_s=0.3)
def block(task: dict[str, float], ctx: sq.Context) -> None:
    """Blocks its thread for as long as the task says, whatever its time-out."""
    key = (ctx.record.key or b"").decode()
    note(f"start {key} {ctx.record.partition}:{ctx.record.offset} pid={os.getpid()}")
    time.sleep(task.get("seconds", 0))
    note(f"end {key} {ctx.record.partition}:{ctx.record.offset} pid={os.getpid()}")
