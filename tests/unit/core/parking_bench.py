"""A partition, its parked lanes and a journal of bytes, with transactions that take effect at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streamq.core.journal_batch import JournalBatch, ParkPolicy
from streamq.core.journal_plan import plan
from streamq.core.journal_records import Entry, JournalPayload, JournalRecord, decode, encode
from streamq.core.key_states import OnDead
from streamq.core.lanes import KeyScheduler, LaneKey, Run, Work
from streamq.core.offset_map import OffsetMap
from streamq.core.parking import ParkedLanes
from streamq.core.partition import PartitionState
from streamq.model.outcomes import Dead, Failure
from streamq.model.records import NextOffset, Offset, Record, TopicPartition

SOURCE_ID, JOURNAL_ID, FORMER_ID = b"s" * 16, b"j" * 16, b"f" * 16
DEAD = Dead("rejected", Failure("ValueError", "no"))
LONG_S = 60.0


def record(offset: int, key: bytes | None = b"k") -> Record:
    return Record("t", 0, Offset(offset), key, b"v%d" % offset, (("h", b"x"),), 1_000 + offset)


class Bench:
    """One owner. `journal` outlives it: give it to the next one."""

    def __init__(
        self,
        *,
        policy: ParkPolicy | None = None,
        on_dead: OnDead = "skip",
        journal: list[JournalPayload | None] | None = None,
        restored: OffsetMap | None = None,
        blocked: Sequence[LaneKey] = (),
    ) -> None:
        self.scheduler = KeyScheduler()
        base = NextOffset(0 if restored is None else restored.base)
        self.state = PartitionState(TopicPartition("t", 0), 1, self.scheduler, base, restored=restored, blocked=blocked)
        self.parked = ParkedLanes(
            self.state, journal_id=JOURNAL_ID, source_id=SOURCE_ID, process=b"process0", policy=policy, on_dead=on_dead
        )
        self.journal: list[JournalPayload | None] = [] if journal is None else journal
        self.now = 0.0
        for place in range(len(self.journal)):
            self._read(place)
        self.parked.reach(len(self.journal))
        self.parked.begin()

    @property
    def now_ms(self) -> int:
        return int(self.now * 1000)

    def stored(self, place: int) -> JournalRecord | None:
        found = self.journal[place]
        return None if found is None else decode(found.key, found.value, found.headers, found.timestamp_ms or 0)

    def _read(self, place: int) -> None:
        found = self.stored(place)
        if found is not None:
            self.parked.receive(place, found)

    def receive(self, records: Iterable[Record]) -> None:
        self.state.receive(list(records))

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.scheduler.wake(self.now)
        self.parked.advance(self.now, self.now_ms)
        for place in self.parked.wanted():
            found = self.stored(place)
            assert isinstance(found, Entry)
            self.parked.offer(place, found)

    def take(self, most: int = 100) -> list[Run]:
        self.tick()
        return self.scheduler.take(most)

    def take_one(self) -> Run:
        (run,) = self.take(1)
        return run

    def done(self, run: Run) -> None:
        run.lane.partition.returned(1)
        run.done = 1
        run.lane.partition.settle_done(run)
        run.lane.partition.end(run)

    def fail(self, run: Run, wait_s: float = LONG_S) -> bool:
        """Whether the lane leaves."""
        work = self._back(run)
        work.lane.partition.retry(work, self.now + wait_s)
        from_source = work.lane.partition is self.state
        return from_source and self.parked.consider(work, self.now + wait_s, self.now_ms, wait_s)

    def give_up(self, run: Run) -> None:
        work = self._back(run)
        work.lane.partition.hold(work)
        self.parked.give_up(work, DEAD)

    def _back(self, run: Run) -> Work:
        run.lane.partition.returned(1)
        return run.works[0]

    def append(self, journal_record: JournalRecord) -> int:
        self.journal.append(encode(journal_record))
        return len(self.journal) - 1

    def plan(self) -> JournalBatch | None:
        return plan(self.parked, self.now_ms)

    def commit(self) -> JournalBatch | None:
        """One transaction, that takes effect and is read."""
        batch = self.plan()
        if batch is not None:
            places = [self.append(one) for one in batch.records]
            self.journal.append(None)
            self.parked.committed(batch, places)
            for place in places:
                self._read(place)
        return batch

    def started(self) -> list[int]:
        """The source offsets of what starts now, and is done at once."""
        found: list[int] = []
        while runs := self.take():
            for run in runs:
                found.append(run.works[0].record.offset)
                self.done(run)
        return found
