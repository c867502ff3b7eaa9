"""A whole Kafka cluster in memory: makes clients, and lets a test do what befalls a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from streamq.model.clock import Clock, SystemClock
from streamq.model.errors import ConfigError
from streamq.model.ports import ConsumerOptions, ConsumerPort, Isolation
from streamq.model.records import (
    CommitPoint,
    Delivery,
    Headers,
    NextOffset,
    OutgoingRecord,
    Record,
    TopicPartition,
    TopicSpec,
)
from streamq.model.transactions import StepHook
from streamq.testing.memory.admin import MemoryAdmin
from streamq.testing.memory.consumer import MemoryConsumer, MemoryReader
from streamq.testing.memory.faults import Faults
from streamq.testing.memory.log import PartitionLog
from streamq.testing.memory.producer import MemoryProducer
from streamq.testing.memory.transactions import MemoryTransactions
from streamq.testing.memory.world import World


class MemoryCluster:
    """See `Clients`. One broker, nothing on disk, nothing by chance.

    With a `ManualClock` one thread drives everything: who waits moves the clock on to what is due. With the
    `SystemClock` (the default) clients may live in threads of their own, and waiting waits. Time never deletes records;
    a test does (`delete_records`, `compact`). `session_timeout_s` is the broker's, for members under KIP-848.
    """

    def __init__(self, *, clock: Clock | None = None, session_timeout_s: float = 45.0) -> None:
        self.clock = clock or SystemClock()
        self._world = World(self.clock, session_timeout_s)
        self._consumers: list[MemoryConsumer] = []

    # Clients

    @property
    def description(self) -> str:
        """What it is."""
        return "the in-memory cluster"

    def consumer(self, options: ConsumerOptions) -> MemoryConsumer:
        """A member of a group.

        Raises:
            ConfigError: options that do not go together.
        """
        if options.instance_id is not None and options.protocol != "classic":
            raise ConfigError(
                f"instance_id is {options.instance_id!r} with protocol {options.protocol!r}: "
                "static members belong to the classic protocol here"
            )
        consumer = MemoryConsumer(self._world, options)
        self._consumers.append(consumer)
        return consumer

    def reader(self, isolation: Isolation = "read_committed") -> MemoryReader:
        """A consumer without a group."""
        return MemoryReader(self._world, isolation)

    def producer(self) -> MemoryProducer:
        """An idempotent producer."""
        return MemoryProducer(self._world)

    def transactions(self, transactional_id: str, on_step: StepHook | None = None) -> MemoryTransactions:
        """A transactional producer."""
        return MemoryTransactions(self._world, transactional_id, on_step)

    def admin(self) -> MemoryAdmin:
        """Questions to the cluster."""
        return MemoryAdmin(self._world)

    # What befalls a cluster

    @property
    def faults(self) -> Faults:
        """What goes wrong next."""
        return self._world.faults

    def away(self) -> None:
        """No broker answers from now on: polls report it once and give nothing, commits and questions are refused as
        retriable, produced records wait up to their delivery time-out."""
        self._world.go_away()

    def back(self) -> None:
        """The brokers are back; memberships, offsets and records are as they were."""
        self._world.come_back()

    def crash(self, consumer: ConsumerPort) -> None:
        """The consumer's process is gone: no heartbeat more, no good-bye. Its partitions move when its session is over;
        what it committed stays."""
        ours = self._ours(consumer)
        with self._world.lock:
            ours.crashed = True
            ours.fall_silent()
        self._world.changed()

    def freeze(self, consumer: ConsumerPort) -> None:
        """The consumer's process stands still: no heartbeats. Do not poll it before `thaw`."""
        with self._world.lock:
            self._ours(consumer).fall_silent()

    def thaw(self, consumer: ConsumerPort) -> None:
        """It goes on. If its session was over by then, its next poll loses the partitions."""
        self._world.run_due()
        with self._world.lock:
            self._ours(consumer).be_heard()

    @property
    def consumers(self) -> Sequence[MemoryConsumer]:
        """All group members that were made and have not crashed, closed ones included."""
        return [consumer for consumer in self._consumers if not consumer.crashed]

    def _ours(self, consumer: ConsumerPort) -> MemoryConsumer:
        for one in self._consumers:
            if one is consumer:
                return one
        raise ConfigError(f"{consumer!r} is no consumer of this cluster")

    # What befalls a log

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Make a topic, if it does not exist."""
        self.admin().create_topic(TopicSpec(name, partitions, None, config or {}), 0.0)

    def append(
        self,
        partition: TopicPartition,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
    ) -> Delivery:
        """Write a record as some other program does, past all faults.

        Raises:
            BrokerError: what a broker refuses a record for.
        """
        outgoing = OutgoingRecord(partition.topic, key, value, headers, None, timestamp_ms)
        with self._world.lock:
            delivery = self._world.topics.append(outgoing, partition.partition)
        self._world.changed()
        return delivery

    def append_marker(self, partition: TopicPartition, kind: Literal["commit", "abort"] = "commit") -> None:
        """The end of somebody's transaction: it takes an offset, and no reader ever sees it, whatever its kind."""
        self.append_hole(partition, 1)

    def append_hole(self, partition: TopicPartition, count: int) -> None:
        """Offsets that hold no record (any more)."""
        with self._world.lock:
            self._log(partition).skip(count)
        self._world.changed()

    def append_aborted(self, partition: TopicPartition, value: bytes, key: bytes | None = None) -> None:
        """A record of a transaction that was aborted, and the marker that says so."""
        with self._world.lock:
            self._log(partition)
            outgoing = OutgoingRecord(partition.topic, key, value)
            self._world.topics.append(outgoing, partition.partition, aborted=True)
        self.append_marker(partition, "abort")

    def delete_records(self, partition: TopicPartition, before: int) -> None:
        """Retention took what is below this offset."""
        with self._world.lock:
            self._log(partition).delete_before(before)
        self._world.changed()

    def compact(self, partition: TopicPartition) -> None:
        """Compaction took all but the last record of each key, and every tombstone."""
        with self._world.lock:
            self._log(partition).compact()
        self._world.changed()

    def records(self, topic: str, *, decided: bool = False) -> list[Record]:
        """All records of a topic that a consumer would see, by partition and offset. `decided`: all that are committed,
        those too that no consumer gets to before an open transaction ends."""
        with self._world.lock:
            found = self._world.topics.get(topic)
            logs = found.logs if found is not None else ()
            return [record for log in logs for record in (log.decided if decided else log.records)]

    def end(self, partition: TopicPartition) -> NextOffset:
        """The end of a partition."""
        with self._world.lock:
            return self._log(partition).end

    def partitions(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic; none if it does not exist."""
        with self._world.lock:
            return self._world.topics.partitions(topic)

    def committed(self, group: str) -> Mapping[TopicPartition, CommitPoint]:
        """What stands committed for a group."""
        with self._world.lock:
            return dict(self._world.groups.offsets(group))

    def _log(self, partition: TopicPartition) -> PartitionLog:
        log = self._world.topics.log(partition)
        if log is None:
            raise ConfigError(f"{partition} does not exist in the in-memory cluster: create the topic first")
        return log
