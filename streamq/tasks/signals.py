"""What a handler raises to say how its record goes on. Neither is a StreamqError: nothing of streamq went wrong."""

from __future__ import annotations

from streamq.tasks.arguments import check_seconds


class Reject(Exception):
    """Give this record up at once: it becomes a dead letter with this reason, and no further attempt is made."""

    def __init__(self, reason: str = "rejected by its handler") -> None:
        super().__init__(reason)


class RetryLater(Exception):
    """Attempt this record again after `delay_s` seconds, whatever the policy's backoff says. Counts as an attempt.

    Raises:
        ConfigError: the delay is no finite number of at least 0.
    """

    def __init__(self, delay_s: float, reason: str = "") -> None:
        delay_s = check_seconds("RetryLater's delay_s", delay_s)
        super().__init__(reason or f"asked to be attempted again in {delay_s:g} s")
        self.delay_s = delay_s
