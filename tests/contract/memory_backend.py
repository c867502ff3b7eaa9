"""The in-memory cluster under test."""

from __future__ import annotations

from collections.abc import Mapping

from streamq.model.ports import ConsumerOptions, ConsumerPort, GroupProtocol
from streamq.model.records import TopicPartition
from streamq.testing import ManualClock, MemoryCluster
from tests.contract.backend import ABORTED, COMMITTED, KEPT

SESSION_S = 6.0


class MemoryBackend:
    """See `Backend`. Its time is a manual clock's: nothing waits."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.clients = MemoryCluster(clock=self.clock, session_timeout_s=SESSION_S)
        self.protocol: GroupProtocol = "classic"
        self.patience_s = 60.0
        self._names = 0
        self._consumers: list[ConsumerPort] = []

    def new_name(self, kind: str) -> str:
        """A name that nobody used yet."""
        self._names += 1
        return f"{kind}-{self._names}"

    def make_topic(self, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Make a topic."""
        name = self.new_name("topic")
        self.clients.create_topic(name, partitions, config)
        return name

    def consumer(self, group: str, *, instance_id: str | None = None) -> ConsumerPort:
        """A member."""
        options = ConsumerOptions(group, "contract", self.protocol, instance_id, SESSION_S)
        consumer = self.clients.consumer(options)
        self._consumers.append(consumer)
        return consumer

    def expel(self, consumer: ConsumerPort, group: str) -> None:
        """Let this member be silent for its session."""
        self.clients.freeze(consumer)
        self.clock.advance(SESSION_S)
        self.clients.thaw(consumer)

    def end_with_commit_marker(self, topic: str) -> None:
        """A committed transaction."""
        partition = TopicPartition(topic, 0)
        self.clients.append(partition, COMMITTED)
        self.clients.append_marker(partition, "commit")

    def end_with_abort_marker(self, topic: str) -> None:
        """An aborted transaction."""
        self.clients.append_aborted(TopicPartition(topic, 0), ABORTED)

    def make_topic_with_hole_at_end(self) -> str:
        """A tombstone went, and the marker that followed it stayed."""
        topic = self.make_topic(config={"cleanup.policy": "compact"})
        partition = TopicPartition(topic, 0)
        self.clients.append(partition, KEPT, b"a")
        self.clients.append(partition, None, b"b")
        self.clients.append_marker(partition, "commit")
        self.clients.compact(partition)
        return topic

    def delete_records(self, partition: TopicPartition, before: int) -> None:
        """Take what is below this offset."""
        self.clients.delete_records(partition, before)

    def end_test(self) -> None:
        """Close the consumers that a test left open."""
        for consumer in self._consumers:
            consumer.close(0.0)
        self._consumers.clear()
