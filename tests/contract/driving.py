"""Drives clients through the ports, as a worker's owner does, and waits for conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import cache, partial

from streamq.model.clock import Deadline
from streamq.model.errors import BrokerError
from streamq.model.ports import (
    AdminPort,
    CommitAnswer,
    ConsumerEvent,
    Isolation,
    OutOfRange,
    ProducerPort,
    ReachedEnd,
    Trouble,
)
from streamq.model.records import (
    CommitPoint,
    Delivery,
    Latest,
    NextOffset,
    OffsetSpec,
    OutgoingRecord,
    Record,
    TopicInfo,
    TopicPartition,
)
from tests.contract.backend import Backend

ANSWER_S = 10.0
POLL_S = 0.05


class Hands:
    """Who holds which partition: never two at once."""

    def __init__(self) -> None:
        self.holders: dict[TopicPartition, str] = {}
        self.violations: list[str] = []

    def take(self, who: str, partitions: Iterable[TopicPartition]) -> None:
        """They are assigned to `who`."""
        for partition in partitions:
            holder = self.holders.get(partition)
            if holder is not None:
                self.violations.append(f"{partition} is assigned to {who}, {holder} holds it")
            self.holders[partition] = who

    def give(self, who: str, partitions: Iterable[TopicPartition]) -> None:
        """They are no more with `who`."""
        for partition in partitions:
            if self.holders.get(partition) == who:
                del self.holders[partition]


class Member:
    """A group member: opens what it is assigned at its committed offset, or the beginning, and keeps what it polls."""

    def __init__(
        self,
        backend: Backend,
        group: str,
        topic: str,
        *,
        name: str = "a",
        hands: Hands | None = None,
        instance_id: str | None = None,
        opens: bool = True,
    ) -> None:
        self.name = name
        self.log: list[tuple[str, tuple[TopicPartition, ...]]] = []
        self.held: set[TopicPartition] = set()
        self.records: list[Record] = []
        self.events: list[ConsumerEvent] = []
        self.before_revoke: Callable[[Sequence[TopicPartition]], None] = lambda _: None
        self._backend = backend
        self._group = group
        self._opens = opens
        self._to_open: set[TopicPartition] = set()
        self._hands = hands or Hands()
        self.consumer = backend.consumer(group, instance_id=instance_id)
        self.consumer.subscribe(topic, self)

    # RebalanceListener

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Note it, and open them at the next step."""
        self.log.append(("assigned", tuple(sorted(partitions))))
        self._hands.take(self.name, partitions)
        self.held.update(partitions)
        self._to_open.update(partitions)

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Note it."""
        self.before_revoke(partitions)
        self._gone("revoked", partitions)

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Note it."""
        self._gone("lost", partitions)

    def _gone(self, how: str, partitions: Sequence[TopicPartition]) -> None:
        self.log.append((how, tuple(sorted(partitions))))
        self._hands.give(self.name, partitions)
        self.held.difference_update(partitions)
        self._to_open.difference_update(partitions)

    # Driving

    def step(self, wait_s: float = POLL_S, most: int = 500) -> None:
        """Poll once, and open what can be opened."""
        polled = self.consumer.poll(wait_s, most)
        self.records.extend(polled.records)
        self.events.extend(polled.events)
        if self._opens and self._to_open:
            self._open()

    def _open(self) -> None:
        committed = admin_of(self._backend).group_offsets(self._group, sorted(self._to_open)).result(ANSWER_S)
        for partition, point in committed.items():
            if partition in self._to_open and self.try_seek(partition, point.next_offset if point else 0):
                self.consumer.resume([partition])
                self._to_open.discard(partition)

    def try_seek(self, partition: TopicPartition, offset: int) -> bool:
        """Seek; False while the client is not ready."""
        try:
            self.consumer.seek(partition, NextOffset(offset))
        except BrokerError:
            return False
        return True

    def go_to(self, partition: TopicPartition, offset: int) -> None:
        """Seek, as soon as the client is ready."""
        drive(self._backend, lambda: self.try_seek(partition, offset), f"{partition} can be sought", self)

    def commit(self, points: Mapping[TopicPartition, CommitPoint]) -> CommitAnswer:
        """Commit and wait for the answer."""
        return self.consumer.commit(points).result(ANSWER_S)

    def has(self, count: int) -> bool:
        """Whether it has polled so many records."""
        return len(self.records) >= count

    @property
    def values(self) -> list[bytes | None]:
        """The values of what was polled."""
        return [record.value for record in self.records]

    def ends(self) -> list[tuple[TopicPartition, int]]:
        """The ends that were reported."""
        return [(event.partition, event.next_offset) for event in self.events if isinstance(event, ReachedEnd)]

    def out_of_range(self) -> list[tuple[TopicPartition, int]]:
        """The positions that were reported as not there."""
        return [(event.partition, event.offset) for event in self.events if isinstance(event, OutOfRange)]


