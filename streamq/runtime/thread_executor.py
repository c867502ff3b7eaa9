"""Runs `def` handlers on threads.

Threads take runs one by one from a common queue, so a slow handler never holds up another key; they
are woken in the number that the handler's measured time asks for, so a fast handler does not pay a wake-up a record.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import SimpleQueue

from streamq.core.lanes import Run, Work
from streamq.model.clock import Clock
from streamq.model.handlers import SyncHandler
from streamq.model.outcomes import DONE, Outcome
from streamq.runtime.executor import AHEAD_S, BRIEF_S, Completion, Exchange, Slot, died, timed_out
from streamq.runtime.gate import StartGate


class ThreadExecutor(Exchange):
    """See `Executor`. Threads are daemons, made when they are first needed: one that cannot be ended does not keep the
    process."""

    def __init__(
        self,
        handler: SyncHandler,
        *,
        concurrency: int,
        timeout_s: float | None,
        gate: StartGate,
        clock: Clock,
        name: str,
    ) -> None:
        super().__init__(concurrency, timeout_s, gate, clock)
        self._call = handler.call
        self._name = name
        self._tokens: SimpleQueue[bool] = SimpleQueue()  # True: look into the inbox; False: end
        self._threads: list[threading.Thread] = []

    def hand_over(self, runs: Sequence[Run]) -> None:
        """Run these on the threads."""
        self._in_flight += sum([len(run.works) for run in runs])
        self._inbox.extend(runs)
        self._nudge()

    def collect(self) -> Sequence[Completion]:
        """What came back since the last call; wakes more threads if runs still wait for one."""
        if self._inbox:
            self._nudge()
        return super().collect()

    def stop(self, timeout_s: float) -> None:
        """End the threads that are idle or become so within `timeout_s` altogether."""
        for _ in self._threads:
            self._tokens.put(False)
        ends = self._clock.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, ends - self._clock.monotonic()))

    def _nudge(self) -> None:
        waiting = len(self._inbox)
        wanted = (
            min(waiting, self._concurrency, 1 + int(waiting * self.longest * self._mean_s / AHEAD_S))
            - self._tokens.qsize()
        )
        for _ in range(wanted):
            self._tokens.put(True)
        # Counted anew each time: a thread that had just taken a run may have looked idle at the last look.
        idle = len(self._threads) - sum(slot.run is not None for slot in self._slots)
        missing = min(self._tokens.qsize() - idle, self._concurrency - len(self._threads))
        for _ in range(missing):
            self._start_thread()

    def _start_thread(self) -> None:
        slot = Slot()
        self._slots.append(slot)
        thread = threading.Thread(
            target=self._run, args=(slot,), name=f"{self._name}-handler-{len(self._threads)}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    # Runs on the handlers' threads.

    def _run(self, slot: Slot) -> None:
        while self._tokens.get():
            while True:
                try:
                    slot.run = run = self._inbox.popleft()
                except IndexError:
                    break
                outcome = self._attempts(slot, run)
                slot.run = None
                self._give_back((run, outcome))

    def _attempts(self, slot: Slot, run: Run) -> Outcome | None:
        """Attempt works of the run in turn. What came of the first that is not done; None if it did not start."""
        partition, gate, monotonic = run.lane.partition, self._gate, self._clock.monotonic
        first = began = monotonic()
        for work in run.works:
            if not partition.open or began > gate.until:
                break
            slot.started, slot.work = began, work
            outcome = self._attempt(work)
            slot.work = None
            ended = monotonic()
            if ended - began >= BRIEF_S:
                run.slow += (ended - began,)
            if self._timeout_s is not None and ended - began > self._timeout_s:
                outcome = timed_out(self._timeout_s, ended - began)
            if outcome is not DONE:
                run.spent_s = ended - first
                return outcome
            run.done += 1
            began = ended
        run.spent_s = began - first
        return None

    def _attempt(self, work: Work) -> Outcome:
        try:
            return self._call(work.record, work.attempt)
        except (KeyboardInterrupt, SystemExit, GeneratorExit) as error:
            return died(error)  # it must not end the thread, and the slot and the key with it
