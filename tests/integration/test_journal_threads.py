"""The threads around a journal, on a real Kafka: transactions and sessions, following, and reading again."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress

import pytest

from streamq.kafka import KafkaClients
from streamq.kafka.admin import KafkaAdmin
from streamq.kafka.consumer import KafkaConsumer
from streamq.model.clock import SystemClock
from streamq.model.errors import FencedError
from streamq.model.ports import ConsumerOptions
from streamq.model.records import CommitPoint, NextOffset, OutgoingRecord, TopicPartition, TopicSpec
from streamq.model.transactions import Batch, Committed, Membership, TransactionStep
from streamq.runtime.journal_follower import JournalFollower
from streamq.runtime.payload_runs import GAP
from streamq.runtime.payloads import PayloadFetcher
from streamq.runtime.transactor import Transactor
from streamq.runtime.trimmer import Trimmer

pytestmark = pytest.mark.kafka

WAIT_S = 20.0
CLOCK = SystemClock()


class Quiet:
    """A listener that has nothing to do. See `RebalanceListener`."""

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing."""

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing."""

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing."""


class Died(Exception):
    """The process is gone, at a step."""


def die(step: TransactionStep) -> None:
    """A hook that ends a process when all is written and nothing is decided."""
    if step == "before_commit":
        raise Died(step)


class Shop:
    """A source, its journal of two partitions, and the only member of a group."""

    def __init__(self, bootstrap: str) -> None:
        self.clients = KafkaClients(bootstrap)
        self.admin: KafkaAdmin = self.clients.admin()
        name = f"journal-{uuid.uuid4().hex[:10]}"
        self.source = TopicPartition(name, 0)
        self.zero, self.one = (TopicPartition(f"{name}.retry", number) for number in range(2))
        self.id = f"{name}.1"
        self.admin.create_topic(TopicSpec(name, 1, 1), WAIT_S)
        self.admin.create_topic(TopicSpec(self.zero.topic, 2, 1), WAIT_S)
        self.consumer: KafkaConsumer = self.clients.consumer(ConsumerOptions(name, "c"))
        self.consumer.subscribe(name, Quiet())

    @property
    def membership(self) -> Membership:
        """Who the member is, once it has joined."""
        found: list[Membership] = []

        def joined() -> bool:
            self.consumer.poll(0.05, 1)
            membership = self.consumer.membership()
            found.extend([membership] if membership is not None else [])
            return bool(found)

        until(joined, "the member has joined")
        return found[0]

    def batch(self, *values: bytes) -> Batch:
        """Records for the journal, and an offset of the source."""
        return Batch([to(self.zero, value) for value in values], {self.source: CommitPoint(NextOffset(0))})

    def fill(self, partition: TopicPartition, values: Sequence[bytes]) -> None:
        """Write these."""
        producer = self.clients.producer()
        for value in values:
            producer.produce(to(partition, value), lambda report: None)
        assert producer.flush(WAIT_S) == 0
        producer.close(1.0)

    def close(self) -> None:
        """Leave."""
        self.consumer.close(WAIT_S)
        self.admin.close()


@pytest.fixture
def shop(kafka_bootstrap: str) -> Iterator[Shop]:
    with closing(Shop(kafka_bootstrap)) as shop:
        yield shop


