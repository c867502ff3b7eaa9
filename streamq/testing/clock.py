"""A clock that moves only when it is told to."""

from __future__ import annotations

import threading


class ManualClock:
    """Time as a test sets it. `time_s` is where `time()` starts (seconds since 1970 in UTC); `monotonic()` starts at 0.

    `sleep` moves the clock and returns at once: what waits on this clock costs no time. Meant for one thread that
    drives everything; it may be read from others.
    """

    def __init__(self, time_s: float = 1_767_225_600.0) -> None:
        self._lock = threading.Lock()
        self._start_s = time_s
        self._passed_s = 0.0

    def monotonic(self) -> float:
        """Seconds that have passed since the clock was made."""
        return self._passed_s

    def time(self) -> float:
        """Seconds since 1970 in UTC."""
        return self._start_s + self._passed_s

    def sleep(self, duration_s: float) -> None:
        """Move the clock on by `duration_s` (less than nothing counts as nothing)."""
        self.advance(max(0.0, duration_s))

    def advance(self, duration_s: float) -> None:
        """Move the clock on by `duration_s`.

        Raises:
            ValueError: it is negative; time does not go backwards.
        """
        if duration_s < 0:
            raise ValueError(f"duration_s is {duration_s:g}: time does not go backwards")
        with self._lock:
            self._passed_s += duration_s
