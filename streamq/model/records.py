"""Frozen values of a Kafka log: records, partitions, and the two kinds of offset that must not be mixed up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple, NewType

import msgspec

Offset = NewType("Offset", int)
"""The place of one record in its partition."""

NextOffset = NewType("NextOffset", int)
"""The first offset that is not covered: what Kafka commits, a position, the end of a log."""

Headers = tuple[tuple[str, bytes | None], ...]


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as it stands in its topic. `value=None` is a tombstone; `timestamp_ms` is Kafka's own number."""

    topic: str
    partition: int
    offset: Offset
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int = 0

    @property
    def timestamp(self) -> datetime:
        """The record's time, aware, in UTC."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)

    @property
    def size_bytes(self) -> int:
        """Bytes of key and value: what the buffers' bounds count."""
        return (len(self.key) if self.key else 0) + (len(self.value) if self.value else 0)


class OutgoingRecord(msgspec.Struct, frozen=True, gc=False):
    """A record on its way to a topic. No partition: the key decides (`murmur2_random`); no timestamp: the time of
    the call."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    timestamp_ms: int | None = None


class Delivery(NamedTuple):
    """Where a produced record stands now: written to all in-sync replicas."""

    topic: str
    partition: int
    offset: Offset
    timestamp_ms: int


class CommitPoint(NamedTuple):
    """What one commit says of one partition. `metadata` holds at most 4,095 characters (the broker's default
    `offset.metadata.max.bytes` is 4096 and it refuses that very number)."""

    next_offset: NextOffset
    metadata: str = ""


class Earliest(NamedTuple):
    """The start of what is retained."""


class Latest(NamedTuple):
    """The end of the log."""


class AtTime(NamedTuple):
    """The first record at or after a time; the end of the log where there is none."""

    timestamp_ms: int


OffsetSpec = Earliest | Latest | AtTime


class TopicInfo(NamedTuple):
    """A topic as it is. `topic_id` changes when a topic is deleted and made anew under the same name."""

    name: str
    topic_id: str
    partitions: int
    replication_factor: int


class TopicSpec(NamedTuple):
    """A topic as it should be. `replication_factor=None` takes the broker's default."""

    name: str
    partitions: int
    replication_factor: int | None = None
    config: Mapping[str, str] = {}


class MemberInfo(NamedTuple):
    """One member of a group, as its coordinator tells."""

    member_id: str
    client_id: str
    host: str
    instance_id: str | None
    partitions: tuple[TopicPartition, ...]


class GroupInfo(NamedTuple):
    """A consumer group. `state` is Kafka's word: Stable, PreparingRebalance, Empty, Dead, …; `protocol` is
    "classic" or "consumer" (KIP-848)."""

    group: str
    state: str
    protocol: str
    members: tuple[MemberInfo, ...]
