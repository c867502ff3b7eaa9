"""What waits in the retry topic, for all partitions of one owner: taking over, reading on, transactions, trimming.

`ParkedLanes` decides; this asks, reads and sends for it. A worker without a failing key asks for two offsets when a
partition opens, and opens no transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from streamq.core.journal_batch import ParkPolicy
from streamq.core.journal_records import Entry, decode
from streamq.core.key_states import OnDead
from streamq.core.lanes import Lane, LaneKey, Work
from streamq.core.offset_map import OffsetMap
from streamq.core.parking import ParkedLanes
from streamq.core.partition import PartitionState
from streamq.model.clock import Clock, Deadline
from streamq.model.errors import JournalError
from streamq.model.outcomes import Dead
from streamq.model.ports import AdminPort
from streamq.model.records import NextOffset, Record, TopicPartition
from streamq.runtime.journal_follower import JournalFollower
from streamq.runtime.journal_writer import JournalWriter
from streamq.runtime.payloads import InlinePayloadFetcher, PayloadFetcher
from streamq.runtime.request_server import RequestServer
from streamq.runtime.takeover import Takeover
from streamq.runtime.trimmer import Trimmer

logger = logging.getLogger(__name__)

FOLLOW_S: Final = 0.05
"""So often the journals are looked at while nothing is parked: an operator's request may have come."""
REVIEW_S: Final = 1.0
STOPPED_S: Final = 30.0
"""So often a partition whose journal is damaged is named."""
READ_ON: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkingRules:
    """What a processor's parking is like. `leaves` says whether failing lanes leave for the retry topic at all."""

    retry_topic: str
    policy: ParkPolicy
    leaves: bool = True
    on_dead: OnDead = "skip"


@dataclass(frozen=True, slots=True)
class TopicIds:
    """The topics of this moment: one that is deleted and made anew has another id."""

    source: bytes
    journal: bytes


@dataclass(slots=True)
class Parked:
    """One partition's side."""

    lanes: ParkedLanes
    journal: TopicPartition
    takeover: Takeover
    asked: set[int] = field(default_factory=set)
    opened: bool = False
    damaged: JournalError | None = None
    told_at: float = 0.0


