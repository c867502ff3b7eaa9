"""The idempotent producer of the in-memory cluster."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from streamq.core.murmur2 import partition_for
from streamq.model.errors import BrokerError, FatalBrokerError, OutcomeUnknownError, RetriableError
from streamq.model.ports import DeliveryCallback
from streamq.model.records import Delivery, OutgoingRecord, TopicPartition
from streamq.testing.memory.faults import Fault
from streamq.testing.memory.world import World

BUFFERED_RECORDS: Final = 100_000
DELIVERY_TIMEOUT_S: Final = 30.0


@dataclass(slots=True, eq=False)
class Pending:
    """A record that is handed over and not decided."""

    outgoing: OutgoingRecord
    on_delivery: DeliveryCallback
    fault: Fault | None
    ready: bool = False


class MemoryProducer:
    """See `ProducerPort`. Reports on the thread of whoever makes them possible: mostly within `produce`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._queues: dict[TopicPartition, deque[Pending]] = {}
        self._count = 0
        self._turn = 0
        self._closed = False
        world.on_back.append(self._go_on)

    def produce(self, outgoing: OutgoingRecord, on_delivery: DeliveryCallback) -> None:
        """Hand one record over."""
        world = self._world
        with world.lock:
            if self._closed:
                raise FatalBrokerError(f"producing to {outgoing.topic}: this producer is closed")
            if self._count >= BUFFERED_RECORDS:
                raise RetriableError("the producer's buffer is full: wait for deliveries", code="_QUEUE_FULL")
            place = self._place(outgoing)
            pending = Pending(self._stamped(outgoing), on_delivery, world.faults.next_produce(outgoing.topic))
            self._queues.setdefault(place, deque()).append(pending)
            self._count += 1
        fault = pending.fault
        if fault is not None and fault.delay_s > 0.0:
            world.later(fault.delay_s, lambda: self._arrive(place, pending))
        else:
            self._arrive(place, pending)
        if pending in self._queues.get(place, ()):
            world.later(DELIVERY_TIMEOUT_S, lambda: self._expire(place, pending))

    def flush(self, timeout_s: float) -> int:
        """Wait until all is delivered."""
        self._world.wait_until(lambda: not self._count, timeout_s)
        return self._count

    def close(self, timeout_s: float) -> None:
        """Flush; what is undecided then is reported so."""
        if self._closed:
            return
        self.flush(timeout_s)
        with self._world.lock:
            self._closed = True
            self._world.on_back.remove(self._go_on)
            left = [pending for queue in self._queues.values() for pending in queue]
            self._queues.clear()
            self._count = 0
        for pending in left:
            pending.on_delivery(_undecided(pending, "the producer was closed"))

    def _place(self, outgoing: OutgoingRecord) -> TopicPartition:
        if outgoing.partition is not None:
            return TopicPartition(outgoing.topic, outgoing.partition)
        count = max(1, len(self._world.topics.partitions(outgoing.topic)))
        if outgoing.key is not None:
            return TopicPartition(outgoing.topic, partition_for(outgoing.key, count))
        self._turn += 1  # any partition is right; turns are the same in each run
        return TopicPartition(outgoing.topic, self._turn % count)

    def _stamped(self, outgoing: OutgoingRecord) -> OutgoingRecord:
        at_ms = outgoing.timestamp_ms
        if at_ms is None:
            at_ms = int(self._world.clock.time() * 1000)
        return OutgoingRecord(outgoing.topic, outgoing.key, outgoing.value, outgoing.headers, None, at_ms)

    def _arrive(self, place: TopicPartition, pending: Pending) -> None:
        pending.ready = True
        self._deliver(place)

    def _go_on(self) -> None:
        for place in list(self._queues):
            self._deliver(place)

    def _deliver(self, place: TopicPartition) -> None:
        """Write what is ready, in order; what waits holds up what is behind it."""
        world = self._world
        while True:
            with world.lock:
                queue = self._queues.get(place)
                if not queue or not queue[0].ready or world.is_away:
                    break
                pending = queue.popleft()
                if not queue:
                    del self._queues[place]
                self._count -= 1
                result = self._write(place, pending)
            pending.on_delivery(result)
            world.changed()

    def _write(self, place: TopicPartition, pending: Pending) -> Delivery | BrokerError:
        fault = pending.fault
        if fault is not None and fault.error is not None and not fault.happens:
            return fault.error
        try:
            delivery = self._world.topics.append(pending.outgoing, place.partition)
        except BrokerError as error:
            return error
        return delivery if fault is None or fault.error is None else fault.error

    def _expire(self, place: TopicPartition, pending: Pending) -> None:
        with self._world.lock:
            queue = self._queues.get(place)
            if queue is None or pending not in queue:
                return
            queue.remove(pending)
            if not queue:
                del self._queues[place]
            self._count -= 1
        pending.on_delivery(_undecided(pending, f"not confirmed within {DELIVERY_TIMEOUT_S:g} s"))
        self._deliver(place)
        self._world.changed()


def _undecided(pending: Pending, why: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(f"producing to {pending.outgoing.topic}: {why}", code="_MSG_TIMED_OUT")
