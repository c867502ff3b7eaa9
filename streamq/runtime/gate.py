"""Whether anything may start: not in a process that stood still so long that its partitions may be another's by now."""

from __future__ import annotations

import logging
from math import inf

logger = logging.getLogger(__name__)


class StartGate:
    """Ticked by the owner thread, asked by every executor before each start.

    A process that was stopped or starved for longer than its session time-out cannot know whether it still owns its
    partitions: nothing starts until a commit of its was accepted, which only a living member's is.
    """

    __slots__ = ("_last_tick", "_limit_s", "_shut_at", "shut", "until")

    def __init__(self, limit_s: float, now: float) -> None:
        self._limit_s = limit_s
        self.shut = False
        self._last_tick = now
        self._shut_at = now
        self.until = now + limit_s
        """What may start, may start up to this time: asked before each start, by any thread."""

    def tick(self, now: float) -> None:
        """The owner goes on. Called on its thread at every step that may take long."""
        stood_s = now - self._last_tick
        # Shut before the tick is noted: an executor must never see a fresh tick and an open gate in between.
        if stood_s > self._limit_s and not self.shut:
            self.shut = True
            self.until = -inf
            self._shut_at = now
            logger.warning(
                "The worker stood still beyond its session time-out: nothing starts until a commit is accepted",
                extra={"event": "standstill", "stood_s": round(stood_s, 1), "session_timeout_s": self._limit_s},
            )
        self._last_tick = now
        if not self.shut:
            self.until = now + self._limit_s

    def accepted(self, sent_at: float) -> None:
        """A commit that was sent at `sent_at` was accepted: if that was after the standstill, this process is still a
        member."""
        if self.shut and sent_at >= self._shut_at:
            self.shut = False
            self.until = self._last_tick + self._limit_s
            logger.info("A commit was accepted after the standstill: work goes on", extra={"event": "standstill_over"})

    def may_start(self, now: float) -> bool:
        """Any thread."""
        return now <= self.until

    def age_s(self, now: float) -> float:
        """Seconds since the last tick. Any thread."""
        return now - self._last_tick
