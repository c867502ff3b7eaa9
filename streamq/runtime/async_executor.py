"""Runs `async def` handlers on one event loop in a thread of its own.

Each slot is one long-lived task that takes the next record by itself: no task is made for a record. A time-out cancels
the slot's task while its handler waits; the task itself goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from streamq.core.lanes import Work
from streamq.model.clock import Clock
from streamq.model.handlers import AsyncHandler
from streamq.model.outcomes import Failure, Outcome, Retry
from streamq.runtime.executor import Exchange, Slot, died, timed_out
from streamq.runtime.gate import StartGate

CANCELLED: Outcome = Retry(Failure.of("CancelledError", "the handler was cancelled"))
SLICE_S = 0.001
"""How long handlers that never wait may keep the event loop before its other tasks get a turn."""


class AsyncExecutor(Exchange):
    """See `Executor`. The event loop's thread is a daemon: a handler that cannot be ended does not keep the process."""

    def __init__(
        self,
        handler: AsyncHandler,
        *,
        concurrency: int,
        timeout_s: float | None,
        gate: StartGate,
        clock: Clock,
        name: str,
    ) -> None:
        super().__init__(concurrency, timeout_s, gate, clock)
        self._call = handler.call
        self._tasks: list[asyncio.Task[None]] = []
        self._idle: list[asyncio.Future[None]] = []
        self._slice_ends = 0.0
        self._stopping = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name=f"{name}-handlers", daemon=True)
        self._thread.start()

    def hand_over(self, works: Sequence[Work]) -> None:
        """Run these on the event loop."""
        self._in_flight += len(works)
        self._inbox.extend(works)
        self._loop.call_soon_threadsafe(self._wake)

    def withdraw(self) -> None:
        """Send back what has not started of partitions that have stopped."""
        super().withdraw()
        # A slot may have gone to rest while the last work was out of the inbox for a look.
        self._loop.call_soon_threadsafe(self._wake)

    def stop(self, timeout_s: float) -> None:
        """Cancel what runs and end the loop's thread, if it ends within `timeout_s`."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._cancel_all)
            self._thread.join(timeout_s)

    # Everything below runs on the event loop's thread.

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        if self._timeout_s is not None:
            self._sweep(self._timeout_s)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _cancel_all(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        waiting = asyncio.gather(*self._tasks, return_exceptions=True)
        waiting.add_done_callback(lambda _: self._loop.stop())

    def _wake(self) -> None:
        """Let as many slots look into the inbox as there are works: idle ones first, then new ones."""
        wanted = len(self._inbox)
        while wanted and self._idle:
            sleeper = self._idle.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                wanted -= 1
        while wanted and len(self._slots) < self._concurrency:
            slot = Slot()
            self._slots.append(slot)
            self._tasks.append(self._loop.create_task(self._run_slot(slot)))
            wanted -= 1

    async def _run_slot(self, slot: Slot) -> None:
        """Take works and run them, one after the other. The hot path of `async def` handlers: nothing is called or made
        here that need not be."""
        inbox, outbox, gate, monotonic = self._inbox, self._outbox, self._gate, self._clock.monotonic
        while True:
            while not inbox:
                await self._rest()
            try:
                work = inbox.popleft()
            except IndexError:
                continue  # the owner withdrew it meanwhile
            slot.started = began = monotonic()
            if not work.lane.partition.open or gate.shut or began - gate.last_tick > gate.limit_s:
                self._give_back((work, None, 0.0))
                continue
            outcome = await self._attempt(slot, work)
            ended = monotonic()
            if slot.cancelled:
                outcome = self._timed_out(slot, ended - began)
            outbox.append((work, outcome, ended - began))
            if self._sleeping and len(outbox) >= self._enough:
                self._arrived.set()
            if ended > self._slice_ends:
                await asyncio.sleep(0)
                self._slice_ends = monotonic() + SLICE_S

    async def _rest(self) -> None:
        """Wait until there may be work."""
        sleeper = self._loop.create_future()
        self._idle.append(sleeper)
        await sleeper

    async def _attempt(self, slot: Slot, work: Work) -> Outcome:
        slot.work = work
        try:
            return await self._call(work.record, work.attempt)
        except asyncio.CancelledError:
            if self._stopping:
                raise
            self._forget_cancellation()
            return CANCELLED  # by its time-out, or by the handler's own doing: the slot itself goes on
        except (KeyboardInterrupt, SystemExit) as error:
            # Whatever it was meant to end, it must not end the slot with its record.
            return died(error)
        finally:
            slot.work = None

    @staticmethod
    def _forget_cancellation() -> None:
        task = asyncio.current_task()
        while task is not None and task.cancelling():
            task.uncancel()

    def _timed_out(self, slot: Slot, ran_s: float) -> Outcome:
        slot.cancelled = False
        self._forget_cancellation()
        return timed_out(self._timeout_s or 0.0, ran_s)

    def _sweep(self, timeout_s: float) -> None:
        """Cancel, once, each handler that has run for longer than the time-out."""
        limit = self._clock.monotonic() - timeout_s
        for slot, task in zip(self._slots, self._tasks, strict=True):
            if slot.work is not None and slot.started < limit and not slot.cancelled:
                slot.cancelled = True
                task.cancel()
        self._loop.call_later(min(max(timeout_s / 20, 0.005), 0.25), self._sweep, timeout_s)
