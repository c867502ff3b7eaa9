"""What an owner tells of itself once a second: gauges, and handlers that run beyond their time-out."""

from __future__ import annotations

from typing import Final

from streamq.core.lanes import KeyScheduler
from streamq.runtime.assignment import Assignment
from streamq.runtime.executor import Executor
from streamq.runtime.intake import Intake
from streamq.runtime.lag_gauge import LagGauge
from streamq.runtime.sentences import tell_running
from streamq.runtime.stats import OwnerStats

REPORT_S: Final = 1.0


class Report:
    """Owner thread only."""

    def __init__(
        self,
        group: str,
        executor: Executor,
        scheduler: KeyScheduler,
        assignment: Assignment,
        intake: Intake,
        stats: OwnerStats,
        lag: LagGauge | None,
    ) -> None:
        self._group = group
        self._executor = executor
        self._scheduler = scheduler
        self._assignment = assignment
        self._intake = intake
        self._stats = stats
        self._lag = lag
        self._at = 0.0
        self._named: set[int] = set()

    def advance(self, now: float) -> None:
        """Once a second: fill the gauges, name each late handler once."""
        if now < self._at:
            return
        self._at = now + REPORT_S
        stats = self._stats
        stats.running = self._executor.in_flight
        stats.waiting = self._scheduler.waiting
        stats.assigned, stats.reading = self._assignment.assigned, self._assignment.open
        stats.paused = self._intake.paused
        if self._lag is not None:
            self._lag.advance(now)
        self._name_overdue(now)

    def _name_overdue(self, now: float) -> None:
        overdue = self._executor.overdue(now)
        self._stats.overdue = len(overdue)
        for late in overdue:
            if id(late.work) not in self._named:
                self._named.add(id(late.work))
                tell_running(
                    self._group,
                    late.work,
                    "A handler runs beyond its time-out and cannot be ended: it keeps slot and key until it ends",
                    late.running_s,
                )
        if not overdue:
            self._named.clear()