class Parking:
    """Owner thread only."""

    def __init__(
        self,
        *,
        rules: ParkingRules,
        process: bytes,
        admin: AdminPort,
        clock: Clock,
        follower: JournalFollower,
        fetcher: PayloadFetcher | InlinePayloadFetcher,
        trimmer: Trimmer,
        writer: JournalWriter,
        server: RequestServer,
    ) -> None:
        self._rules = rules
        self._process = process
        self._admin = admin
        self._clock = clock
        self._follower = follower
        self._fetcher = fetcher
        self._trimmer = trimmer
        self.writer = writer
        self._server = server
        self._parked: dict[TopicPartition, Parked] = {}
        self._by_journal: dict[TopicPartition, Parked] = {}
        self._follow_at = self._review_at = 0.0
        self._retake: Callable[[Sequence[TopicPartition]], None] | None = None

    def attach(
        self, retake: Callable[[Sequence[TopicPartition]], None], give_up_plainly: Callable[[Work, Dead], None]
    ) -> None:
        """Who takes partitions over anew, and who writes dead letters where there are no transactions."""
        self._retake = retake
        self.writer.attach(retake, give_up_plainly)

    # Partitions come and go

    def take_over(self, state: PartitionState, restored: OffsetMap | None, ids: TopicIds) -> None:
        """Begin to learn what is parked of a partition, whose committed offset is decided."""
        now = self._clock.monotonic()
        journal = TopicPartition(self._rules.retry_topic, state.partition.partition)
        lanes = ParkedLanes(
            state,
            journal_id=ids.journal,
            source_id=ids.source,
            process=self._process,
            policy=self._rules.policy,
            on_dead=self._rules.on_dead,
        )
        takeover = Takeover(lanes, journal, restored, self._admin, self._follower, now)
        parked = Parked(lanes, journal, takeover)
        self._trimmer.opened(journal, NextOffset(0))
        self._parked[state.partition] = self._by_journal[journal] = parked

    def ready(self, partition: TopicPartition) -> bool:
        """Whether the source partition may be opened: all that is parked of it is known."""
        parked = self._parked.get(partition)
        return parked is not None and parked.takeover.done and parked.damaged is None

    def open(self, partition: TopicPartition) -> None:
        """The source partition is read from now on: what is parked may run, too."""
        self._parked[partition].opened = True

    def forget(self, partition: TopicPartition) -> list[Lane]:
        """The partition is gone, or taken over anew. Returns the lanes of which an entry still runs."""
        parked = self._parked.pop(partition, None)
        if parked is None:
            return []
        del self._by_journal[parked.journal]
        self._follower.drop(parked.journal)
        self._fetcher.forget(parked.journal)
        self._server.forget(partition)
        self._trimmer.closed(parked.journal)
        return parked.lanes.close()

    def of(self, partition: TopicPartition) -> ParkedLanes | None:
        """What is parked of an open partition."""
        parked = self._parked.get(partition)
        return None if parked is None else parked.lanes

    def __iter__(self) -> Iterator[ParkedLanes]:
        return (parked.lanes for parked in self._parked.values() if parked.opened and parked.damaged is None)

    # A tick

    def advance(self, now: float) -> bool:
        """Read on, hand due entries to the scheduler, take in a transaction's end and begin the next. Whether there was
        anything."""
        if not self._parked:
            return self.writer.take(now)
        busy = self._read(now)
        busy |= self._take_over(now)
        busy |= self.writer.take(now)
        now_ms = int(self._clock.time() * 1000)
        review = now >= self._review_at
        if review:
            self._review_at = now + REVIEW_S
        for parked in list(self._parked.values()):
            if parked.opened:
                busy |= self._serve(parked, now, now_ms, review=review)
        if not self.writer.available:
            for lanes in self:
                self.writer.without_transactions(lanes)
        busy |= self.writer.begin(now, list(self))
        if review:
            self._trim(now)
        return busy

    def _serve(self, parked: Parked, now: float, now_ms: int, *, review: bool) -> bool:
        lanes = parked.lanes
        busy = self._server.advance(lanes, lanes.state.partition, now)
        if review and lanes.waiting and self._may_leave:
            lanes.review(now_ms)
        lanes.advance(now, now_ms)
        wanted = [place for place in lanes.wanted() if place not in parked.asked]
        if wanted:
            parked.asked.update(wanted)
            self._fetcher.want(parked.journal, wanted)
        return busy

    def _read(self, now: float) -> bool:
        if now < self._follow_at:
            return False
        busy = self._follow() | self._fetch()
        if not busy and all(parked.takeover.done and not parked.lanes.live for parked in self._parked.values()):
            self._follow_at = now + FOLLOW_S
        return busy

    def _follow(self) -> bool:
        followed = self._follower.poll(READ_ON)
        for journal, record in followed.records:
            self._learn(self._by_journal.get(journal), record)
        for end in followed.ends:
            parked = self._by_journal.get(end.partition)
            if parked is not None:
                parked.lanes.reach(int(end.next_offset))
        for gone in followed.out_of_range:
            self._gone(self._by_journal.get(gone.partition))
        return bool(followed.records)

    def _fetch(self) -> bool:
        fetched = self._fetcher.take()
        for journal, record in fetched:
            self._offer(self._by_journal.get(journal), record)
        for journal, place in self._fetcher.take_missing():
            self._lost(self._by_journal.get(journal), place)
        return bool(fetched)

    def _learn(self, parked: Parked | None, record: Record) -> None:
        if parked is None or parked.damaged is not None:
            return
        try:
            known = decode(record.key, record.value, record.headers, record.timestamp_ms)
            parked.lanes.receive(int(record.offset), known)
        except JournalError as error:
            self._damaged(parked, error)

    def _offer(self, parked: Parked | None, record: Record) -> None:
        if parked is None or parked.damaged is not None:
            return
        parked.asked.discard(int(record.offset))
        try:
            entry = decode(record.key, record.value, record.headers, record.timestamp_ms)
        except JournalError as error:
            self._damaged(parked, error)
            return
        if isinstance(entry, Entry):
            parked.lanes.offer(int(record.offset), entry)

    def _take_over(self, now: float) -> bool:
        done = False
        for parked in self._parked.values():
            if parked.damaged is not None:
                self._tell_damaged(parked, now)
            elif not parked.takeover.done:
                try:
                    done |= parked.takeover.advance(now)
                except JournalError as error:
                    self._damaged(parked, error)
        return done

    def _damaged(self, parked: Parked, error: JournalError) -> None:
        """The partition stops: nothing of it starts until it is taken over anew."""
        parked.damaged = error
        parked.lanes.state.stop()
        parked.lanes.stop()
        self._tell_damaged(parked, self._clock.monotonic())

    @staticmethod
    def _tell_damaged(parked: Parked, now: float) -> None:
        if now < parked.told_at:
            return
        parked.told_at = now + STOPPED_S
        logger.error(
            "A retry partition is damaged: its source partition stands still, so that nothing is lost or overtaken",
            extra={
                "event": "journal_damaged",
                "topic": parked.journal.topic,
                "partition": parked.journal.partition,
                "error": str(parked.damaged),
            },
        )

    def _gone(self, parked: Parked | None) -> None:
        if parked is not None and parked.damaged is None and self._retake is not None:
            # Trimmed by a later owner, or deleted: what is true is for a new takeover to find out.
            self._retake([parked.lanes.state.partition])

    def _lost(self, parked: Parked | None, place: int) -> None:
        """What the index knows to be live does not stand there any more."""
        if parked is not None and parked.damaged is None and parked.lanes.index.entry(place) is not None:
            error = JournalError(f"{parked.journal} holds no record at {place}, where one is parked: it was deleted")
            self._damaged(parked, error)

    def _trim(self, now: float) -> None:
        self._trimmer.advance(
            now,
            {
                parked.journal: parked.lanes.trim_point()
                for parked in self._parked.values()
                if parked.takeover.done and parked.damaged is None
            },
        )

    # What came of attempts

    @property
    def _may_leave(self) -> bool:
        return self._rules.leaves and self.writer.available

    def failed(self, work: Work, due_at: float, wait_s: float) -> None:
        """A head waits for its next attempt (`retry` was called): its lane may leave for the retry topic."""
        owner = work.lane.partition
        parked = self._parked.get(owner.partition)
        if parked is not None and owner is parked.lanes.state and self._may_leave:
            parked.lanes.consider(work, due_at, int(self._clock.time() * 1000), wait_s)

    def give_up(self, work: Work, dead: Dead) -> bool:
        """A head is given up and held: its dead letter goes with its settlement. False where there is no transaction to
        be had."""
        parked = self._parked.get(work.lane.partition.partition)
        if parked is None or not self.writer.available:
            return False
        parked.lanes.give_up(work, dead)
        return True

    def unblock(self, partition: TopicPartition, key: LaneKey) -> None:
        """A run of an earlier epoch has ended (`PartitionState.unblock` was called)."""
        parked = self._parked.get(partition)
        if parked is not None and parked.opened:
            parked.lanes.unblock(key)

    def running(self, state: PartitionState) -> int:
        """How many entries of a partition run."""
        parked = self._parked.get(state.partition)
        return 0 if parked is None or parked.lanes.state is not state else parked.lanes.heads.running

    def pending(self, state: PartitionState) -> bool:
        """Whether something of a partition waits for a transaction."""
        parked = self._parked.get(state.partition)
        if parked is None or parked.lanes.state is not state or not self.writer.available:
            return False
        return bool(parked.lanes.letters or parked.lanes.batch is not None)

    def unwritten(self, state: PartitionState) -> bool:
        """Whether something that is settled of a partition is still to be written by a transaction."""
        lanes = self.of(state.partition)
        return lanes is not None and self.writer.available and not lanes.plain_commit_allowed

    @property
    def under_way(self) -> bool:
        """Whether something happens without the clock moving: a transaction, a payload that is read again, something
        to be written."""
        return self.writer.busy or any(
            lanes.leaving or lanes.letters or lanes.heads.pending or lanes.heads.running or lanes.wanted()
            for lanes in self
        )

    @property
    def live(self) -> int:
        """How many records of the journals are needed: parked records, key states, requests."""
        return sum(parked.lanes.live for parked in self._parked.values())

    def next_due(self) -> float | None:
        """When the first parked entry is due, in seconds of the monotonic clock."""
        found = [at for lanes in self if (at := lanes.index.next_due_ms()) is not None]
        if not found:
            return None
        return self._clock.monotonic() + max(0.0, min(found) / 1000 - self._clock.time())

    # Leaving

    def finish(self, states: Sequence[PartitionState], deadline: Deadline, meanwhile: Callable[[], None]) -> None:
        """Before partitions go: let the transaction under way end, and write what is settled of them. Blocks until the
        deadline at most; what is not written is done again by the next owner."""
        self.writer.settle(deadline, meanwhile)
        ours = [lanes for lanes in self if lanes.state in states]
        while not deadline.expired() and self.writer.last(ours):
            self.writer.settle(deadline, meanwhile)

    def close(self, timeout_s: float) -> None:
        """End the threads and connections."""
        self.writer.close(timeout_s)
        self._fetcher.close(timeout_s)
        self._server.close()
        self._follower.close()
