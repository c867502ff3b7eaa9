"""Transactions on a broker that stands still, and on one that waited too long: told as what they are, then decided."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import pytest

from streamq.kafka import KafkaClients, ping
from streamq.kafka.consumer import KafkaConsumer
from streamq.kafka.transactions import END_S, SEND_S, KafkaTransactions
from streamq.local.broker import LocalBroker
from streamq.model.clock import Deadline, SystemClock
from streamq.model.errors import BrokerError, FatalBrokerError, FencedError, RetriableError
from streamq.model.ports import AdminPort, ConsumerOptions, ReachedEnd
from streamq.model.records import CommitPoint, NextOffset, OutgoingRecord, TopicPartition, TopicSpec
from streamq.model.transactions import Aborted, Batch, Committed, Membership, OutcomeUnknown, TransactionStep

pytestmark = pytest.mark.kafka

WAIT_S = 30.0
SLACK_S = 4.0


@pytest.fixture
def broker(kafka_bootstrap: str, tmp_path: Path) -> Iterator[LocalBroker]:
    """One of its own, since it is made to stand still; `kafka_bootstrap` says whether one can be had at all."""
    broker = LocalBroker(tmp_path / "broker", port=0, probe=ping)
    broker.start()
    yield broker
    broker.stop()


class Standstill:
    """Stops the broker's process at a step, once."""

    def __init__(self, broker: LocalBroker, step: TransactionStep) -> None:
        self._pid = int(broker.pid_file.read_text().split()[0])
        self._step: TransactionStep | None = step
        self.told: list[TransactionStep] = []

    def __call__(self, step: TransactionStep) -> None:
        self.told.append(step)
        if step == self._step:
            self._step = None
            os.kill(self._pid, signal.SIGSTOP)

    def end(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


class Scene:
    """A member with a source partition, and a journal."""

    def __init__(self, bootstrap: str) -> None:
        self.clients = KafkaClients(bootstrap)
        self.admin: AdminPort = self.clients.admin()
        self.source, self.journal = self._topic("source"), self._topic("journal")
        self.group = f"{self.source.topic}.group"
        self._held = False
        self._consumer: KafkaConsumer = self.clients.consumer(
            ConsumerOptions(self.group, "test", session_timeout_s=45.0)
        )
        self._consumer.subscribe(self.source.topic, self)
        deadline = Deadline(SystemClock(), WAIT_S)
        while not self._held:
            assert not deadline.expired()
            self._consumer.poll(0.05, 1)

    def _topic(self, kind: str) -> TopicPartition:
        name = f"{kind}-{uuid.uuid4().hex[:8]}"
        assert self.admin.create_topic(TopicSpec(name, 1), WAIT_S)
        return TopicPartition(name, 0)

    def on_assigned(self, partitions: object) -> None:
        self._held = True

    def on_revoked(self, partitions: object) -> None: ...

    def on_lost(self, partitions: object) -> None: ...

    @property
    def membership(self) -> Membership:
        membership = self._consumer.membership()
        assert membership is not None
        return membership

    def batch(self, number: int) -> Batch:
        records = [OutgoingRecord(self.journal.topic, b"k", b"%d" % number, partition=0)]
        return Batch(records, {self.source: CommitPoint(NextOffset(number), "map")})

    def read(self) -> list[bytes | None]:
        """The journal, up to its stable end."""
        reader = self.clients.reader()
        values: list[bytes | None] = []
        deadline = Deadline(SystemClock(), WAIT_S)
        try:
            reader.assign({self.journal: NextOffset(0)})
            while not deadline.expired():
                polled = reader.poll(0.05, 100)
                values += [record.value for record in polled.records]
                if any(isinstance(event, ReachedEnd) for event in polled.events):
                    return values
        finally:
            reader.close()
        raise AssertionError("no end")

    def committed(self) -> int:
        """The source's committed offset, once it is decided; 0 where there is none."""
        deadline = Deadline(SystemClock(), WAIT_S)
        while not deadline.expired():
            try:
                found = self.admin.group_offsets(self.group, [self.source]).result(WAIT_S)
            except RetriableError:
                continue
            if self.source in found:
                point = found[self.source]
                return point.next_offset if point is not None else 0
        raise AssertionError("undecided")

    def begin(self, transactions: KafkaTransactions) -> None:
        """Begin a session, however often it takes."""
        deadline = Deadline(SystemClock(), WAIT_S)
        while True:
            try:
                transactions.begin_session(5.0)
            except RetriableError:
                assert not deadline.expired()
            else:
                return

    def close(self) -> None:
        self._consumer.close(5.0)
        self.admin.close()


@pytest.fixture
def scene(broker: LocalBroker) -> Iterator[Scene]:
    scene = Scene(broker.bootstrap_servers)
    yield scene
    scene.close()


@pytest.mark.parametrize("step", ["after_produce", "before_commit"])
def test_a_broker_that_stands_still_makes_the_outcome_unknown_in_time_and_a_session_decides(
    broker: LocalBroker, scene: Scene, step: TransactionStep
) -> None:
    stop = Standstill(broker, step)
    transactions = scene.clients.transactions("tx", stop)
    transactions.begin_session(WAIT_S)
    started = perf_counter()
    try:
        result = transactions.run(scene.batch(1), scene.membership)
        took_s = perf_counter() - started
        with pytest.raises(FatalBrokerError, match="session"):
            transactions.run(scene.batch(2), scene.membership)
        with pytest.raises(BrokerError):
            transactions.begin_session(0.5)
    finally:
        stop.end()
    assert isinstance(result, OutcomeUnknown)
    assert took_s < SEND_S + END_S + SLACK_S
    scene.begin(transactions)
    committed = scene.committed()
    values = scene.read()
    assert (committed, values) in ((0, []), (1, [b"1"]))
    if step == "after_produce":
        assert committed == 0, "nobody asked for a commit"
    assert isinstance(transactions.run(scene.batch(2), scene.membership), Committed)
    assert scene.committed() == 2
    transactions.close()


def test_before_anything_is_sent_a_silent_broker_costs_nothing_but_the_wait(broker: LocalBroker, scene: Scene) -> None:
    stop = Standstill(broker, "before_begin")
    transactions = scene.clients.transactions("tx", stop)
    transactions.begin_session(WAIT_S)
    stop("before_begin")
    started = perf_counter()
    try:
        result = transactions.run(scene.batch(1), scene.membership)
    finally:
        stop.end()
    assert isinstance(result, Aborted)
    assert isinstance(result.error, RetriableError)
    assert perf_counter() - started < SLACK_S
    assert isinstance(transactions.run(scene.batch(2), scene.membership), Committed)
    transactions.close()


def test_time_ends_what_nobody_ends_and_fences_who_was_too_slow(kafka_bootstrap: str) -> None:
    """A transaction's time is 10 s, and the coordinator looks every 10 s. Without a successor of its id a dead
    producer's partitions stay undecided so long."""
    left, scene = Scene(kafka_bootstrap), Scene(kafka_bootstrap)

    def die(step: TransactionStep) -> None:
        if step == "before_commit":
            raise KeyboardInterrupt

    def stand_still(step: TransactionStep) -> None:
        if step == "before_commit":
            SystemClock().sleep(21.0)

    dead = left.clients.transactions(f"tx-{left.group}", die)
    dead.begin_session(WAIT_S)
    with pytest.raises(KeyboardInterrupt):
        dead.run(left.batch(1), left.membership)
    dead.close()
    assert left.admin.group_offsets(left.group, [left.source]).result(WAIT_S) == {}

    slow = scene.clients.transactions(f"tx-{scene.group}", stand_still)
    slow.begin_session(WAIT_S)
    with pytest.raises(FencedError):
        slow.run(scene.batch(1), scene.membership)
    slow.close()
    for one in (left, scene):
        assert one.committed() == 0
        assert one.read() == []
        one.close()
