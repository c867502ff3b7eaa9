"""How the owner waits: for records or for completions, whichever matters more; never without polling for long."""

from __future__ import annotations

from typing import Final

from streamq.core.lanes import KeyScheduler
from streamq.runtime.assignment import Assignment
from streamq.runtime.executor import Executor
from streamq.runtime.intake import BATCH, Intake

BUSY_S: Final = 0.002
"""Longest wait for a completion while records wait behind running ones: new records are looked for this often."""
SETTLING_S: Final = 0.02
"""Longest poll while something runs and nothing waits for it."""
KEEP_POLLING_S: Final = 0.01
"""With enough at hand, one record is polled so often: the client must be polled whatever happens."""


class Pacing:
    """Owner thread only."""

    def __init__(self, intake: Intake, executor: Executor, scheduler: KeyScheduler, assignment: Assignment) -> None:
        self._intake = intake
        self._executor = executor
        self._scheduler = scheduler
        self._assignment = assignment
        self._polled_at = 0.0

    def poll(self, now: float, wait_s: float) -> bool:
        """Poll as the state of things asks for, waiting at most `wait_s`; never not at all for long. Whether records
        came."""
        ready, in_flight = self._scheduler.ready, self._executor.in_flight
        buffered = sum(state.count for state in self._assignment)
        window = max(self._executor.room + in_flight, BATCH // 4)
        if ready > 2 * window or (2 * in_flight > window and buffered > 4 * window):
            return self._poll_little(now, wait_s)
        if in_flight and buffered > in_flight + self._scheduler.waiting:
            # Records wait behind running ones: a completion is what matters most.
            received = self._intake.poll(0.0)
            if not received and wait_s:
                self._await_completions(wait_s)
        else:
            received = self._intake.poll(min(wait_s, SETTLING_S) if in_flight else wait_s)
        self._polled_at = now
        return received > 0

    def _poll_little(self, now: float, wait_s: float) -> bool:
        """There is more at hand than can start: the client keeps its records, but it must be polled."""
        if now - self._polled_at >= KEEP_POLLING_S:
            self._polled_at = now
            self._intake.poll(0.0, 1)
        if wait_s:
            self._await_completions(wait_s)
        return False

    def _await_completions(self, wait_s: float) -> None:
        """With lanes ready there is time to collect several; without, the first one makes the next record start."""
        enough = 1 + self._executor.in_flight // (8 * self._executor.longest) if self._scheduler.ready else 1
        self._executor.wait(min(wait_s, BUSY_S), enough)
