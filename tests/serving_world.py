"""One partition of a processor on the in-memory broker, with an owner reduced to what requests need."""

from __future__ import annotations

from collections.abc import Sequence

from streamq.core.journal_batch import JournalBatch, ParkPolicy
from streamq.core.journal_plan import plan
from streamq.core.journal_records import Entry, JournalRecord, Request, decode, encode
from streamq.core.key_states import OnDead
from streamq.core.lanes import KeyScheduler
from streamq.core.marks import LetterMark, decode_mark
from streamq.core.parking import ParkedLanes
from streamq.core.partition import PartitionState
from streamq.core.request_parameters import Parameters, request_of
from streamq.model.outcomes import Dead, Failure
from streamq.model.records import Headers, NextOffset, Offset, OutgoingRecord, Record, TopicPartition
from streamq.runtime.journal_batches import draft, share_of
from streamq.runtime.letter_reader import LetterReader
from streamq.runtime.letters import Identity, dead_letter
from streamq.runtime.request_server import RequestServer
from streamq.testing import ManualClock, MemoryCluster

SOURCE = TopicPartition("orders", 0)
RETRY = TopicPartition("shop.charge.retry", 0)
DLQ = TopicPartition("shop.charge.dlq", 0)
US = Identity("shop", "1", "charge", "shop.charge", DLQ.topic)
SOURCE_ID, JOURNAL_ID = b"s" * 16, b"j" * 16
DEAD = Dead("attempts", Failure("ValueError", "it broke"))


class World:
    """`own` takes the partition over; `tick` is an owner's, of which nothing runs."""

    def __init__(self, on_dead: OnDead = "skip", cluster: MemoryCluster | None = None) -> None:
        """Without a cluster it makes one, and moves its clock on."""
        self.cluster = cluster or MemoryCluster(clock=ManualClock(1_800_000_000.0))
        self.clock = self.cluster.clock
        for place in (SOURCE, RETRY, DLQ):
            self.cluster.create_topic(place.topic, 1)
        self.on_dead: OnDead = on_dead
        self.own()

    def own(self, **policy: int) -> None:
        """A new owner: it knows what stands in the journal."""
        state = PartitionState(SOURCE, 1, KeyScheduler(), NextOffset(100))
        self.parked = ParkedLanes(
            state, journal_id=JOURNAL_ID, source_id=SOURCE_ID, process=b"process0",
            policy=ParkPolicy(**policy), on_dead=self.on_dead,
        )  # fmt: skip
        reader = LetterReader(self.cluster.reader, self.clock, "test", inline=True)
        self.server = RequestServer(
            admin=self.cluster.admin(), reader=reader, dead_letter_topic=DLQ.topic, group=US.group
        )
        self._read = 0
        self._follow()
        self.parked.begin()

    def _follow(self) -> None:
        for record in self.cluster.records(RETRY.topic):
            if record.offset >= self._read:
                self.parked.receive(record.offset, journal_record(record))
        self._read = int(self.cluster.end(RETRY))
        self.parked.reach(self._read)

    # What happens

    def bury(self, *offsets: int, key: bytes | None = b"k", headers: Headers = (), value: bytes = b"v%d") -> list[int]:
        """Dead letters of these source offsets; where they stand."""
        found = []
        for offset in offsets:
            record = Record(
                SOURCE.topic, 0, Offset(offset), key, value.replace(b"%d", b"%d" % offset), headers, 1_000 + offset
            )
            found.append(self._append(dead_letter(US, record, 3, DEAD, 5)))
        return found

    def ask(self, *asked: Parameters | Request) -> list[bytes]:
        """An operator writes requests."""
        requests = [one if isinstance(one, Request) else request_of(one, 0) for one in asked]
        for request in requests:
            self.write(request)
        return [request.request_id for request in requests]

    def write(self, record: JournalRecord) -> int:
        """A record in the journal."""
        payload = encode(record)
        return self._append(OutgoingRecord(RETRY.topic, payload.key, payload.value, payload.headers, 0, 1_000))

    def _append(self, out: OutgoingRecord) -> int:
        place = TopicPartition(out.topic, 0)
        return int(self.cluster.append(place, out.value, out.key, out.headers, out.timestamp_ms).offset)

    def tick(self) -> JournalBatch | None:
        """Read on, serve, and carry out one transaction."""
        if isinstance(self.clock, ManualClock):
            self.clock.advance(0.1)
        if self.parked.batch is None:
            self._follow()
        self.server.advance(self.parked, SOURCE, self.clock.monotonic())
        self.parked.advance(self.clock.monotonic(), int(self.clock.time() * 1000))
        batch = plan(self.parked, int(self.clock.time() * 1000))
        if batch is not None:
            self.carry_out(batch)
        return batch

    def carry_out(self, batch: JournalBatch) -> None:
        """The transaction takes effect, with its markers."""
        shares = [share_of(self.parked, batch)]
        out = draft(shares, RETRY.topic, US, 5, lambda *_: 0)
        places = [Offset(self._append(record)) for record in out.batch.records]
        for place in {TopicPartition(record.topic, 0) for record in out.batch.records}:
            self.cluster.append_marker(place)
        for _, own in out.places(places):
            self.parked.committed(batch, own)

    def settle(self, ticks: int = 60) -> None:
        """Until no request is open."""
        for _ in range(ticks):
            self.tick()
            if not len(self.parked.requests) and self.parked.batch is None:
                return
        raise AssertionError(f"requests stay open: {list(self.parked.requests)}")

    # What came of it

    @property
    def entries(self) -> list[Entry]:
        """All that was moved back, in the order of the journal."""
        records = map(journal_record, self.cluster.records(RETRY.topic))
        return [record for record in records if isinstance(record, Entry)]

    @property
    def marks(self) -> list[LetterMark]:
        """All marks."""
        found = [decode_mark(record.headers) for record in self.cluster.records(DLQ.topic)]
        return [mark for mark in found if mark is not None]

    def standing(self) -> dict[bytes, str]:
        """The states of keys."""
        return {bytes(key): one.state.kind for key, one in self.parked.standing.items() if isinstance(key, bytes)}


def journal_record(record: Record) -> JournalRecord:
    """What stands in the journal."""
    return decode(record.key, record.value, record.headers, record.timestamp_ms)


def offsets(entries: Sequence[Entry]) -> list[int]:
    """The source offsets of entries."""
    return [entry.offset for entry in entries]
