"""What is to be cleaned, and what was."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Sweep(msgspec.Struct, frozen=True):
    """Delete the files below `folder` that were last changed before `changed_before`, `batch` at a time.

    `folder` is below the topology's own folder ("" for all of it). The time is a fixed one, not an age, so that a
    repeat deletes nothing else than the first attempt.
    """

    folder: str
    changed_before: datetime
    batch: int = 1000


class Report(msgspec.Struct, frozen=True):
    """What one batch came to. `failed` names files that could not be deleted; `more` says whether another follows."""

    folder: str
    deleted: int
    freed_bytes: int
    failed: tuple[str, ...]
    more: bool
