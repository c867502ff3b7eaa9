"""Small stand-ins for the ports: a producer whose buffer and deliveries a test controls, and topics in a dict."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import cast

from streamq.model.errors import BrokerError, RetriableError
from streamq.model.ports import (
    AdminPort,
    Clients,
    ConsumerOptions,
    ConsumerPort,
    DeliveryCallback,
    Isolation,
    ProducerPort,
    ReaderPort,
    TransactionPort,
)
from streamq.model.records import Delivery, Offset, OutgoingRecord, TopicInfo, TopicSpec
from streamq.model.transactions import StepHook


class FakeProducer:
    """Keeps what it is given. Delivers at once unless `hold` is set; then when `deliver` is called."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.hold = False
        self.refuse: BrokerError | None = None
        self.delivery_error: BrokerError | None = None
        self.produced: list[OutgoingRecord] = []
        self.pending: deque[tuple[OutgoingRecord, DeliveryCallback]] = deque()
        self.closed = False
        self._lock = threading.Lock()

    def produce(self, outgoing: OutgoingRecord, on_delivery: DeliveryCallback) -> None:
        if self.refuse is not None:
            raise self.refuse
        with self._lock:
            if len(self.pending) >= self.room:
                raise RetriableError("queue full", code="_QUEUE_FULL")
            self.produced.append(outgoing)
            self.pending.append((outgoing, on_delivery))
        if not self.hold:
            self.deliver()

    def deliver(self, most: int | None = None) -> None:
        """Answer what is pending, from the calling thread."""
        count = len(self.pending) if most is None else most
        for _ in range(count):
            with self._lock:
                if not self.pending:
                    return
                outgoing, callback = self.pending.popleft()
                offset = len(self.produced) - len(self.pending) - 1
            answer = self.delivery_error or Delivery(outgoing.topic, outgoing.partition or 0, Offset(offset), 0)
            callback(answer)

    def flush(self, timeout_s: float) -> int:
        if not self.hold:
            self.deliver()
        return len(self.pending)

    def close(self, timeout_s: float) -> None:
        self.closed = True


class FakeAdmin:
    """Topics in a dict that all admins of one `FakeClients` share."""

    def __init__(self, clients: FakeClients) -> None:
        self._clients = clients

    def describe_topics(self, topics: Sequence[str], timeout_s: float) -> Mapping[str, TopicInfo | None]:
        self._clients.described += 1
        self._clients.gate.wait()
        if self._clients.away:
            raise RetriableError("no broker answers", code="_TRANSPORT")
        return {name: self._clients.topics.get(name) for name in topics}

    def create_topic(self, spec: TopicSpec, timeout_s: float) -> bool:
        self._clients.topics[spec.name] = TopicInfo(spec.name, "id", spec.partitions, spec.replication_factor or 1)
        self._clients.created.append(spec)
        return True

    def close(self) -> None:
        self._clients.admins_closed += 1


class FakeClients:
    """One cluster. `gate` can be cleared to make it silent; `away` makes it unreachable."""

    description = "kafka-1:9092"

    def __init__(self, *topics: str, room: int = 1_000_000) -> None:
        self.topics = {name: TopicInfo(name, "id", 1, 1) for name in topics}
        self.created: list[TopicSpec] = []
        self.producers: list[FakeProducer] = []
        self.described = 0
        self.admins_closed = 0
        self.away = False
        self.gate = threading.Event()
        self.gate.set()
        self._room = room

    def producer(self) -> ProducerPort:
        made = FakeProducer(self._room)
        self.producers.append(made)
        return made

    def admin(self) -> AdminPort:
        return cast("AdminPort", FakeAdmin(self))

    def consumer(self, options: ConsumerOptions) -> ConsumerPort:
        raise AssertionError("nothing here consumes")

    def reader(self, isolation: Isolation = "read_committed") -> ReaderPort:
        raise AssertionError("nothing here reads")

    def transactions(self, transactional_id: str, on_step: StepHook | None = None) -> TransactionPort:
        raise AssertionError("nothing here is a transaction")

    @property
    def only_producer(self) -> FakeProducer:
        """The one producer that was made."""
        (only,) = self.producers
        return only


def as_clients(fake: FakeClients) -> Clients:
    """Checked by the type checker: the fake has the port's methods."""
    return fake
