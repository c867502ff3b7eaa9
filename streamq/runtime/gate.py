"""Whether anything may start: not in a process that stood still so long that its partitions may be another's by now."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


class StartGate:
    """Ticked by the owner thread, asked by every executor before each start.

    A process that was stopped or starved for longer than its session time-out cannot know whether it still owns its
    partitions: nothing starts until a commit of its was accepted, which only a living member's is.
    """

    __slots__ = ("_shut_at", "last_tick", "limit_s", "shut")

    def __init__(self, limit_s: float, now: float) -> None:
        self.limit_s = limit_s
        self.shut = False
        self.last_tick = now
        self._shut_at = now

    def tick(self, now: float) -> None:
        """The owner goes on. Called on its thread at every step that may take long."""
        stood_s = now - self.last_tick
        # Shut before the tick is noted: an executor must never see a fresh tick and an open gate in between.
        if stood_s > self.limit_s and not self.shut:
            self.shut = True
            self._shut_at = now
            logger.warning(
                "The worker stood still beyond its session time-out: nothing starts until a commit is accepted",
                extra={"event": "standstill", "stood_s": round(stood_s, 1), "session_timeout_s": self.limit_s},
            )
        self.last_tick = now

    def accepted(self, sent_at: float) -> None:
        """A commit that was sent at `sent_at` was accepted: if that was after the standstill, this process is still a
        member."""
        if self.shut and sent_at >= self._shut_at:
            self.shut = False
            logger.info("A commit was accepted after the standstill: work goes on", extra={"event": "standstill_over"})

    def may_start(self, now: float) -> bool:
        """Any thread."""
        return not self.shut and now - self.last_tick <= self.limit_s

    def age_s(self, now: float) -> float:
        """Seconds since the last tick. Any thread."""
        return now - self.last_tick
