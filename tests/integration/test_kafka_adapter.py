"""What the adapter does on a real Kafka beyond the contract: the traps of client and broker, each of which was met."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from time import perf_counter

import pytest

from streamq.core.murmur2 import partition_for
from streamq.kafka import KafkaClients, ping
from streamq.kafka.admin import KafkaAdmin
from streamq.kafka.consumer import KafkaConsumer
from streamq.model.clock import Deadline, SystemClock
from streamq.model.errors import BrokerError, FatalBrokerError, RecordTooLargeError, RetriableError
from streamq.model.ports import ConsumerOptions, GroupProtocol
from streamq.model.records import CommitPoint, Delivery, NextOffset, OutgoingRecord, TopicPartition, TopicSpec

pytestmark = pytest.mark.kafka

WAIT_S = 20.0
Report = Delivery | BrokerError


@pytest.fixture
def clients(kafka_bootstrap: str) -> KafkaClients:
    return KafkaClients(kafka_bootstrap)


@pytest.fixture
def admin(clients: KafkaClients) -> Iterator[KafkaAdmin]:
    with closing(clients.admin()) as admin:
        yield admin


@pytest.fixture
def topic(admin: KafkaAdmin) -> str:
    return make_topic(admin, 4)


def make_topic(admin: KafkaAdmin, partitions: int, **config: str) -> str:
    name = f"adapter-{uuid.uuid4().hex[:12]}"
    settings = {key.replace("_", "."): value for key, value in config.items()}
    assert admin.create_topic(TopicSpec(name, partitions, 1, settings), WAIT_S)
    return name


def produce(clients: KafkaClients, records: Sequence[OutgoingRecord]) -> list[Report]:
    """In the order of the calls."""
    reports: dict[int, Report] = {}
    producer = clients.producer()
    for number, record in enumerate(records):
        producer.produce(record, lambda report, number=number: reports.__setitem__(number, report))  # type: ignore[misc]
    assert producer.flush(WAIT_S) == 0
    producer.close(1.0)
    return [reports[number] for number in range(len(records))]


class Listener:
    """Notes what it is told; a test may do more."""

    def __init__(self) -> None:
        self.held: set[TopicPartition] = set()
        self.log: list[str] = []
        self.when: dict[str, Callable[[Sequence[TopicPartition]], None]] = {}

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.held.update(partitions)
        self._note("assigned", partitions)

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self._note("revoked", partitions)
        self.held.difference_update(partitions)

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        self._note("lost", partitions)
        self.held.difference_update(partitions)

    def _note(self, what: str, partitions: Sequence[TopicPartition]) -> None:
        self.log.append(what)
        if what in self.when:
            self.when[what](partitions)


class Members:
    """Makes members, polls them, and closes them at the end."""

    def __init__(self, clients: KafkaClients) -> None:
        self._clients = clients
        self._made: list[KafkaConsumer] = []

    def join(
        self, group: str, topic: str, protocol: GroupProtocol = "classic", instance_id: str | None = None
    ) -> tuple[KafkaConsumer, Listener]:
        consumer, listener = self._clients.consumer(ConsumerOptions(group, "test", protocol, instance_id)), Listener()
        consumer.subscribe(topic, listener)
        self._made.append(consumer)
        return consumer, listener

    def poll_until(self, condition: Callable[[], bool]) -> None:
        deadline = Deadline(SystemClock(), WAIT_S)
        while not condition():
            assert not deadline.expired()
            for consumer in self._made:
                consumer.poll(0.02, 100)

    def close(self) -> None:
        for consumer in self._made:
            consumer.close(2.0)


@pytest.fixture
def members(clients: KafkaClients) -> Iterator[Members]:
    members = Members(clients)
    yield members
    members.close()


def new_group() -> str:
    return f"adapter-{uuid.uuid4().hex[:12]}"


def test_a_real_record_lands_on_the_partition_that_we_compute(clients: KafkaClients, admin: KafkaAdmin) -> None:
    topic = make_topic(admin, 13)
    keys = [b"", b"a", b"21", b"foobar", "Straße".encode(), bytes(range(256))] + [b"%d" % n for n in range(300)]
    for key, report in zip(keys, produce(clients, [OutgoingRecord(topic, key, b"v") for key in keys]), strict=True):
        assert isinstance(report, Delivery)
        assert report.partition == partition_for(key, 13)


def test_records_that_fit_are_not_refused_for_their_company(clients: KafkaClients, admin: KafkaAdmin) -> None:
    """A broker refuses a batch as a whole, so batches are kept below what a topic may be limited to."""
    topic = make_topic(admin, 1, max_message_bytes="20000")
    sizes = [1_000] * 100 + [30_000, 100, 19_000, 100]
    reports = produce(clients, [OutgoingRecord(topic, b"k", b"x" * size) for size in sizes])
    assert [number for number, report in enumerate(reports) if not isinstance(report, Delivery)] == [100]
    assert isinstance(reports[100], RecordTooLargeError)
    assert "max.message.bytes" in str(reports[100])


def test_a_record_larger_than_the_buffer_will_never_fit(kafka_bootstrap: str, topic: str) -> None:
    clients = KafkaClients(kafka_bootstrap, {"queue.buffering.max.kbytes": 1024})
    producer = clients.producer()
    with pytest.raises(RecordTooLargeError, match=r"queue\.buffering\.max\.kbytes"):
        producer.produce(OutgoingRecord(topic, None, b"x" * 3_000_000), lambda _: None)
    producer.close(0.1)


def test_a_full_buffer_is_said_and_every_record_taken_is_reported_once(topic: str) -> None:
    """Nobody listens there: what is undecided at the end is given up, and reported."""
    reports: list[Report] = []
    clients = KafkaClients("127.0.0.1:1", {"queue.buffering.max.messages": 10})
    producer = clients.producer()
    for _ in range(10):
        producer.produce(OutgoingRecord(topic, b"k", b"v"), reports.append)
    with pytest.raises(RetriableError, match="full"):
        producer.produce(OutgoingRecord(topic, b"k", b"v"), reports.append)
    assert producer.flush(0.1) == 10
    producer.close(0.1)
    assert len(reports) == 10
    assert all(isinstance(report, RetriableError) for report in reports)
    with pytest.raises(FatalBrokerError, match="closed"):
        producer.produce(OutgoingRecord(topic, b"k", b"v"), reports.append)


def test_reports_come_on_the_producers_own_thread_only(clients: KafkaClients, topic: str) -> None:
    threads: set[str] = set()
    producer = clients.producer()
    for _ in range(100):
        producer.produce(OutgoingRecord(topic, None, b"v"), lambda _: threads.add(threading.current_thread().name))
    assert producer.flush(WAIT_S) == 0
    producer.close(1.0)
    assert threads == {"streamq-producer"}


def test_a_partition_that_was_added_is_found_by_who_repeats(
    clients: KafkaClients, admin: KafkaAdmin, topic: str
) -> None:
    producer = clients.producer()
    reports: list[Report] = []
    producer.produce(OutgoingRecord(topic, None, b"v", partition=0), reports.append)
    producer.flush(WAIT_S)
    admin.add_partitions(topic, 6, WAIT_S)
    deadline = Deadline(SystemClock(), 5.0)
    while len(reports) < 2:
        assert not deadline.expired()
        try:
            producer.produce(OutgoingRecord(topic, None, b"v", partition=5), reports.append)
        except FatalBrokerError as error:
            assert "partition 5" in str(error)
            SystemClock().sleep(0.05)
        producer.flush(WAIT_S)
    producer.close(1.0)
    assert all(isinstance(report, Delivery) for report in reports)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_commit_is_answered_while_the_owner_polls(members: Members, topic: str, protocol: GroupProtocol) -> None:
    """The binding lets one thread at a time into a consumer: the answer must not wait for the end of a poll."""
    consumer, listener = members.join(new_group(), topic, protocol)
    members.poll_until(lambda: len(listener.held) == 4)
    answered_after: list[float] = []
    started = perf_counter()
    answer = consumer.commit({TopicPartition(topic, 0): CommitPoint(NextOffset(0), "map")})
    answer.add_done_callback(lambda _: answered_after.append(perf_counter() - started))
    consumer.poll(1.5, 1)
    assert answer.result(0) == {TopicPartition(topic, 0): None}
    assert answered_after[0] < 1.0


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_commit_is_answered_at_once_while_partitions_are_revoked(
    members: Members, topic: str, protocol: GroupProtocol
) -> None:
    group = new_group()
    consumer, listener = members.join(group, topic, protocol)
    members.poll_until(lambda: len(listener.held) == 4)
    took: list[float] = []

    def commit(partitions: Sequence[TopicPartition]) -> None:
        started = perf_counter()
        answer = consumer.commit({partitions[0]: CommitPoint(NextOffset(0), "last words")}).result(5.0)
        took.append(perf_counter() - started)
        assert answer == {partitions[0]: None}

    listener.when["revoked"] = commit
    _, second = members.join(group, topic, protocol)
    members.poll_until(lambda: len(second.held) == 2)
    assert took
    assert max(took) < 2.0


def test_a_large_commit_goes_in_parts_and_has_one_answer(members: Members, admin: KafkaAdmin) -> None:
    topic, group = make_topic(admin, 200), new_group()
    consumer, listener = members.join(group, topic)
    members.poll_until(lambda: len(listener.held) == 200)
    points = {TopicPartition(topic, number): CommitPoint(NextOffset(number), "m" * 4095) for number in range(200)}
    assert consumer.commit(points).result(WAIT_S) == dict.fromkeys(points)
    assert admin.group_offsets(group, list(points)).result(WAIT_S) == points


@pytest.mark.parametrize("when", ["assigned", "revoked"])
def test_what_a_listener_raises_is_raised_by_the_poll_and_the_group_goes_on(
    members: Members, topic: str, when: str
) -> None:
    group = new_group()
    consumer, listener = members.join(group, topic)

    def refuse(partitions: Sequence[TopicPartition]) -> None:
        del listener.when[when]
        raise ValueError(f"no {len(partitions)}")

    listener.when[when] = refuse
    if when == "revoked":
        members.poll_until(lambda: len(listener.held) == 4)
        consumer.poll(0, 1)
        _, second = members.join(group, topic)
    with pytest.raises(ValueError, match="no "):
        members.poll_until(lambda: False)
    if when == "revoked":
        listener.held -= set(second.held)
        members.poll_until(lambda: len(second.held) == 2)
    partition = sorted(listener.held - (second.held if when == "revoked" else set()))[0]
    assert consumer.commit({partition: CommitPoint(NextOffset(0))}).result(WAIT_S) == {partition: None}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_what_is_resumed_is_read_at_once(
    clients: KafkaClients, members: Members, topic: str, protocol: GroupProtocol
) -> None:
    """librdkafka's thread for the broker would sleep for up to a second."""
    produce(clients, [OutgoingRecord(topic, None, b"v", partition=0)])
    consumer, listener = members.join(new_group(), topic, protocol)
    members.poll_until(lambda: len(listener.held) == 4)
    place = TopicPartition(topic, 0)
    took = []
    for _ in range(4):
        consumer.poll(0.3, 10)
        consumer.seek(place, NextOffset(0))
        started = perf_counter()
        consumer.resume([place])
        while not consumer.poll(0.05, 10).records:
            assert perf_counter() - started < WAIT_S
        took.append(perf_counter() - started)
        consumer.pause([place])
    assert min(took) < 0.2
    assert sorted(took)[1] < 0.4


