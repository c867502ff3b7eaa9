"""Group commit: many handlers wait, one transaction serves them all.

A COMMIT waits for the disk, some milliseconds. One for each record would allow a few hundred records a second; one for
all that came up while the last one was written allows tens of thousands, and no handler returns before its record is on
disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class GroupCommitter(Generic[Item]):
    """Collects items from the coroutines of one event loop and hands them over in groups, in the order of the calls.

    `write` makes a group durable or raises; it runs on a thread, one call at a time, so that the loop goes on.
    """

    def __init__(self, write: Callable[[Sequence[Item]], object]) -> None:
        self._write = write
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> None:
        """Return when the item is durable.

        Raises:
            Exception: what `write` raised for the item's group; nothing of the group was written.
        """
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._waiting.append((item, written))
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        await written

    async def _run(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            (result,) = await asyncio.gather(
                asyncio.to_thread(self._write, [item for item, _ in group]), return_exceptions=True
            )
            failure = result if isinstance(result, BaseException) else None
            for _, written in group:
                _resolve(written, failure)


def _resolve(written: asyncio.Future[None], failure: BaseException | None) -> None:
    # A handler that ran out of time was cancelled while it waited; what it added is written all the same.
    if written.done():
        return
    if failure is None:
        written.set_result(None)
    else:
        written.set_exception(failure)
