"""The app: sweeps come in, files go, and a report comes out for each batch."""

from __future__ import annotations

import os
from pathlib import Path

import streamq as sq
from topologies.cleanup.records import Report, Sweep
from topologies.cleanup.sweep import FolderError, sweep

FOLDER = "CLEANUP_FOLDER"
DEFAULT_FOLDER = ".streamq/cleanup"

app = sq.App("cleanup", version="1")
sweeps = app.topic("sweeps", value=Sweep, key=str, partitions=6)
reports = app.topic("sweep-reports", value=Report, key=str, partitions=6)


@app.processor(sweeps, concurrency=4, retry=sq.RetryPolicy(max_attempts=5, backoff_s=1.0))
def clean(task: Sweep, ctx: sq.Context) -> None:
    """Delete one batch; where more is left, publish the task again, so that no attempt takes long.

    Keyed by folder: two sweeps of one folder never run at once.
    """
    if task.batch < 1:
        raise sq.Reject(f"batch is {task.batch}: use a whole number from 1 up")
    if task.changed_before.tzinfo is None:
        raise sq.Reject(f"changed_before is {task.changed_before.isoformat()}, a time without a zone")
    try:
        swept = sweep(root(), task.folder, task.changed_before.timestamp(), task.batch)
    except FolderError as error:
        raise sq.Reject(str(error)) from error
    report = Report(task.folder, swept.deleted, swept.freed_bytes, swept.failed, swept.more)
    ctx.publish(reports, report, key=task.folder)
    if swept.more:
        ctx.publish(sweeps, task, key=task.folder)


def root() -> Path:
    """The folder that is cleaned: `CLEANUP_FOLDER`, else one below the current folder that holds nothing else."""
    return Path(os.environ.get(FOLDER) or DEFAULT_FOLDER)