def to(partition: TopicPartition, value: bytes) -> OutgoingRecord:
    """A record for a partition."""
    return OutgoingRecord(partition.topic, None, value, partition=partition.partition)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another thread, or a broker, does."""
    ends = CLOCK.monotonic() + WAIT_S
    while not condition():
        assert CLOCK.monotonic() < ends, f"not within {WAIT_S:g} s: {what}"
        CLOCK.sleep(0.005)


def follow_to(follower: JournalFollower, partition: TopicPartition, end: int) -> list[bytes | None]:
    """Look until this is the position. What came."""
    values: list[bytes | None] = []

    def there() -> bool:
        values.extend(record.value for found, record in follower.poll(500).records if found == partition)
        return follower.position(partition) >= end

    until(there, f"{partition} is followed to {end}")
    return values


def test_a_transactor_begins_decides_and_is_fenced(shop: Shop) -> None:
    membership = shop.membership
    dead = shop.clients.transactions(shop.id, die)
    dead.begin_session(WAIT_S)
    with suppress(Died):
        dead.run(shop.batch(b"left open"), membership)
    transactor = Transactor(lambda: shop.clients.transactions(shop.id), CLOCK, "it")
    follower = JournalFollower(shop.clients.reader)
    with closing(follower):
        follower.follow(shop.zero, NextOffset(0))
        transactor.decide()
        assert transactor.wait(WAIT_S)
        assert follow_to(follower, shop.zero, 2) == [], "aborted: its record and its marker are passed"
        places: list[int] = []
        for number in range(20):
            transactor.send(shop.batch(b"%d" % number), membership)
            assert transactor.wait(WAIT_S)
            result = transactor.take()
            assert isinstance(result, Committed)
            places += result.places
        assert places == list(range(2, 42, 2))
        other = shop.clients.transactions(shop.id)
        other.begin_session(WAIT_S)
        transactor.send(shop.batch(b"fenced"), membership)
        assert transactor.wait(WAIT_S)
        assert isinstance(transactor.take(), FencedError)
        transactor.send(shop.batch(b"again"), membership)
        assert transactor.wait(WAIT_S)
        result = transactor.take()
        assert isinstance(result, Committed)
        seen = follow_to(follower, shop.zero, result.places[0] + 1)
        assert seen == [*(b"%d" % number for number in range(20)), b"again"]
        other.close()
    dead.close()
    transactor.close(WAIT_S)


def test_what_is_followed_comes_whole_while_another_comes_and_goes(shop: Shop) -> None:
    numbers = [b"%d" % number for number in range(20_000)]
    shop.fill(shop.zero, numbers)
    shop.fill(shop.one, numbers[:100])
    values: list[bytes | None] = []
    with closing(JournalFollower(shop.clients.reader)) as follower:
        follower.follow(shop.zero, NextOffset(0))
        looks = 0

        def there() -> bool:
            nonlocal looks
            looks += 1
            if looks % 20 == 0:
                follower.follow(shop.one, NextOffset(0))
            elif looks % 20 == 10:
                follower.drop(shop.one)
            values.extend(record.value for found, record in follower.poll(300).records if found == shop.zero)
            return follower.position(shop.zero) >= len(numbers)

        until(there, "all is followed")
        assert values == numbers
        follower.follow(shop.one, NextOffset(50))
        assert follow_to(follower, shop.one, 100) == numbers[50:100]


def test_places_are_read_again_and_what_was_trimmed_is_told(shop: Shop) -> None:
    count = 20 * GAP
    shop.fill(shop.zero, [b"%d" % number for number in range(count)])
    shop.fill(shop.one, [b"one"])
    trimmer = Trimmer(shop.admin, every_s=0.1, moved=10)
    trimmer.opened(shop.zero, NextOffset(0))
    until(lambda: bool(trimmer.advance(CLOCK.monotonic(), {shop.zero: 100})), "the front is deleted")
    fetcher = PayloadFetcher(shop.clients.reader, "it")
    places = {*range(100, 200), *range(200, count, GAP + 50), count - 1}
    fetcher.want(shop.zero, [7, 8, *places])
    fetcher.want(shop.one, [0])
    found: dict[tuple[TopicPartition, int], bytes | None] = {}
    missing: list[tuple[TopicPartition, int]] = []

    def there() -> bool:
        found.update({(partition, int(record.offset)): record.value for partition, record in fetcher.take()})
        missing.extend(fetcher.take_missing())
        return len(found) + len(missing) >= len(places) + 3

    until(there, "all is decided")
    assert sorted(missing) == [(shop.zero, 7), (shop.zero, 8)]
    assert found == {(shop.one, 0): b"one", **{(shop.zero, place): b"%d" % place for place in places}}
    fetcher.close(WAIT_S)


def test_a_place_behind_what_is_open_comes_when_that_is_decided(shop: Shop) -> None:
    dead = shop.clients.transactions(shop.id, die)
    dead.begin_session(WAIT_S)
    with suppress(Died):
        dead.run(shop.batch(b"left open"), shop.membership)
    shop.fill(shop.zero, [b"behind it"])
    shop.fill(shop.one, [b"beside it"])
    fetcher = PayloadFetcher(shop.clients.reader, "it")
    values: list[bytes | None] = []

    def seen(value: bytes) -> bool:
        values.extend(record.value for _, record in fetcher.take())
        return value in values

    fetcher.want(shop.zero, [1])
    fetcher.want(shop.one, [0])
    until(lambda: seen(b"beside it"), "others are read")
    decider = Transactor(lambda: shop.clients.transactions(shop.id), CLOCK, "it")
    decider.decide()
    until(lambda: seen(b"behind it"), "it is read")
    assert list(fetcher.take_missing()) == []
    fetcher.close(WAIT_S)
    decider.close(WAIT_S)
    dead.close()
