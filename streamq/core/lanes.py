"""Lanes, one a key, and the fair order in which their heads start.

EMPTY ──add──► READY ──take──► RUNNING ──advance──► READY, or gone when nothing is left
                 ▲               │  ▲
                 ├── due ◄─ WAITING │ (wait: the next attempt has its time)
                 ├── free ◄ HELD ◄──┘ (hold: a dead letter is under way, an earlier run still goes on, or it is parked)
                 └── advance ◄──────── (from HELD too: the dead letter is confirmed)
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from streamq.model.errors import InvariantError
from streamq.model.records import Record, TopicPartition

if TYPE_CHECKING:
    from streamq.core.partition import Phase

LaneKey = bytes | int
"""A record's key; the record's own offset where every record is its own lane; -1 for the one lane of a partition."""

WHOLE_PARTITION: LaneKey = -1
Ordering = Literal["key", "partition", "none"]


class LaneState(Enum):
    """Where the head of a lane is."""

    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    HELD = "held"


READY, RUNNING, WAITING, HELD = LaneState.READY, LaneState.RUNNING, LaneState.WAITING, LaneState.HELD


class LaneOwner(Protocol):
    """Whose records stand in a lane: a source partition's, or what is parked of it. Each call is
    for a run or head that `KeyScheduler.take` handed out; what they mean is said in `PartitionState`."""

    running: int

    @property
    def partition(self) -> TopicPartition: ...
    @property
    def epoch(self) -> int: ...
    @property
    def phase(self) -> Phase: ...
    @property
    def open(self) -> bool: ...
    def returned(self, works: int = 1) -> None: ...
    def settle_done(self, run: Run) -> None: ...
    def end(self, run: Run) -> None: ...
    def settle(self, work: Work) -> None: ...
    def retry(self, work: Work, due_at: float, *, counts: bool = True) -> None: ...
    def hold(self, work: Work) -> None: ...
    def withdraw(self, work: Work) -> None: ...


class Work(msgspec.Struct, eq=False, gc=False):
    """One record on its way through a worker, and the number of its current attempt (from 1). A Struct because one is
    made for every record, and unknown to the garbage collector: whoever drops a lane empties its queue."""

    record: Record
    lane: Lane
    attempt: int
    size_bytes: int


class Run(msgspec.Struct, eq=False, gc=False):
    """The first works of a lane, handed out to be attempted one after the other. It ends at the first that is not done.

    `settled` is the owner's; the rest is written by whoever runs it. `done` is read by the owner at any time.
    """

    lane: Lane
    works: list[Work]
    done: int = 0
    """How many of them are done."""
    settled: int = 0
    """How many of those are settled, too."""
    spent_s: float = 0.0
    """What all attempts took, a failed one's too."""
    slow: tuple[float, ...] = ()
    """What those attempts took, each, that were not brief."""


class Lane:
    """The records of one key in one partition-epoch, by offset; they run one after the other."""

    __slots__ = ("key", "partition", "queue", "state", "ticket")

    def __init__(self, key: LaneKey, partition: LaneOwner) -> None:
        self.key = key
        self.ticket = 0  # which of its waits counts; one it was taken out of does not wake it
        self.partition = partition
        self.queue: deque[Work] = deque()
        self.state = READY


class KeyScheduler:
    """Which heads start next, over all partitions of one processor: lanes take turns, a record each."""

    def __init__(self) -> None:
        self._ready: deque[Lane] = deque()
        self._waiting: list[tuple[float, int, Lane]] = []
        self._sequence = 0  # heap entries of one moment are compared by it, never by lane
        self._void = 0  # heap entries of lanes that were taken out of their wait

    @property
    def ready(self) -> int:
        """How many lanes could start at once."""
        return len(self._ready)

    @property
    def waiting(self) -> int:
        """How many lanes wait for their next attempt."""
        return len(self._waiting) - self._void

    @property
    def next_due(self) -> float | None:
        """When the first waiting lane is due, or earlier; None if none waits."""
        return self._waiting[0][0] if self._waiting else None

    def add(self, lane: Lane) -> None:
        """A lane that has got its first record."""
        self._ready.append(lane)

    def take(self, most: int, longest: int = 1) -> list[Run]:
        """Start the heads of lanes, and with each up to `longest` works of its lane in all; at most `most` works."""
        ready = self._ready
        taken: list[Run] = []
        while most > 0 and ready:
            lane = ready.popleft()
            lane.state = RUNNING
            queue = lane.queue
            count = min(len(queue), longest, most)
            lane.partition.running += count
            most -= count
            taken.append(Run(lane, [queue[0]] if count == 1 else list(islice(queue, count))))
        return taken

    def advance(self, lane: Lane) -> bool:
        """The head is settled: the next record's turn. False if there is none; the lane is then no more."""
        lane.queue.popleft()
        return self.again(lane)

    def again(self, lane: Lane) -> bool:
        """What was handed out of the lane is settled and gone: the next record's turn. False if there is none; the lane
        is then no more."""
        lane.state = READY
        if not lane.queue:
            return False
        self._ready.append(lane)
        return True

    def wait(self, lane: Lane, due_at: float) -> None:
        """The head's next attempt is at `due_at`, in seconds of the monotonic clock."""
        lane.state = WAITING
        self._sequence += 1
        lane.ticket = self._sequence
        heappush(self._waiting, (due_at, self._sequence, lane))

    def wake(self, now: float) -> int:
        """Make ready what is due; returns how many lanes that were."""
        woken = 0
        while self._waiting and self._waiting[0][0] <= now:
            _, ticket, lane = heappop(self._waiting)
            if lane.ticket != ticket:
                self._void -= 1
                continue
            lane.ticket = 0
            lane.state = READY
            self._ready.append(lane)
            woken += 1
        return woken

    def hold(self, lane: Lane) -> None:
        """The head does not start until `free` or `advance`."""
        lane.state = HELD

    def take_out(self, lane: Lane) -> None:
        """Hold a lane that is ready or waits."""
        if lane.state is READY:
            self._ready.remove(lane)
        elif lane.state is WAITING and lane.ticket:
            lane.ticket = 0
            self._void += 1
        lane.state = HELD

    def free(self, lane: Lane) -> None:
        """The head may start (again), before the lanes that are ready already: it has had its turn.

        Raises:
            InvariantError: the lane is ready already; it would run twice at once.
        """
        if lane.state is READY:
            raise InvariantError(f"lane {lane.key!r} is ready and was freed")
        lane.state = READY
        self._ready.appendleft(lane)

    def drop(self, partition: LaneOwner) -> None:
        """Forget a partition's lanes; heads that run go on."""
        self._ready = deque(lane for lane in self._ready if lane.partition is not partition)
        self._waiting = [
            entry for entry in self._waiting if entry[2].partition is not partition and entry[2].ticket == entry[1]
        ]
        self._void = 0
        heapify(self._waiting)
