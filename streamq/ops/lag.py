"""How far a processor is behind, a partition a row, and who heads a partition that does not go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from streamq.core.offset_map import OffsetMap, decode_map
from streamq.model.clock import Clock
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import CommitPoint, NextOffset, Record, TopicPartition
from streamq.ops import asking
from streamq.tasks.processor import Processor


class PartitionLag(msgspec.Struct, frozen=True):
    """One partition. `lag` counts offsets from the committed one to the end, 0 if no record stands among them (a topic
    may end in transaction markers); `finished` of them are done already, by the commit's map. `behind_s` is the age of
    the oldest record that is not settled; `head_*` tell of that record."""

    processor: str
    group: str
    topic: str
    partition: int
    committed: int | None
    end: int
    lag: int
    finished: int
    behind_s: float
    head_offset: int | None
    head_key: str | None
    head_attempts: int | None
    dead_letters: int


def lag_of(admin: AdminPort, reader: ReaderPort, processor: Processor, clock: Clock) -> Sequence[PartitionLag]:
    """A row for each partition of a processor's topic. Blocks.

    Raises:
        ConfigError: the topic does not exist.
        RetriableError: the brokers did not answer in time: ask again.
    """
    topic = asking.topic_there(admin, processor.topic.name)
    partitions = asking.partitions_of(topic)
    committed = asking.committed(admin, processor.group, partitions)
    ends = asking.ends(admin, partitions)
    starts = asking.earliest(admin, partitions)
    positions = {one: _position(committed[one], starts[one]) for one in partitions}
    heads = asking.heads(reader, positions, ends, clock)
    dead = dead_letters(admin, processor)
    now = clock.time()
    return [
        _row(processor, one, committed[one], positions[one], ends[one], heads[one], dead, now) for one in partitions
    ]


def _position(committed: CommitPoint | None, start: NextOffset) -> NextOffset:
    return start if committed is None else max(start, committed.next_offset)


def _row(
    processor: Processor,
    place: TopicPartition,
    committed: CommitPoint | None,
    position: NextOffset,
    end: NextOffset,
    head: Record | None,
    dead: Mapping[int, int],
    now: float,
) -> PartitionLag:
    offsets = map_of(committed)
    return PartitionLag(
        processor.name,
        processor.group,
        place.topic,
        place.partition,
        None if committed is None else committed.next_offset,
        end,
        0 if head is None else end - position,
        0 if offsets is None else offsets.end - offsets.base - len(offsets.unsettled),
        0.0 if head is None else max(0.0, now - head.timestamp_ms / 1000),
        None if head is None else head.offset,
        None if head is None else asking.shown_key(processor.topic, head.key),
        None if head is None else _attempts(offsets, head),
        dead.get(place.partition, 0),
    )


def map_of(committed: CommitPoint | None) -> OffsetMap | None:
    """The map beside a committed offset, if it belongs to it."""
    if committed is None:
        return None
    offsets = decode_map(committed.metadata)
    return offsets if offsets is not None and offsets.base == committed.next_offset else None


def _attempts(offsets: OffsetMap | None, head: Record) -> int:
    return 1 if offsets is None else offsets.attempts.get(head.offset, 1)


def dead_letters(admin: AdminPort, processor: Processor) -> Mapping[int, int]:
    """How many records stand in each partition of the dead-letter topic, by offsets."""
    found = admin.describe_topics([processor.dead_letter_topic], asking.TIMEOUT_S)[processor.dead_letter_topic]
    if found is None:
        return {}
    partitions = asking.partitions_of(found)
    starts, ends = asking.earliest(admin, partitions), asking.ends(admin, partitions)
    return {one.partition: ends[one] - starts[one] for one in partitions}
