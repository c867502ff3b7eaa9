"""Topics, their settings, and what a broker checks before it appends a record."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from streamq.model.clock import Clock
from streamq.model.errors import FatalBrokerError, RecordTooLargeError, RetriableError
from streamq.model.records import Delivery, OutgoingRecord, Record, TopicInfo, TopicPartition, TopicSpec
from streamq.testing.memory.log import PartitionLog

NO_LIMIT: Final = "9223372036854775807"
DEFAULTS: Final[Mapping[str, str]] = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "delete.retention.ms": "86400000",
    "file.delete.delay.ms": "60000",
    "flush.messages": NO_LIMIT,
    "flush.ms": NO_LIMIT,
    "index.interval.bytes": "4096",
    "max.compaction.lag.ms": NO_LIMIT,
    "max.message.bytes": "1048588",
    "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": NO_LIMIT,
    "message.timestamp.type": "CreateTime",
    "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "1",
    "preallocate": "false",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "segment.index.bytes": "10485760",
    "segment.jitter.ms": "0",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}
"""Kafka's topic settings with the defaults of release 4."""

_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_BATCH_BYTES: Final = 61
_FIXED_BYTES: Final = 3


class Topic:
    """One topic. Under the cluster's lock."""

    def __init__(self, name: str, topic_id: str, partitions: int, replicas: int, config: Mapping[str, str]) -> None:
        self.name = name
        self.topic_id = topic_id
        self.replicas = replicas
        self.config = {**DEFAULTS, **config}
        self.logs = [PartitionLog() for _ in range(partitions)]

    @property
    def info(self) -> TopicInfo:
        """As the admin tells it."""
        return TopicInfo(self.name, self.topic_id, len(self.logs), self.replicas)


