"""A member of a group on the in-memory cluster, and a journal beside its source."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamq.model.clock import Clock, SystemClock
from streamq.model.ports import ConsumerOptions
from streamq.model.records import CommitPoint, NextOffset, OutgoingRecord, TopicPartition
from streamq.model.transactions import Batch, Membership, StepHook
from streamq.testing import MemoryCluster
from streamq.testing.memory.consumer import MemoryConsumer
from streamq.testing.memory.transactions import MemoryTransactions

GROUP = "shop.it"
S0 = TopicPartition("orders", 0)
R0 = TopicPartition("shop.it.retry", 0)
R1 = TopicPartition("shop.it.retry", 1)
ID = "shop.it.1"
WAIT_S = 10.0


class Quiet:
    """A listener that has nothing to do. See `RebalanceListener`."""

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing."""

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing."""

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing."""


class Shop:
    """A cluster with a source, its journal, and the only member of a group. `made` counts the transactional producers
    that were asked for; `on_step` is theirs."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.cluster = MemoryCluster(clock=clock)
        self.cluster.create_topic(S0.topic, 2)
        self.cluster.create_topic(R0.topic, 2)
        self.consumer: MemoryConsumer = self.cluster.consumer(ConsumerOptions(GROUP, "c"))
        self.consumer.subscribe(S0.topic, Quiet())
        self.consumer.poll(0.0, 1)
        self.made = 0
        self.on_step: StepHook | None = None

    @property
    def membership(self) -> Membership:
        """Who the member is now."""
        membership = self.consumer.membership()
        assert membership is not None
        return membership

    def transactions(self) -> MemoryTransactions:
        """Another use of the transactional id."""
        self.made += 1
        return self.cluster.transactions(ID, self.on_step)

    def leave_open(self, *values: bytes) -> None:
        """A predecessor with the same id dies in the middle of a transaction."""
        self.cluster.faults.lose_transaction_answers(committed=False)
        dead = self.cluster.transactions(ID)
        dead.begin_session(WAIT_S)
        dead.run(batch(*values), self.membership)

    def values(self) -> list[bytes | None]:
        """What a reader sees in the journal."""
        return [record.value for record in self.cluster.records(R0.topic)]

    def fill(self, partition: TopicPartition, values: Sequence[bytes]) -> None:
        """Write these."""
        producer = self.cluster.producer()
        for value in values:
            producer.produce(to(partition, value), lambda report: None)
        assert producer.flush(WAIT_S) == 0
        producer.close(WAIT_S)


def to(partition: TopicPartition, value: bytes) -> OutgoingRecord:
    """A record for a partition."""
    return OutgoingRecord(partition.topic, None, value, partition=partition.partition)


def batch(*values: bytes, next_offset: int = 1) -> Batch:
    """Records for the journal, and an offset of the source."""
    return Batch([to(R0, value) for value in values], {S0: CommitPoint(NextOffset(next_offset))})


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another thread does."""
    clock = SystemClock()
    ends = clock.monotonic() + WAIT_S
    while not condition():
        assert clock.monotonic() < ends, f"not within {WAIT_S:g} s: {what}"
        clock.sleep(0.002)
