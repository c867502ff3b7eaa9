"""Runs handlers on the owner's own thread, one after the other: everything happens in a known order. For tests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from streamq.core.lanes import Run, Work
from streamq.model.clock import Clock
from streamq.model.handlers import AsyncHandler, BoundHandler, SyncHandler
from streamq.model.outcomes import DONE, Failure, Outcome, Retry
from streamq.runtime.executor import BRIEF_S, Completion, Overdue, timed_out
from streamq.runtime.gate import StartGate


class InlineExecutor:
    """See `Executor`: `hand_over` runs the works before it returns. A coroutine runs to its end on an event loop of the
    executor's own, cancelled at its time-out in real time; the time of `clock` passes only as the handler lets it."""

    def __init__(
        self, handler: BoundHandler, *, concurrency: int, timeout_s: float | None, gate: StartGate, clock: Clock
    ) -> None:
        self._handler = handler
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._gate = gate
        self._clock = clock
        self._outbox: deque[Completion] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def in_flight(self) -> int:
        """Works not collected yet: nothing ever runs beyond `hand_over`."""
        return sum(len(run.works) for run, _ in self._outbox)

    @property
    def room(self) -> int:
        """As many as run at once elsewhere."""
        return self._concurrency - self.in_flight

    @property
    def longest(self) -> int:
        """One at a time: keys take turns."""
        return 1

    def hand_over(self, runs: Sequence[Run]) -> None:
        """Run these, in this order."""
        for run in runs:
            self._outbox.append((run, self._attempts(run)))

    def _attempts(self, run: Run) -> Outcome | None:
        for work in run.works:
            started = self._clock.monotonic()
            if not (run.lane.partition.open and self._gate.may_start(started)):
                return None
            outcome = self._run(work)
            ran_s = self._clock.monotonic() - started
            run.spent_s += ran_s
            if ran_s >= BRIEF_S:
                run.slow += (ran_s,)
            if self._timeout_s is not None and ran_s > self._timeout_s:
                return timed_out(self._timeout_s, ran_s)
            if outcome is not DONE:
                return outcome
            run.done += 1
        return None

    def collect(self) -> Sequence[Completion]:
        """What was run since the last call."""
        completions = list(self._outbox)
        self._outbox.clear()
        return completions

    def under_way(self) -> Sequence[Run]:
        """Nothing runs on."""
        return ()

    def at_work(self) -> Sequence[Work]:
        """Nothing runs on."""
        return ()

    def withdraw(self) -> None:
        """Nothing waits here."""

    def wait(self, timeout_s: float, enough: int = 1) -> None:
        """Nothing comes by waiting: the clock moves on instead."""
        if not self._outbox:
            self._clock.sleep(timeout_s)

    def overdue(self, now: float) -> Sequence[Overdue]:
        """Nothing runs on."""
        return ()

    def stop(self, timeout_s: float) -> None:
        """Close the event loop."""
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            self._loop = None

    def _run(self, work: Work) -> Outcome:
        match self._handler:
            case SyncHandler(call):
                return call(work.record, work.attempt)
            case AsyncHandler():
                return self._run_async(self._handler, work)

    def _run_async(self, handler: AsyncHandler, work: Work) -> Outcome:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        attempt = asyncio.wait_for(handler.call(work.record, work.attempt), self._timeout_s)
        try:
            return self._loop.run_until_complete(attempt)
        except TimeoutError:
            return timed_out(self._timeout_s or 0.0, self._timeout_s or 0.0)
        except asyncio.CancelledError:
            return Retry(Failure.of("CancelledError", "the handler was cancelled"))
