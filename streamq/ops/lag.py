"""How far a processor is behind, a partition a row: who heads a partition that does not go on, what of it is parked,
and what was given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from streamq.core.offset_map import OffsetMap, decode_map
from streamq.model.clock import Clock
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import CommitPoint, NextOffset, Record, TopicPartition
from streamq.ops import asking
from streamq.ops.letter_book import LettersSummary, LettersView
from streamq.ops.parked import ParkedSummary, view_of
from streamq.ops.tail import Progress
from streamq.tasks.processor import Processor


class PartitionLag(msgspec.Struct, frozen=True):
    """One partition. `lag` counts offsets from the committed one to the end, 0 if no record stands among them (a topic
    may end in transaction markers); `finished` of them are done already, by the commit's map. `behind_s` is the age of
    the oldest record that is not settled; `head_*` tell of that record.

    `parked` is what stands in the retry topic: its records are no lag any more, and not done. `dead_letters` are those
    that stand open; where `dead_letters_trouble` says why not all could be counted, it is how many there can be at
    most. Both are None where nobody asked for them."""

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
    parked: ParkedSummary | None = None
    dead_letters: int | None = None
    dead_letters_trouble: str | None = None


class LagView:
    """What one processor's lag is, with what is parked and what was given up. Looks again cost only what has come
    since."""

    def __init__(self, admin: AdminPort, reader: ReaderPort, processor: Processor, clock: Clock) -> None:
        self._admin = admin
        self._reader = reader
        self._processor = processor
        self._clock = clock
        self._parked = view_of(admin, reader, processor, clock)
        self._letters = LettersView(admin, reader, processor.dead_letter_topic, clock)

    def look(self, progress: Progress | None = None) -> Sequence[PartitionLag]:
        """A row for each partition. Blocks, for the time that retry and dead-letter topic take to read: at most half a
        minute each.

        Raises:
            ConfigError: the topic does not exist.
            RetriableError: the brokers did not answer in time: ask again.
        """
        rows = lag_of(self._admin, self._reader, self._processor, self._clock)
        # One that keeps no journal may still have one, from when it did.
        parked = self._parked.look(progress=progress)
        letters = self._letters.look(progress=progress)
        return [self._whole(row, parked, letters) for row in rows]

    def _whole(
        self, row: PartitionLag, parked: Mapping[int, ParkedSummary], letters: Mapping[int, LettersSummary]
    ) -> PartitionLag:
        mine = letters.get(row.partition, LettersSummary(row.partition))
        return replace(
            row,
            parked=parked.get(row.partition, ParkedSummary(row.partition)),
            dead_letters=mine.open + mine.unread,
            dead_letters_trouble=mine.trouble,
        )


def lag_of(admin: AdminPort, reader: ReaderPort, processor: Processor, clock: Clock) -> Sequence[PartitionLag]:
    """A row for each partition of a processor's topic, of the topic alone. Blocks.

    Raises:
        ConfigError: the topic does not exist.
        RetriableError: the brokers did not answer in time: ask again.
    """
    topic = asking.topic_there(admin, processor.topic.name)
    partitions = asking.partitions_of(topic)
    committed = asking.committed(admin, processor.group, partitions, clock)
    ends = asking.ends(admin, partitions)
    starts = asking.earliest(admin, partitions)
    positions = {one: _position(committed[one], starts[one]) for one in partitions}
    heads = asking.heads(reader, positions, ends, clock)
    now = clock.time()
    return [_row(processor, one, committed[one], positions[one], ends[one], heads[one], now) for one in partitions]


def _position(committed: CommitPoint | None, start: NextOffset) -> NextOffset:
    return start if committed is None else max(start, committed.next_offset)


def _row(
    processor: Processor,
    place: TopicPartition,
    committed: CommitPoint | None,
    position: NextOffset,
    end: NextOffset,
    head: Record | None,
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
    )


def map_of(committed: CommitPoint | None) -> OffsetMap | None:
    """The map beside a committed offset, if it belongs to it."""
    if committed is None:
        return None
    offsets = decode_map(committed.metadata)
    return offsets if offsets is not None and offsets.base == committed.next_offset else None


def _attempts(offsets: OffsetMap | None, head: Record) -> int:
    return 1 if offsets is None else offsets.attempts.get(head.offset, 1)
