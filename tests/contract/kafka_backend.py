"""A real Kafka under test, in one of the two group protocols."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, cast

from confluent_kafka import Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from streamq.kafka import KafkaClients
from streamq.kafka import settings as rules
from streamq.kafka.consumer import KafkaConsumer
from streamq.model.clock import Clock, Deadline, SystemClock
from streamq.model.ports import ConsumerOptions, ConsumerPort, GroupProtocol, Isolation, ReachedEnd
from streamq.model.records import Latest, NextOffset, TopicPartition, TopicSpec
from tests.contract.backend import ABORTED, COMMITTED

SESSION_S: Final = 3.0
HEARTBEAT_S: Final = 0.2
ANSWER_S: Final = 10.0
LOOK_AGAIN_S: Final = 0.05
ROLL_MS: Final = 50


@contextmanager
def open_kafka_backend(bootstrap: str, protocol: str) -> Iterator[KafkaBackend]:
    """The cluster at this address; its members join by this protocol."""
    backend = KafkaBackend(bootstrap, cast("GroupProtocol", protocol))
    try:
        yield backend
    finally:
        backend.end_test()


class KafkaBackend:
    """See `Backend`."""

    def __init__(self, bootstrap: str, protocol: GroupProtocol) -> None:
        self.clients = KafkaClients(bootstrap)
        self.clock: Clock = SystemClock()
        self.protocol: GroupProtocol = protocol
        self.patience_s = 30.0
        self._bootstrap = bootstrap
        self._admin = self.clients.admin()
        self._client = AdminClient({"bootstrap.servers": bootstrap})
        self._consumers: list[KafkaConsumer] = []

    def new_name(self, kind: str) -> str:
        """A name that nobody used yet."""
        return f"{kind}-{uuid.uuid4().hex[:12]}"

    def make_topic(self, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Make a topic."""
        name = self.new_name("topic")
        assert self._admin.create_topic(TopicSpec(name, partitions, 1, config or {}), ANSWER_S)
        return name

    def consumer(self, group: str, *, instance_id: str | None = None) -> ConsumerPort:
        """A member that leaves, as librdkafka has it, when it was not polled for so long: what `expel` needs, since a
        thread of librdkafka sends heartbeats as long as the process lives. With a heartbeat members hear of a
        rebalance, so these are frequent."""
        options = ConsumerOptions(group, "contract", self.protocol, instance_id, SESSION_S, HEARTBEAT_S)
        settings = rules.consumer(self._bootstrap, {}, options)
        settings["max.poll.interval.ms"] = int(SESSION_S * 1000)
        settings["topic.metadata.refresh.interval.ms"] = 200  # new partitions are seen soon
        consumer = KafkaConsumer(settings, self._bootstrap)
        self._consumers.append(consumer)
        return consumer

    def expel(self, consumer: ConsumerPort, group: str) -> None:
        """Do not poll this member until its group is without it."""
        assert isinstance(consumer, KafkaConsumer)
        member = consumer._consumer.memberid()

        def gone() -> bool:
            info = self._admin.describe_group(group, ANSWER_S)
            return info is None or member not in {one.member_id for one in info.members}

        self._wait(gone, f"group {group} lets go of member {member}")

    def end_with_commit_marker(self, topic: str) -> None:
        """A committed transaction."""
        end = self._end(topic, "read_uncommitted")
        producer = self._transactional()
        producer.produce(topic, COMMITTED, partition=0)
        producer.commit_transaction(ANSWER_S)
        self._wait_for_marker(topic, end + 2)

    def end_with_abort_marker(self, topic: str) -> None:
        """An aborted transaction."""
        self._abort(topic, None)

    def _abort(self, topic: str, key: bytes | None) -> None:
        """What was not sent yet would not be aborted but forgotten, so it is sent first."""
        end = self._end(topic, "read_uncommitted")
        producer = self._transactional()
        producer.produce(topic, ABORTED, key, 0)
        assert producer.flush(ANSWER_S) == 0
        producer.abort_transaction(ANSWER_S)
        self._wait_for_marker(topic, end + 2)

    def make_topic_with_hole_at_end(self) -> str:
        """A tombstone went, and markers that followed it stayed. The active segment is never compacted, so each marker
        comes late enough to roll it. A tombstone goes with the second cleaning that meets it: aborted transactions,
        which no reader sees, give the cleaner something to do."""
        self._hurry_compaction()
        topic = self.make_topic(
            config={
                "cleanup.policy": "compact",
                "segment.ms": str(ROLL_MS),
                "min.cleanable.dirty.ratio": "0.001",
                "delete.retention.ms": "0",
            }
        )
        producer = self._transactional()
        producer.produce(topic, b"kept", b"a", 0)
        producer.produce(topic, None, b"b", 0)
        assert producer.flush(ANSWER_S) == 0
        producer.commit_transaction(ANSWER_S)

        def only_one_is_left() -> bool:
            self.clock.sleep(3 * ROLL_MS / 1000)  # the segment's own time: nothing else rolls it
            self._abort(topic, b"c")
            return len(self._offsets(topic)) == 1

        self._wait(only_one_is_left, f"{topic} is compacted")
        return topic

    def delete_records(self, partition: TopicPartition, before: int) -> None:
        """Take what is below this offset."""
        place = KafkaPartition(partition.topic, partition.partition, before)
        for future in self._client.delete_records([place], request_timeout=ANSWER_S).values():
            future.result(ANSWER_S)

    def end_test(self) -> None:
        """Close the consumers that a test left open."""
        for consumer in self._consumers:
            consumer.close(1.0)
        self._consumers.clear()

    def _transactional(self) -> Producer:
        """A producer in a transaction."""
        producer = Producer(
            {"bootstrap.servers": self._bootstrap, "transactional.id": self.new_name("tx"), "retry.backoff.ms": 5}
        )
        producer.init_transactions(ANSWER_S)
        producer.begin_transaction()
        return producer

    def _end(self, topic: str, isolation: Isolation) -> int:
        place = TopicPartition(topic, 0)
        return self._admin.list_offsets({place: Latest()}, isolation).result(ANSWER_S)[place]

    def _wait_for_marker(self, topic: str, end: int) -> None:
        """The answer to the end of a transaction comes before its marker is seen."""
        self._wait(lambda: self._end(topic, "read_committed") == end, f"{topic} ends with a marker")

    def _hurry_compaction(self) -> None:
        """By default a broker looks every 15 s for something to compact."""
        for broker in self._client.list_topics(timeout=ANSWER_S).brokers:
            entry = ConfigEntry("log.cleaner.backoff.ms", "100", incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ResourceType.BROKER, str(broker), incremental_configs=[entry])
            self._client.incremental_alter_configs([resource])[resource].result(ANSWER_S)

    def _offsets(self, topic: str) -> list[int]:
        """Of the records in partition 0."""
        reader = self.clients.reader()
        place = TopicPartition(topic, 0)
        found: list[int] = []
        deadline = Deadline(self.clock, ANSWER_S)
        try:
            reader.assign({place: NextOffset(0)})
            while not deadline.expired():
                polled = reader.poll(LOOK_AGAIN_S, 100)
                found += [record.offset for record in polled.records]
                if any(isinstance(event, ReachedEnd) for event in polled.events):
                    break
        finally:
            reader.close()
        return found

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = Deadline(self.clock, self.patience_s)
        while not condition():
            assert not deadline.expired(), f"not within {self.patience_s:g} s: {what}"
            self.clock.sleep(LOOK_AGAIN_S)
