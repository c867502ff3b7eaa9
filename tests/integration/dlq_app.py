"""An application whose handler rejects everything until it is mended: a file says whether it is."""

from __future__ import annotations

import os
from pathlib import Path

import streamq as sq

app = sq.App(os.environ.get("WORKER_APP", "dlq-app"))
tasks = app.topic(os.environ.get("WORKER_TOPIC", "dlq-topic"), value=dict[str, float], partitions=2)
_NOTES = Path(os.environ.get("WORKER_NOTES", "notes.txt"))


def note(line: str) -> None:
    """Append a line in one write, so that a kill leaves whole ones."""
    with _NOTES.open("a") as notes:
        notes.write(line + "\n")


@app.processor(tasks, name="chained", concurrency=64, on_dead="chain")
async def chained(task: dict[str, float], ctx: sq.Context) -> None:
    """Notes which record it has done."""
    if not _NOTES.with_name("mended").exists():
        raise sq.Reject("not mended yet")
    key = (ctx.record.key or b"").decode()
    note(f"{key} {ctx.record.partition}:{ctx.record.offset}")
