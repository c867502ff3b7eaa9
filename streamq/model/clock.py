"""Time, injected. The only importer of `time`."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the parts of a worker get their time from."""

    def monotonic(self) -> float:
        """Seconds for durations; never goes backwards; means nothing outside the process."""
        ...

    def time(self) -> float:
        """Seconds since 1970 in UTC, for what leaves the process."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Block the calling thread for `duration_s` seconds."""
        ...


class SystemClock:
    """The machine's own time."""

    # Asked once a record: without a call of ours.
    monotonic = staticmethod(time.monotonic)

    def time(self) -> float:
        """Seconds since 1970 in UTC."""
        return time.time()

    def sleep(self, duration_s: float) -> None:
        """Block the calling thread."""
        time.sleep(duration_s)


class Deadline:
    """A moment that a sequence of steps shares, so that each gets what the earlier ones left."""

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        self._clock = clock
        self._at = clock.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._at - self._clock.monotonic())

    def expired(self) -> bool:
        """Whether nothing is left."""
        return self._clock.monotonic() >= self._at
