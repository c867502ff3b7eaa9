"""When reading a partition pauses and goes on: two watermarks, so that it does not flip at every record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Flip = Literal["pause", "resume"]


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """The upper watermarks; the lower ones are half of them.

    `records` bounds one partition, `worker_records` and `worker_bytes` all partitions of a worker. A pause throws away
    what the client prefetched, so a resume comes no sooner than `rest_s` after its pause.
    """

    records: int
    worker_records: int
    worker_bytes: int
    rest_s: float = 0.25


class FlowGate:
    """Whether one partition is read."""

    __slots__ = ("_paused_at", "paused")

    def __init__(self) -> None:
        self.paused = False
        self._paused_at = 0.0

    def decide(
        self, now: float, limits: FlowLimits, *, records: int, held: int, worker_records: int, worker_bytes: int
    ) -> Flip | None:
        """What to do now, given what is buffered; remembers it as done."""
        if not self.paused:
            if (
                held == 0
                and records < limits.records
                and not self._crowded(limits, records, worker_records, worker_bytes)
            ):
                return None
            self.paused, self._paused_at = True, now
            return "pause"
        if (
            held
            or now - self._paused_at < limits.rest_s
            or not self._drained(limits, records, worker_records, worker_bytes)
        ):
            return None
        self.paused = False
        return "resume"

    @staticmethod
    def _crowded(limits: FlowLimits, records: int, worker_records: int, worker_bytes: int) -> bool:
        """Whether it is full because all partitions together are. One with nothing to do is not: others may keep the
        worker full for ever, and it would never be read. It exceeds the bounds by one poll at most."""
        return records > 0 and (worker_bytes >= limits.worker_bytes or worker_records >= limits.worker_records)

    @staticmethod
    def _drained(limits: FlowLimits, records: int, worker_records: int, worker_bytes: int) -> bool:
        if records == 0:
            return True
        return (
            2 * records <= limits.records
            and 2 * worker_bytes <= limits.worker_bytes
            and 2 * worker_records <= limits.worker_records
        )
