"""What the core must do, said the slow and plain way; and how many examples the property tests run.

By default the examples are the same in every run, so that a change fails by itself and never by chance.
STREAMQ_PROPERTY_EXAMPLES=5000 draws that many new ones for each test instead.
"""

from __future__ import annotations

import os

from hypothesis import settings

from streamq.core.lanes import KeyScheduler, LaneKey, Work
from streamq.core.offset_map import OffsetMap
from streamq.model.records import Record

_MORE = os.environ.get("STREAMQ_PROPERTY_EXAMPLES")


def budget(examples: int, *, steps: int = 50) -> settings:
    """Settings of one property test: so many examples, of at most so many steps where it is a state machine."""
    return settings(
        max_examples=int(_MORE) if _MORE else examples,
        stateful_step_count=steps,
        derandomize=not _MORE,
        database=None,
        deadline=None,
    )


class NaiveTracker:
    """A dict from offset to "expected" (unsettled by the restored map, not received yet), "unsettled" or "settled".
    Other offsets below the restored map's end are settled, or are holes."""

    def __init__(self, base: int, restored: OffsetMap | None = None) -> None:
        known = restored if restored is not None and restored.base == base and restored.end > base else None
        self.restored_end = self.reached = base if known is None else known.end
        self.states: dict[int, str] = {} if known is None else dict.fromkeys(known.unsettled, "expected")

    def _skip(self, offset: int) -> None:
        """What is expected below and did not come is a hole by now."""
        gone = [one for one, state in self.states.items() if state == "expected" and one < offset]
        for one in gone:
            del self.states[one]

    def register(self, offset: int) -> bool:
        self._skip(offset)
        if offset < self.restored_end and self.states.get(offset) != "expected":
            return False
        self.states[offset] = "unsettled"
        self.reached = max(self.reached, offset + 1)
        return True

    def reach(self, next_offset: int) -> None:
        self._skip(next_offset)
        self.reached = max(self.reached, next_offset)

    def settle(self, offset: int) -> None:
        assert self.states[offset] == "unsettled"
        self.states[offset] = "settled"

    @property
    def unsettled(self) -> list[int]:
        return sorted(offset for offset, state in self.states.items() if state != "settled")

    @property
    def next_offset(self) -> int:
        return min(self.unsettled, default=self.reached)

    @property
    def named(self) -> list[int]:
        """What a map must name: the unsettled below the highest that is settled, or that a map called so before."""
        settled = [offset for offset, state in self.states.items() if state == "settled"]
        high = max(max(settled, default=-1) + 1, self.restored_end)
        return [offset for offset in self.unsettled if offset < high]

    def admits(self, offset: int) -> bool:
        """The design's sentence: at most 1000 unsettled within 1,000,000 offsets, or any number within 20,000. What the
        restored map names is in it already; above that, what was expected and did not come takes no room."""
        if offset < self.restored_end:
            return True
        self._skip(offset)
        unsettled = self.unsettled
        if not unsettled:
            return True
        span = offset - unsettled[0] + 1
        return span <= 20_000 or (len(unsettled) + 1 <= 1_000 and span <= 1_000_000)


class NaivePartition:
    """One partition-epoch: the tracker, what waits for room in the map, and the attempts."""

    def __init__(self, committed: OffsetMap) -> None:
        self.committed = committed
        self.tracker = NaiveTracker(committed.base, committed)
        self.polled = committed.base
        self.queue: list[Record | int] = []
        """Polled and not in the map's reach: records, and offsets that reading has reached."""
        self.here: dict[int, Record] = {}  # received and not settled, by offset
        self.attempts = dict(committed.attempts)

    def receive(self, record: Record) -> None:
        if record.offset < self.polled:
            return
        self.polled = record.offset + 1
        self.queue.append(record)
        self.admit()

    def reach(self, next_offset: int) -> None:
        self.polled = max(self.polled, next_offset)
        self.queue.append(next_offset)
        self.admit()

    def admit(self) -> None:
        """In the order of the log, as far as the map has room."""
        while self.queue:
            head = self.queue[0]
            if isinstance(head, int):
                self.tracker.reach(head)
            elif not self.tracker.admits(head.offset):
                return
            elif self.tracker.register(head.offset):
                self.here[head.offset] = head
            self.queue.pop(0)

    def settle(self, offset: int) -> None:
        self.tracker.settle(offset)
        del self.here[offset]
        self.attempts.pop(offset, None)
        self.admit()

    @property
    def held(self) -> list[Record]:
        return [one for one in self.queue if not isinstance(one, int)]

    @property
    def count(self) -> int:
        return len(self.here) + len(self.held)

    @property
    def size_bytes(self) -> int:
        return sum(len(one.key or b"") + len(one.value or b"") for one in [*self.here.values(), *self.held])

    def lanes(self, lane_of: LaneOf) -> dict[LaneKey, list[int]]:
        """What is not settled, by lane, in the order of the log."""
        found: dict[LaneKey, list[int]] = {}
        for offset in sorted(self.here):
            found.setdefault(lane_of(self.here[offset]), []).append(offset)
        return found


class LaneOf:
    """Which records must not run at the same time, by the ordering mode."""

    def __init__(self, ordering: str) -> None:
        self.ordering = ordering

    def __call__(self, record: Record) -> LaneKey:
        if self.ordering == "partition":
            return -1
        if self.ordering == "none" or record.key is None:
            return int(record.offset)
        return record.key


def heads(scheduler: KeyScheduler, most: int) -> list[Work]:
    """Start at most so many lanes, one record each."""
    return [run.works[0] for run in scheduler.take(most)]
