"""One partition while this worker owns it: what was received, what runs, what is settled, what may be committed.

    OPEN ──stop──► STOPPING ──close──► CLOSED
      └───────────────close──────────────▲

OPEN: records are received and started. STOPPING (revoked, or the worker drains): nothing starts, what runs may still be
settled and committed. CLOSED: the epoch is over; whatever comes in for it is dropped, never committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from enum import Enum

from streamq.core.lanes import HELD, RUNNING, WAITING, WHOLE_PARTITION, KeyScheduler, Lane, LaneKey, Ordering, Run, Work
from streamq.core.offset_map import ANY_SPAN, JournalMark, OffsetMap
from streamq.core.tracker import OffsetTracker
from streamq.model.errors import InvariantError
from streamq.model.records import NextOffset, Offset, Record, TopicPartition


def _no_lane(key: bytes) -> Lane | None:
    """Where the key says nothing about the lane."""
    return None


class Phase(Enum):
    """Life of a partition-epoch."""

    OPEN = "open"
    STOPPING = "stopping"
    CLOSED = "closed"


_LEGAL = {(Phase.OPEN, Phase.STOPPING), (Phase.OPEN, Phase.CLOSED), (Phase.STOPPING, Phase.CLOSED)}


class PartitionState:
    """State machine of one partition-epoch. Belongs to the owner thread; `open` alone is read by others.

    `base` is the committed offset, `restored` the map that stood beside it, or None. `blocked` names the keys that a
    run of an earlier epoch of this process still occupies.
    """

    __slots__ = (
        "_blocked",
        "_by_key",
        "_held",
        "_held_end",
        "_low",
        "_polled",
        "attempts",
        "bytes",
        "count",
        "epoch",
        "lanes",
        "open",
        "ordering",
        "parked",
        "partition",
        "phase",
        "running",
        "scheduler",
        "tracker",
    )

    def __init__(
        self,
        partition: TopicPartition,
        epoch: int,
        scheduler: KeyScheduler,
        base: NextOffset,
        *,
        ordering: Ordering = "key",
        restored: OffsetMap | None = None,
        blocked: Iterable[LaneKey] = (),
    ) -> None:
        self.partition = partition
        self.epoch = epoch
        self.scheduler = scheduler
        self.ordering = ordering
        self.tracker = OffsetTracker(base, restored)
        self.attempts: dict[int, int] = dict(restored.attempts) if restored is not None else {}
        self.lanes: dict[LaneKey, Lane] = {}
        self.running = 0  # works handed out in runs that have not come back
        self.count = 0  # records received and not settled
        self.bytes = 0
        self.phase = Phase.OPEN
        self.open = True
        self._polled: int = base
        self._by_key = ordering == "key"
        self._low: int = base  # at or below the lowest unsettled offset
        self._held: deque[Record] = deque()  # received while the commit's map had no room for them
        self._held_end: NextOffset | None = None
        self._blocked = set(blocked)
        self.parked: set[LaneKey] = set()  # their records are received, and do not run from here

    # Receiving

    def receive(self, records: Sequence[Record]) -> None:
        """Queue polled records, ascending by offset, in lanes; what the restored map calls settled is left out."""
        if not records:
            return
        if self._register_all(records):
            self._queue_all(records)
            return
        for record in records:
            offset = record.offset
            if offset < self._polled:
                continue  # polled twice: the client was sought back
            self._polled = offset + 1
            size_bytes = record.size_bytes
            self.count += 1
            self.bytes += size_bytes
            # Near the lowest unsettled offset the map always has room; only far from it is it worth asking.
            if self._held or (offset - self._low >= ANY_SPAN and not self._room_for(offset)):
                self._held.append(record)
            elif not self.tracker.register(offset):
                self.count -= 1
                self.bytes -= size_bytes
            else:
                self._queue(record, size_bytes)

    def _register_all(self, records: Sequence[Record]) -> bool:
        """The common case: all of them are new, there is room for all, and the restored map has nothing to say."""
        offsets = [record.offset for record in records]
        if self._held or offsets[0] < self._polled:
            return False
        last = offsets[-1]
        if last - self._low >= ANY_SPAN:
            self._low = self.tracker.next_offset
            if last - self._low >= ANY_SPAN:
                return False
        if not self.tracker.register_all(offsets):
            return False
        self._polled = last + 1
        return True

    def _queue_all(self, records: Sequence[Record]) -> None:
        """`_queue` for each; without a call for a key that has records waiting."""
        known, attempts, total_bytes = self.lanes.get if self._by_key else _no_lane, self.attempts, 0
        for record in records:
            key, value = record.key, record.value
            size_bytes = (len(key) if key else 0) + (len(value) if value else 0)
            total_bytes += size_bytes
            if key is not None and (lane := known(key)) is not None:
                attempt = attempts.get(record.offset, 1) if attempts else 1
                lane.queue.append(Work(record, lane, attempt, size_bytes))
            else:
                self._queue(record, size_bytes)
        self.count += len(records)
        self.bytes += total_bytes

    def _room_for(self, offset: Offset) -> bool:
        self._low = self.tracker.next_offset
        return self.tracker.admits(offset)

    def _queue(self, record: Record, size_bytes: int) -> None:
        offset = record.offset
        key: LaneKey
        if self._by_key:
            key = offset if record.key is None else record.key
        else:
            key = offset if self.ordering == "none" else WHOLE_PARTITION
        lane = self.lanes.get(key)
        if lane is not None:
            lane.queue.append(Work(record, lane, self.attempts.get(offset, 1), size_bytes))
            return
        self.lanes[key] = lane = Lane(key, self)
        lane.queue.append(Work(record, lane, self.attempts.get(offset, 1), size_bytes))
        if (self._blocked and key in self._blocked) or (self.parked and key in self.parked):
            self.scheduler.hold(lane)
        elif self.open:
            self.scheduler.add(lane)
        else:
            lane.state = WAITING  # it came in while the partition stops: it starts in the next epoch

    def reach(self, next_offset: NextOffset) -> None:
        """All below `next_offset` has been polled (the partition's end), or is not to be received at all."""
        self._polled = max(self._polled, next_offset)
        if self._held:
            self._held_end = next_offset
        else:
            self.tracker.reach(next_offset)

    @property
    def position(self) -> NextOffset:
        """Where reading goes on: everything below has been polled."""
        return NextOffset(self._polled)

    @property
    def held(self) -> int:
        """Records that wait for room in the map: reading on makes no sense."""
        return len(self._held)

    def _admit_held(self) -> None:
        held = self._held
        while held and self.tracker.admits(held[0].offset):
            record = held.popleft()
            if self.tracker.register(record.offset):
                self._queue(record, record.size_bytes)
            else:
                self.count -= 1
                self.bytes -= record.size_bytes
        if not held and self._held_end is not None:
            self.tracker.reach(self._held_end)
            self._held_end = None

    # What came of an attempt. Each call is for a head that `KeyScheduler.take` handed out.

    def returned(self, works: int = 1) -> None:
        """A run of so many works came back from the executor, with whatever outcome."""
        self.running -= works

    def settle_done(self, run: Run) -> None:
        """What is done of a run is settled; it may go on meanwhile."""
        lane, works = run.lane, run.works[run.settled : run.done]
        if not works:
            return
        queue = lane.queue
        if lane.state is not RUNNING or self.phase is Phase.CLOSED or queue[0] is not works[0]:
            raise self._unexpected(works[0])
        run.settled += len(works)
        self.tracker.settle_all([work.record.offset for work in works])
        self.count -= len(works)
        self.bytes -= sum([work.size_bytes for work in works])
        for work in works:
            queue.popleft()
            if self.attempts:
                self.attempts.pop(work.record.offset, None)
        if self._held:
            self._admit_held()

    def end(self, run: Run) -> None:
        """All of a run is done and settled: the turn of what comes after it in its lane."""
        lane = run.lane
        if not self.open:
            lane.state = WAITING  # whatever is left of it does not start in this epoch
        elif not self.scheduler.again(lane):
            del self.lanes[lane.key]

    def settle(self, work: Work) -> None:
        """Its outcome is durable (done, or its dead letter is confirmed): the key's next record may start."""
        lane, offset = work.lane, work.record.offset
        # The state first: the lane of a record that is settled already may be empty.
        legal = (lane.state is RUNNING or lane.state is HELD) and self.phase is not Phase.CLOSED
        if not legal or lane.queue[0] is not work:
            raise self._unexpected(work)
        self.tracker.settle(offset)
        self.count -= 1
        self.bytes -= work.size_bytes
        if self.attempts:
            self.attempts.pop(offset, None)
        if not self.open:
            lane.queue.popleft()
            lane.state = WAITING
        elif not self.scheduler.advance(lane):
            del self.lanes[lane.key]
        if self._held:
            self._admit_held()

    def retry(self, work: Work, due_at: float, *, counts: bool = True) -> None:
        """It is to be attempted again at `due_at`; `counts` says whether the attempt that failed is counted."""
        self._expect(work, work.lane.state is RUNNING or work.lane.state is HELD)
        if counts:
            work.attempt += 1
            self.attempts[work.record.offset] = work.attempt
        if self.open:
            self.scheduler.wait(work.lane, due_at)
        else:
            work.lane.state = WAITING

    def hold(self, work: Work) -> None:
        """It is given up and its dead letter is under way: the key waits."""
        self._expect(work, work.lane.state is RUNNING)
        self.scheduler.hold(work.lane)

    def withdraw(self, work: Work) -> None:
        """It was handed out and did not start: first in turn again."""
        self._expect(work, work.lane.state is RUNNING)
        if self.open:
            self.scheduler.free(work.lane)
        else:
            work.lane.state = WAITING

    def unblock(self, key: LaneKey) -> None:
        """The run of an earlier epoch has ended: the key's records may start."""
        if key not in self._blocked:
            return
        self._blocked.remove(key)
        if key not in self.parked:
            self._free(key)

    def _free(self, key: LaneKey) -> None:
        lane = self.lanes.get(key)
        if lane is not None and self.open and lane.state is HELD:
            self.scheduler.free(lane)

    # Parking: what a key's records wait for stands in the journal.

    @property
    def blocked(self) -> frozenset[LaneKey]:
        """The keys that a run of an earlier epoch still occupies."""
        return frozenset(self._blocked)

    def park(self, key: LaneKey) -> None:
        """The key's records do not run from here until `unpark`. Idempotent.

        Raises:
            InvariantError: one of them runs.
        """
        lane = self.lanes.get(key)
        if lane is not None and lane.state is RUNNING:
            raise self._unexpected(lane.queue[0])
        self.parked.add(key)
        if lane is not None and lane.state is not HELD:
            self.scheduler.take_out(lane)

    def unpark(self, key: LaneKey) -> None:
        """The key's records run from here again. Idempotent."""
        if key in self.parked:
            self.parked.remove(key)
            if key not in self._blocked:
                self._free(key)

    def wait_again(self, key: LaneKey, due_at: float) -> None:
        """A parked key stays here after all: its head is attempted at `due_at`. Idempotent."""
        lane = self.lanes.get(key)
        if key in self.parked:
            self.parked.remove(key)
            if lane is not None and self.open and key not in self._blocked:
                self.scheduler.wait(lane, due_at)

    def transferred(self, lane: Lane, count: int) -> None:
        """The first `count` records of a parked lane stand in the journal, or are dead letters, for good."""
        parked = lane.key in self.parked and lane.state is not RUNNING and len(lane.queue) >= count
        if not parked or self.phase is Phase.CLOSED:
            raise InvariantError(f"{self.partition}: records of lane {lane.key!r} left it, and it is not parked")
        for _ in range(count):
            work = lane.queue.popleft()
            self.tracker.settle(work.record.offset)
            self.attempts.pop(work.record.offset, None)
            self.count -= 1
            self.bytes -= work.size_bytes
        if not lane.queue:
            del self.lanes[lane.key]
        if self._held:
            self._admit_held()

    def _expect(self, work: Work, legal: bool) -> None:
        if not legal or self.phase is Phase.CLOSED or work.lane.queue[0] is not work:
            raise self._unexpected(work)

    def _unexpected(self, work: Work) -> InvariantError:
        return InvariantError(
            f"{self.partition} offset {work.record.offset} in epoch {self.epoch} ({self.phase.value}): "
            f"an outcome for a record that is not the running head of its lane ({work.lane.state.value})"
        )

    # Life cycle

    def stop(self) -> None:
        """Start nothing more. Idempotent."""
        if self.phase is Phase.OPEN:
            self._move(Phase.STOPPING)
            self.open = False
            self.scheduler.drop(self)

    def close(self) -> list[Lane]:
        """End the epoch. Returns the lanes of which something still runs: it occupies its key until it ends."""
        self.open = False
        self._move(Phase.CLOSED)
        self.scheduler.drop(self)
        running = [lane for lane in self.lanes.values() if lane.state is RUNNING]
        for lane in self.lanes.values():
            lane.queue.clear()  # its works refer to it, which the garbage collector does not see
        self.lanes.clear()
        return running

    def _move(self, phase: Phase) -> None:
        if (self.phase, phase) not in _LEGAL:
            raise InvariantError(f"{self.partition} in epoch {self.epoch}: {self.phase.value} to {phase.value}")
        self.phase = phase

    # Committing

    def snapshot(
        self,
        process: bytes,
        *,
        clean: bool = False,
        settled_with_it: Collection[int] = (),
        journal: JournalMark | None = None,
    ) -> OffsetMap:
        """The committable offset and the map, of this one moment; with what the same transaction settles, if any."""
        return self.tracker.snapshot(
            self.attempts, process=process, clean=clean, settled_with_it=settled_with_it, journal=journal
        )
