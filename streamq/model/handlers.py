"""What the runtime knows of a user's handler: one call that takes a record and returns an outcome."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import NamedTuple

from streamq.model.outcomes import Outcome
from streamq.model.records import Record

SyncCall = Callable[[Record, int], Outcome]
AsyncCall = Callable[[Record, int], Coroutine[object, object, Outcome]]


class SyncHandler(NamedTuple):
    """A `def` handler, decoding, context and exceptions included: `call(record, attempt)` runs one attempt on the
    calling thread, blocks until what it published is confirmed, and raises nothing but what ends a thread."""

    call: SyncCall


class AsyncHandler(NamedTuple):
    """An `async def` handler, likewise; the coroutine raises `asyncio.CancelledError` when it is cancelled from
    outside, and nothing else."""

    call: AsyncCall


BoundHandler = SyncHandler | AsyncHandler
