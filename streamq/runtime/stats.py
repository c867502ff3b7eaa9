"""What an owner counts. Plain numbers, so that counting costs nothing per record; read by the metrics page."""

from __future__ import annotations

from bisect import bisect_right
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

    def ran(self, seconds: Sequence[float]) -> None:
        """These attempts ran for so long each."""
        ordered = sorted(seconds)
        below = 0
        for at, bound in enumerate(HANDLER_BOUNDS_S):
            upto = bisect_right(ordered, bound, below)
            self.handler_buckets[at] += upto - below
            below = upto
        self.handler_buckets[-1] += len(ordered) - below
        self.handler_seconds += sum(ordered)