class Topics:
    """All topics of a cluster. Under the cluster's lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[str, Topic] = {}
        self._made = 0

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._topics))

    def get(self, name: str) -> Topic | None:
        """The topic; None if there is none."""
        return self._topics.get(name)

    def log(self, partition: TopicPartition) -> PartitionLog | None:
        """The log of a partition; None if there is none."""
        topic = self._topics.get(partition.topic)
        if topic is None or not 0 <= partition.partition < len(topic.logs):
            return None
        return topic.logs[partition.partition]

    def partitions(self, name: str) -> list[TopicPartition]:
        """The partitions of a topic; none if it does not exist."""
        topic = self._topics.get(name)
        return [TopicPartition(name, number) for number in range(len(topic.logs))] if topic else []

    # What the admin does

    def create(self, spec: TopicSpec) -> bool:
        """Make a topic. False if it is there.

        Raises:
            FatalBrokerError: a name, number or setting that a broker refuses.
        """
        if spec.name in self._topics:
            return False
        self._check(spec)
        self._made += 1
        self._topics[spec.name] = Topic(
            spec.name, f"memory-topic-{self._made}", spec.partitions, spec.replication_factor or 1, spec.config
        )
        return True

    @staticmethod
    def _check(spec: TopicSpec) -> None:
        if not _NAME.fullmatch(spec.name) or spec.name in {".", ".."}:
            raise FatalBrokerError(
                f"topic name {spec.name!r}: use 1 to 249 of the characters a-z A-Z 0-9 . _ -", code="TOPIC_EXCEPTION"
            )
        if spec.partitions < 1:
            raise FatalBrokerError(
                f"topic {spec.name}: {spec.partitions} partitions, use 1 or more", code="INVALID_PARTITIONS"
            )
        if spec.replication_factor not in {None, 1}:
            raise FatalBrokerError(
                f"topic {spec.name}: replication factor {spec.replication_factor}, there is 1 broker",
                code="INVALID_REPLICATION_FACTOR",
            )
        check_config(spec.name, spec.config)

    def delete(self, name: str) -> None:
        """Forget a topic; one that does not exist is no error."""
        self._topics.pop(name, None)

    def grow(self, name: str, total: int) -> None:
        """Grow a topic to `total` partitions.

        Raises:
            RetriableError: it does not exist (yet).
            FatalBrokerError: it has more.
        """
        topic = self.existing(name)
        if total < len(topic.logs):
            raise FatalBrokerError(
                f"topic {name} has {len(topic.logs)} partitions: it cannot shrink to {total}", code="INVALID_PARTITIONS"
            )
        topic.logs.extend(PartitionLog() for _ in range(total - len(topic.logs)))

    def existing(self, name: str) -> Topic:
        """The topic.

        Raises:
            RetriableError: it does not exist (yet).
        """
        topic = self._topics.get(name)
        if topic is None:
            raise RetriableError(f"topic {name} does not exist", code="UNKNOWN_TOPIC_OR_PART")
        return topic

    # What the producer does

    def append(
        self, outgoing: OutgoingRecord, partition: int, *, aborted: bool = False, transaction: int | None = None
    ) -> Delivery:
        """Write a record, in a transaction if there is one.

        Raises:
            BrokerError: what a broker refuses a record for.
        """
        topic = self.existing(outgoing.topic)
        if not 0 <= partition < len(topic.logs):
            raise FatalBrokerError(
                f"{outgoing.topic}[{partition}]: the topic has {len(topic.logs)} partitions", code="_UNKNOWN_PARTITION"
            )
        timestamp_ms = self._timestamp_ms(topic, outgoing)
        _check_record(topic, outgoing)
        log = topic.logs[partition]
        offset = log.next_record_offset()
        record = Record(outgoing.topic, partition, offset, outgoing.key, outgoing.value, outgoing.headers, timestamp_ms)
        log.append(record, aborted=aborted, transaction=transaction)
        return Delivery(outgoing.topic, partition, offset, timestamp_ms)

    def _timestamp_ms(self, topic: Topic, outgoing: OutgoingRecord) -> int:
        now_ms = int(self._clock.time() * 1000)
        if topic.config["message.timestamp.type"] == "LogAppendTime" or outgoing.timestamp_ms is None:
            return now_ms
        ahead_ms = outgoing.timestamp_ms - now_ms
        if ahead_ms > int(topic.config["message.timestamp.after.max.ms"]) or -ahead_ms > int(
            topic.config["message.timestamp.before.max.ms"]
        ):
            raise FatalBrokerError(
                f"topic {topic.name}: timestamp {outgoing.timestamp_ms} is too far from the broker's {now_ms}",
                code="INVALID_TIMESTAMP",
            )
        return outgoing.timestamp_ms


def check_config(topic: str, config: Mapping[str, str]) -> None:
    """Refuse settings that Kafka does not know.

    Raises:
        FatalBrokerError: names it.
    """
    for name in config:
        if name not in DEFAULTS:
            raise FatalBrokerError(f"topic {topic}: unknown setting {name!r}", code="INVALID_CONFIG")


def _check_record(topic: Topic, outgoing: OutgoingRecord) -> None:
    if outgoing.key is None and "compact" in topic.config["cleanup.policy"]:
        raise FatalBrokerError(
            f"topic {topic.name} is compacted: a record without a key is refused", code="INVALID_RECORD"
        )
    size, most = batch_bytes(outgoing), int(topic.config["max.message.bytes"])
    if size > most:
        raise RecordTooLargeError(
            f"topic {topic.name}: a record of {size} bytes, max.message.bytes is {most}", code="MSG_SIZE_TOO_LARGE"
        )


def batch_bytes(outgoing: OutgoingRecord) -> int:
    """What a record takes alone in a batch, uncompressed (Kafka's message format, version 2)."""
    body = _FIXED_BYTES + _sized(outgoing.key) + _sized(outgoing.value) + _varint_bytes(len(outgoing.headers))
    for name, value in outgoing.headers:
        body += _sized(name.encode()) + _sized(value)
    return _BATCH_BYTES + _varint_bytes(body) + body


def _sized(data: bytes | None) -> int:
    return 1 if data is None else _varint_bytes(len(data)) + len(data)


def _varint_bytes(number: int) -> int:
    return ((2 * number).bit_length() + 6) // 7 or 1
