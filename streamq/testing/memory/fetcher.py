"""Reading: positions in partitions, and what a poll takes from there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streamq.model.errors import RetriableError
from streamq.model.ports import ConsumerEvent, Isolation, OutOfRange, Polled, ReachedEnd, Trouble
from streamq.model.records import NextOffset, Offset, Record, TopicPartition
from streamq.testing.memory.world import World, unreachable

NOWHERE = NextOffset(-1)


@dataclass(slots=True)
class Position:
    """Where one partition is read. `told_end`: the end that was reported last; `stands`: out of range, or missing."""

    next_offset: NextOffset = NOWHERE
    paused: bool = False
    told_end: NextOffset = NOWHERE
    stands: bool = False


class Fetcher:
    """What one client reads. Under the cluster's lock."""

    def __init__(self, world: World, isolation: Isolation) -> None:
        self._world = world
        self._isolation: Isolation = isolation
        self._positions: dict[TopicPartition, Position] = {}
        self._told_away = world.times_away if not world.is_away else world.times_away - 1

    @property
    def assigned(self) -> list[TopicPartition]:
        """The partitions that are read, paused ones included."""
        return sorted(self._positions)

    def add(self, partitions: Iterable[TopicPartition]) -> None:
        """Take these in, paused and without a position."""
        for partition in partitions:
            self._positions[partition] = Position(paused=True)

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these no more."""
        for partition in partitions:
            self._positions.pop(partition, None)

    def seek(self, partition: TopicPartition, next_offset: NextOffset) -> None:
        """Set a position.

        Raises:
            RetriableError: the partition is not assigned.
        """
        position = self._positions.get(partition)
        if position is None:
            raise RetriableError(f"seeking {partition} to {next_offset}: it is not assigned", code="_STATE")
        position.next_offset, position.told_end, position.stands = next_offset, NOWHERE, False

    def pause(self, partitions: Iterable[TopicPartition], *, paused: bool) -> None:
        """Stop or go on; what is not assigned is ignored."""
        for partition in partitions:
            position = self._positions.get(partition)
            if position is not None:
                position.paused = paused

    def take(self, most: int) -> Polled:
        """What is there, at most `most` records; each partition gets its turn to come first."""
        records: list[Record] = []
        events: list[ConsumerEvent] = []
        if self._world.is_away:
            self._tell_away(events)
            return Polled(records, events)
        for partition in list(self._positions):
            if len(records) >= most:
                break
            if self._read(partition, most - len(records), records, events):
                self._positions[partition] = self._positions.pop(partition)  # to the end of the row
        return Polled(records, events)

    def _tell_away(self, events: list[ConsumerEvent]) -> None:
        if self._told_away < self._world.times_away:
            self._told_away = self._world.times_away
            events.append(Trouble(unreachable("reading")))

    def _read(self, partition: TopicPartition, most: int, records: list[Record], events: list[ConsumerEvent]) -> bool:
        """Read one partition. Whether it gave records."""
        position = self._positions[partition]
        if position.paused or position.stands or position.next_offset == NOWHERE:
            return False
        log = self._world.topics.log(partition)
        if log is None:
            position.stands = True
            events.append(Trouble(RetriableError(f"{partition} does not exist", code="UNKNOWN_TOPIC_OR_PART")))
            return False
        if not log.holds(position.next_offset):
            position.stands = True
            events.append(OutOfRange(partition, Offset(position.next_offset)))
            return False
        read = log.read(position.next_offset, most, self._isolation)
        records.extend(read.records)
        position.next_offset = read.next_offset
        end = log.end_for(self._isolation)
        if read.next_offset == end and position.told_end != end:
            position.told_end = end
            events.append(ReachedEnd(partition, end))
        return bool(read.records)
