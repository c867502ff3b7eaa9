"""What an owner counts. Plain numbers, so that counting costs nothing per record; read by the metrics page."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

HANDLER_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class OwnerStats:
    """Counters of one owner. Written on its thread, read from others: each number is right, all together may be of
    slightly different moments."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.received = 0
        self.done = 0
        self.failed = 0
        self.dead: Counter[str] = Counter()
        self.dead_failures = 0
        self.commits: Counter[str] = Counter()
        self.rebalances: Counter[str] = Counter()
        self.transactions: Counter[str] = Counter()
        self.parked = 0
        self.flips = 0
        self.running = 0
        self.buffered = 0
        self.buffered_bytes = 0
        self.waiting = 0
        self.overdue = 0
        self.assigned = 0
        self.reading = 0
        self.paused = 0
        self.lag: dict[int, int] = {}
        self.handler_buckets = [0] * (len(HANDLER_BOUNDS_S) + 1)
        self.handler_seconds = 0.0

    def ran(self, attempts: int, spent_s: float, slow: Sequence[float]) -> None:
        """So many attempts took `spent_s` seconds together, the slow ones among them (those at or above the first
        bound) these."""
        self.handler_buckets[0] += attempts - len(slow)
        for seconds in slow:
            self.handler_buckets[bisect_left(HANDLER_BOUNDS_S, seconds)] += 1
        self.handler_seconds += spent_s
