"""Follows the retry partitions of what is owned: one plain consumer, apart from the group's, reads them all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from streamq.model.errors import InvariantError
from streamq.model.ports import ConsumerEvent, OutOfRange, ReachedEnd, ReaderPort, Trouble
from streamq.model.records import NextOffset, Record, TopicPartition

logger = logging.getLogger(__name__)


class Followed(NamedTuple):
    """What one look brought, of what is followed: records in partition order; the ends that were reached, each after
    all records below it, in this or an earlier look; and the positions that do not exist (any more)."""

    records: Sequence[tuple[TopicPartition, Record]]
    ends: Sequence[ReachedEnd]
    out_of_range: Sequence[OutOfRange]


NOTHING_FOLLOWED = Followed([], [], [])


class JournalFollower:
    """Connects when something is first followed. Owner thread only; nothing blocks."""

    def __init__(self, make: Callable[[], ReaderPort]) -> None:
        self._make = make
        self._reader: ReaderPort | None = None
        self._positions: dict[TopicPartition, NextOffset] = {}
        self._changed = False
        self._troubled = False
        self._closed = False

    def __contains__(self, partition: TopicPartition) -> bool:
        return partition in self._positions

    def __len__(self) -> int:
        return len(self._positions)

    def position(self, partition: TopicPartition) -> NextOffset:
        """Everything below it has been given, or is no record.

        Raises:
            KeyError: it is not followed.
        """
        return self._positions[partition]

    def follow(self, partition: TopicPartition, start: NextOffset) -> None:
        """Read this partition, too, from there on; one that is followed already, anew from there. The others go on
        where they are.

        Raises:
            ConfigError: a setting of the reader is not usable.
            InvariantError: this is closed.
        """
        if self._closed:
            raise InvariantError(f"{partition} is to be followed where all is closed")
        if self._reader is None:
            self._reader = self._make()
        self._positions[partition] = start
        self._changed = True

    def drop(self, partition: TopicPartition) -> None:
        """Read this one no more. Nothing of it is given any more; one that is not followed is ignored."""
        if self._positions.pop(partition, None) is not None:
            self._changed = True

    def poll(self, max_records: int) -> Followed:
        """What is there, at most `max_records` records. A partition that is out of range stands until it is followed
        anew.

        Raises:
            FatalBrokerError: no right to read.
        """
        if self._reader is None:
            return NOTHING_FOLLOWED
        if self._changed:
            self._changed = False  # partitions come and go together: one assignment for all
            self._reader.assign(self._positions)
        if not self._positions:
            return NOTHING_FOLLOWED
        polled = self._reader.poll(0.0, max_records)
        found = self._records(polled.records)
        ends, out_of_range = self._events(polled.events)
        if found or ends:
            self._troubled = False
        return Followed(found, ends, out_of_range)

    def close(self) -> None:
        """Release the connection. Idempotent."""
        self._closed = True
        self._positions.clear()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _records(self, records: Sequence[Record]) -> Sequence[tuple[TopicPartition, Record]]:
        positions, found = self._positions, list[tuple[TopicPartition, Record]]()
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            if partition in positions and record.offset >= positions[partition]:
                positions[partition] = NextOffset(record.offset + 1)
                found.append((partition, record))
        return found

    def _events(self, events: Sequence[ConsumerEvent]) -> tuple[Sequence[ReachedEnd], Sequence[OutOfRange]]:
        ends, out_of_range = list[ReachedEnd](), list[OutOfRange]()
        for event in events:
            match event:
                case Trouble():
                    self._say(event)
                case ReachedEnd(partition, end) if partition in self._positions:
                    self._positions[partition] = max(end, self._positions[partition])
                    ends.append(event)
                case OutOfRange(partition) if partition in self._positions:
                    out_of_range.append(event)
                case _:
                    pass  # of what is not followed any more
        return ends, out_of_range

    def _say(self, trouble: Trouble) -> None:
        if not self._troubled:
            self._troubled = True
            logger.warning(
                "The retry topic cannot be read: what is parked there waits, and so do partitions that were just "
                "assigned; it is tried again",
                extra={"event": "journal_trouble", "error": str(trouble.error)},
            )