def test_a_static_member_that_rejoins_fences_its_former_self(members: Members, topic: str) -> None:
    group = new_group()
    consumer, listener = members.join(group, topic, "classic", f"{group}-1")
    members.poll_until(lambda: len(listener.held) == 4)
    consumer.rejoin()
    assert listener.log == ["assigned", "lost"]
    members.poll_until(lambda: len(listener.held) == 4)
    partition = TopicPartition(topic, 0)
    assert consumer.commit({partition: CommitPoint(NextOffset(0))}).result(WAIT_S) == {partition: None}


def test_a_probe_says_whether_anybody_answers(kafka_bootstrap: str) -> None:
    assert ping(kafka_bootstrap, 5.0)
    assert not ping("127.0.0.1:1", 0.5)


def test_nobody_there_is_said_with_the_address_and_a_remedy() -> None:
    with closing(KafkaClients("127.0.0.1:1").admin()) as admin:
        for ask in (
            lambda: admin.list_topics(0.3),
            lambda: admin.describe_topics(["orders"], 0.3),
            lambda: admin.describe_group("shop.charge", 0.3),
            lambda: admin.list_groups(0.3),
        ):
            with pytest.raises(RetriableError, match=r"127\.0\.0\.1:1.*bootstrap_servers"):
                ask()