def drive(backend: Backend, condition: Callable[[], bool], what: str, *members: Member) -> None:
    """Let these members poll in turns until the condition holds."""
    deadline = Deadline(backend.clock, backend.patience_s)
    while not condition():
        told = [f"{member.name}: holds {sorted(member.held)}, log {member.log}" for member in members]
        assert not deadline.expired(), f"not within {backend.patience_s:g} s: {what}; {told}"
        for member in members:
            member.step()


def settle(backend: Backend, group: str, topic: str, *members: Member) -> None:
    """Let them poll until all partitions of the topic are held, as evenly as can be, and the group is at rest."""
    total = existing(backend, topic).partitions
    shares = {total // len(members), -(-total // len(members))}

    def at_rest() -> bool:
        if sum(len(member.held) for member in members) != total:
            return False
        if any(len(member.held) not in shares for member in members):
            return False
        info = admin_of(backend).describe_group(group, ANSWER_S)
        return info is not None and info.state == "Stable" and len(info.members) == len(members)

    drive(backend, at_rest, f"group {group} is at rest", *members)


@cache
def admin_of(backend: Backend) -> AdminPort:
    """One admin for all tests of a cluster: to connect takes time."""
    return backend.clients.admin()


@cache
def producer_of(backend: Backend) -> ProducerPort:
    """One producer for all tests of a cluster, likewise."""
    return backend.clients.producer()


def existing(backend: Backend, topic: str) -> TopicInfo:
    """The topic, which is there."""
    info = admin_of(backend).describe_topics([topic], ANSWER_S)[topic]
    assert info is not None
    return info


def produce(backend: Backend, records: Iterable[OutgoingRecord]) -> list[Delivery]:
    """Produce these and wait until they are written. Returns where they stand, in the order of the calls."""
    deliveries = []
    for report in attempt(backend, records):
        assert isinstance(report, Delivery), report
        deliveries.append(report)
    return deliveries


def attempt(backend: Backend, records: Iterable[OutgoingRecord]) -> list[Delivery | BrokerError]:
    """Produce these and wait until all are decided. Returns what became of each, in the order of the calls."""
    return _attempt(producer_of(backend), records)


def _attempt(producer: ProducerPort, records: Iterable[OutgoingRecord]) -> list[Delivery | BrokerError]:
    reports: dict[int, Delivery | BrokerError] = {}
    count = 0
    for record in records:
        producer.produce(record, partial(reports.__setitem__, count))
        count += 1
    assert producer.flush(ANSWER_S) == 0
    return [reports[number] for number in range(count)]


def fill(backend: Backend, topic: str, count: int, *, partition: int = 0, start: int = 0) -> list[bytes]:
    """Write so many numbered records to a partition. Returns their values."""
    return _fill(producer_of(backend), topic, count, partition, start)


def fill_new(backend: Backend, topic: str, count: int, *, partition: int = 0, start: int = 0) -> list[bytes]:
    """Likewise, to a partition that was added: a producer that knows the topic would not know of it yet."""
    producer = backend.clients.producer()
    try:
        return _fill(producer, topic, count, partition, start)
    finally:
        producer.close(1.0)


def _fill(producer: ProducerPort, topic: str, count: int, partition: int, start: int) -> list[bytes]:
    values = [b"%d" % number for number in range(start, start + count)]
    outgoing = (OutgoingRecord(topic, None, value, partition=partition) for value in values)
    for report in _attempt(producer, outgoing):
        assert isinstance(report, Delivery), report
    return values


class Found:
    """What reading a partition up to its end gave."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.ends: list[int] = []
        self.out_of_range: list[int] = []

    @property
    def values(self) -> list[bytes | None]:
        """The values of what was read."""
        return [record.value for record in self.records]


def read(backend: Backend, partition: TopicPartition, start: int = 0, isolation: Isolation = "read_committed") -> Found:
    """Read a partition with a reader until it reports an end, or that it cannot stand there."""
    found = Found()
    deadline = Deadline(backend.clock, backend.patience_s)
    with closing(backend.clients.reader(isolation)) as reader:
        reader.assign({partition: NextOffset(start)})
        while not (found.ends or found.out_of_range):
            assert not deadline.expired(), f"{partition} reports no end"
            polled = reader.poll(POLL_S, 500)
            found.records.extend(polled.records)
            for event in polled.events:
                match event:
                    case ReachedEnd(_, next_offset):
                        found.ends.append(next_offset)
                    case OutOfRange(_, offset):
                        found.out_of_range.append(offset)
                    case Trouble(error):
                        raise error
    return found


END = Latest()


def locate(backend: Backend, partition: TopicPartition, spec: OffsetSpec = END) -> int:
    """Where this stands; the end unless it is said."""
    return admin_of(backend).list_offsets({partition: spec}).result(ANSWER_S)[partition]


def committed(backend: Backend, group: str, *partitions: TopicPartition) -> Mapping[TopicPartition, CommitPoint | None]:
    """What stands committed."""
    return admin_of(backend).group_offsets(group, partitions).result(ANSWER_S)
