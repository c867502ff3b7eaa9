"""Runs `async def` handlers on one event loop in a thread of its own.

Each slot is one long-lived task that takes the next run by itself: no task is made for a record. A time-out cancels
the slot's task while its handler waits; the task itself goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from streamq.core.lanes import Run
from streamq.model.clock import Clock
from streamq.model.handlers import AsyncHandler
from streamq.model.outcomes import DONE, Failure, Outcome, Retry
from streamq.runtime.executor import BRIEF_S, Exchange, Slot, died, timed_out
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
        self._watching = False  # whether `_wake` is going to look into the inbox
        self._stopping = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name=f"{name}-handlers", daemon=True)
        self._thread.start()

    def hand_over(self, runs: Sequence[Run]) -> None:
        """Run these on the event loop."""
        self._in_flight += sum([len(run.works) for run in runs])
        self._inbox.extend(runs)
        self._call_wake()

    def withdraw(self) -> None:
        """Send back what has not started of partitions that have stopped."""
        super().withdraw()
        # A slot may have gone to rest while the last run was out of the inbox for a look.
        self._call_wake()

    def _call_wake(self) -> None:
        """Have the loop look into the inbox, unless it is about to: to wake it costs a system call, and the GIL."""
        if not self._watching:
            self._watching = True
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
        """Let as many slots look into the inbox as the handler's measured time asks for, idle ones first, then new
        ones; and look again in the loop's next turn, since whoever is woken may wait for long."""
        inbox = self._inbox
        wanted = min(len(inbox), 1 + int(len(inbox) * self.longest * self._mean_s / SLICE_S))
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
        # Without a free slot nobody need look: who becomes free does. First the flag: the owner first fills the inbox.
        self._watching = False
        if inbox and (self._idle or len(self._slots) < self._concurrency):
            self._watching = True
            self._loop.call_soon(self._wake)

    async def _run_slot(self, slot: Slot) -> None:
        """Take runs, one after the other."""
        inbox = self._inbox
        while True:
            while not inbox:
                await self._rest()
            try:
                slot.run = run = inbox.popleft()
            except IndexError:
                continue  # the owner withdrew it meanwhile
            outcome = await self._attempts(slot, run)
            slot.run = None
            self._give_back((run, outcome))

    async def _attempts(self, slot: Slot, run: Run) -> Outcome | None:
        """Attempt works of the run in turn. What came of the first that is not done; None if it did not start. The hot
        path of `async def` handlers: nothing is called or made here that need not be."""
        partition, gate, monotonic, call = run.lane.partition, self._gate, self._clock.monotonic, self._call
        first = began = monotonic()
        for work in run.works:
            if not partition.open or began > gate.until:
                break
            slot.started, slot.work = began, work
            try:
                outcome = await call(work.record, work.attempt)
            except (asyncio.CancelledError, KeyboardInterrupt, SystemExit) as error:
                outcome = self._ended_by(error)
            slot.work = None
            ended = monotonic()
            if ended - began >= BRIEF_S:
                run.slow += (ended - began,)
            if slot.cancelled:
                outcome = self._timed_out(slot, ended - began)
            if outcome is not DONE:
                run.spent_s = ended - first
                return outcome
            run.done += 1
            began = ended
            if ended > self._slice_ends:
                await asyncio.sleep(0)
                began = monotonic()
                first += began - ended
                self._slice_ends = began + SLICE_S
        run.spent_s = began - first
        return None

    async def _rest(self) -> None:
        """Wait until there may be work."""
        sleeper = self._loop.create_future()
        self._idle.append(sleeper)
        await sleeper

    def _ended_by(self, error: BaseException) -> Outcome:
        """By its time-out, by the handler's own doing, or by what was meant to end something else: the slot goes on."""
        if not isinstance(error, asyncio.CancelledError):
            return died(error)
        if self._stopping:
            raise error
        self._forget_cancellation()
        return CANCELLED

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
