"""A broker that goes away, or stands still, and comes back: clients wait, and go on."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter

import pytest

from streamq.kafka import KafkaClients, ping
from streamq.kafka.consumer import KafkaConsumer
from streamq.local.broker import LocalBroker
from streamq.model.clock import Deadline, SystemClock
from streamq.model.errors import BrokerError, OutcomeUnknownError, RetriableError
from streamq.model.ports import ConsumerEvent, ConsumerOptions, GroupProtocol, Trouble
from streamq.model.records import (
    CommitPoint,
    Delivery,
    NextOffset,
    OutgoingRecord,
    Record,
    TopicPartition,
    TopicSpec,
)
from tests.integration.proxy import Proxy

pytestmark = pytest.mark.kafka

WAIT_S = 60.0
SESSION_S = 6.0
SOCKET_S = 10.0  # after so long without an answer librdkafka connects anew


@pytest.fixture
def broker(kafka_bootstrap: str, tmp_path: Path) -> Iterator[LocalBroker]:
    """One of its own, since it is stopped; `kafka_bootstrap` says whether one can be had at all."""
    broker = LocalBroker(tmp_path / "broker", port=0, probe=ping)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def clients(broker: LocalBroker) -> KafkaClients:
    return KafkaClients(broker.bootstrap_servers)


class Owner:
    """A member that opens what it is assigned."""

    def __init__(self, clients: KafkaClients, topic: str, options: ConsumerOptions | None = None) -> None:
        self.consumer: KafkaConsumer = clients.consumer(options or ConsumerOptions(f"{topic}.group", "test"))
        self.held: set[TopicPartition] = set()
        self.records: list[Record] = []
        self.events: list[ConsumerEvent] = []
        self._to_open: set[TopicPartition] = set()
        self.consumer.subscribe(topic, self)

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.held.update(partitions)
        self._to_open.update(partitions)

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.held.difference_update(partitions)

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.held.difference_update(partitions)
        self._to_open.difference_update(partitions)

    def poll_until(self, condition: Callable[[], bool], within_s: float = WAIT_S) -> bool:
        deadline = Deadline(SystemClock(), within_s)
        while not condition():
            if deadline.expired():
                return False
            polled = self.consumer.poll(0.05, 100)
            self.records.extend(polled.records)
            self.events.extend(polled.events)
            for partition in list(self._to_open):
                try:
                    self.consumer.seek(partition, NextOffset(0))
                except RetriableError:
                    continue
                self.consumer.resume([partition])
                self._to_open.discard(partition)
        return True

    def troubles(self) -> list[BrokerError]:
        return [event.error for event in self.events if isinstance(event, Trouble)]


def test_a_broker_that_goes_and_comes_back(broker: LocalBroker, clients: KafkaClients) -> None:
    topic = f"outage-{uuid.uuid4().hex[:8]}"
    place = TopicPartition(topic, 0)
    admin, producer = clients.admin(), clients.producer()
    admin.create_topic(TopicSpec(topic, 1), WAIT_S)
    reports: list[Delivery | BrokerError] = []
    producer.produce(OutgoingRecord(topic, b"k", b"before"), reports.append)
    owner = Owner(clients, topic)
    assert owner.poll_until(lambda: len(owner.records) == 1)
    assert owner.troubles() == []

    broker.stop()
    answer = owner.consumer.commit({place: CommitPoint(NextOffset(1))})
    producer.produce(OutgoingRecord(topic, b"k", b"meanwhile"), reports.append)
    assert owner.poll_until(lambda: len(owner.troubles()) > 0)
    owner.poll_until(lambda: False, 2.0)
    assert len(owner.troubles()) == 1, "a lost connection is one event, however often it is tried"
    assert isinstance(owner.troubles()[0], RetriableError)
    assert broker.bootstrap_servers in str(owner.troubles()[0])
    with pytest.raises(RetriableError, match=broker.bootstrap_servers):
        admin.describe_group(f"{topic}.group", 1.0)  # given up: its answer, when it comes, must do no harm
    offsets = admin.group_offsets(f"{topic}.group", [place])

    broker.start()
    assert owner.poll_until(lambda: len(owner.records) > 1 and owner.records[-1].value == b"meanwhile")
    # Away for longer than its session, the member comes back as a new one and reads again.
    assert [record.value for record in owner.records] in (
        [b"before", b"meanwhile"],
        [b"before", b"before", b"meanwhile"],
    )
    assert owner.poll_until(answer.done)
    outcome = answer.result(0)[place]
    assert outcome is None or isinstance(outcome, RetriableError | OutcomeUnknownError)
    assert owner.poll_until(offsets.done)
    assert owner.poll_until(
        lambda: owner.consumer.commit({place: CommitPoint(NextOffset(2))}).result(WAIT_S)[place] is None
    )
    assert admin.group_offsets(f"{topic}.group", [place]).result(WAIT_S) == {place: CommitPoint(NextOffset(2))}
    assert producer.flush(WAIT_S) == 0
    assert [type(report) for report in reports] == [Delivery, Delivery]
    owner.consumer.close(5.0)
    producer.close(5.0)
    admin.close()


def test_a_broker_that_stands_still_holds_up_neither_owner_nor_exit(broker: LocalBroker, clients: KafkaClients) -> None:
    """librdkafka repeats a commit for as long as it gets no answer; polls, `rejoin` and `close` do not wait for it."""
    topic = f"still-{uuid.uuid4().hex[:8]}"
    place = TopicPartition(topic, 0)
    admin = clients.admin()
    admin.create_topic(TopicSpec(topic, 1), WAIT_S)
    owner = Owner(clients, topic)
    assert owner.poll_until(lambda: owner.held == {place} and len(owner.events) > 0)
    pid = int(broker.pid_file.read_text().split()[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = owner.consumer.commit({place: CommitPoint(NextOffset(0), "nobody answers")})
        started = perf_counter()
        with pytest.raises(TimeoutError):
            answer.result(0.5)
        owner.consumer.poll(0.1, 10)
        owner.consumer.rejoin()
        assert owner.held == set()
        owner.consumer.poll(0.1, 10)
        owner.consumer.close(1.0)
        with pytest.raises(RetriableError):
            admin.describe_group(f"{topic}.group", 0.5)
        admin.close()
        assert perf_counter() - started < 8.0
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_commit_on_a_dead_connection_does_not_keep_the_old_member_in_the_group(
    kafka_bootstrap: str, tmp_path: Path, protocol: GroupProtocol
) -> None:
    """The old client's goodbye waits for its commit. A commit that nobody answers has a connection on which nobody
    answers heartbeats either: the session time-out ends the member, or the socket's the wait, whichever is first."""
    with Proxy() as proxy:
        broker = LocalBroker(tmp_path, port=0, probe=ping, advertised=(f"127.0.0.1:{proxy.port}",))
        proxy.forward_to(broker.port)
        with broker:
            topic, group = "behind-proxy", "behind-proxy.group"
            place = TopicPartition(topic, 0)
            clients = KafkaClients(f"127.0.0.1:{proxy.port}")
            admin = clients.admin()
            admin.create_topic(TopicSpec(topic, 1), WAIT_S)
            owner = Owner(clients, topic, ConsumerOptions(group, "test", protocol, session_timeout_s=SESSION_S))
            assert owner.poll_until(lambda: owner.held == {place} and len(owner.events) > 0)
            proxy.stand_still()
            answer = owner.consumer.commit({place: CommitPoint(NextOffset(0), "nobody answers")})
            assert not owner.poll_until(answer.done, 0.5)
            owner.consumer.rejoin()
            assert owner.poll_until(lambda: owner.held == {place} and answer.done(), SESSION_S + SOCKET_S)
            found = clients.admin().describe_group(group, WAIT_S)
            assert found is not None
            assert [member.partitions for member in found.members] == [(place,)], "the old member is gone"
            owner.consumer.close(5.0)
            admin.close()
