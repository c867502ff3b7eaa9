"""Reads a topic bit by bit: each time what has come since, within a bounded time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamq.model.clock import Clock, Deadline
from streamq.model.errors import JournalError
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import NextOffset, Record, TopicPartition
from streamq.ops import asking

Progress = Callable[[int], None]


class Tail:
    """Where the partitions of one topic were read up to, and what went wrong there.

    `learn` is called with each record, in the order of its partition. What it raises as a `JournalError` is the trouble
    of that partition from then on, and no more of it is read.
    """

    def __init__(
        self, admin: AdminPort, reader: ReaderPort, topic: str, clock: Clock, learn: Callable[[Record], None]
    ) -> None:
        self._admin = admin
        self._reader = reader
        self._topic = topic
        self._clock = clock
        self._learn = learn
        self._topic_id = ""
        self._positions: dict[TopicPartition, int] = {}
        self._troubles: dict[TopicPartition, str] = {}

    def places(self) -> tuple[Sequence[TopicPartition], bool]:
        """The topic's partitions, none if it does not exist; and whether it is another topic than it was, of which
        nothing is read yet. Blocks."""
        found = self._admin.describe_topics([self._topic], asking.TIMEOUT_S)[self._topic]
        topic_id = "" if found is None else found.topic_id
        anew = topic_id != self._topic_id
        if anew:
            self._topic_id = topic_id
            self._positions.clear()
            self._troubles.clear()
        return () if found is None else asking.partitions_of(found), anew

    def read(self, ends: asking.Offsets, deadline: Deadline, progress: Progress | None = None) -> asking.Offsets:
        """Read on up to the ends; returns where the partitions begin by then. Blocks.

        What is deleted while it is read was not read, so this goes on at the new beginning: whoever deletes says by it
        that nothing below is needed.

        Raises:
            RetriableError: the brokers did not answer in time: ask again.
        """
        starts = self._begin(list(ends))
        left = self._left(ends)
        while left and not deadline.expired():
            positions = {place: NextOffset(self._positions[place]) for place in left}
            if not self._read_through(positions, ends, deadline, progress):
                break
            starts = self._begin(list(ends))
            for place in left:
                if starts[place] <= positions[place] and place not in self._troubles:
                    self._positions[place] = max(self._positions[place], ends[place])
            left = self._left(ends)
        return starts

    def _begin(self, places: Sequence[TopicPartition]) -> asking.Offsets:
        starts = asking.earliest(self._admin, places)
        for place in places:
            self._positions[place] = max(self._positions.get(place, 0), starts[place])
        return starts

    def _left(self, ends: asking.Offsets) -> list[TopicPartition]:
        return [place for place in ends if place not in self._troubles and self._positions[place] < ends[place]]

    def _read_through(
        self, positions: asking.Offsets, ends: asking.Offsets, deadline: Deadline, progress: Progress | None
    ) -> bool:
        """False if there was no time for all."""
        for record in asking.read_to_ends(self._reader, positions, ends, self._clock, progress):
            place = TopicPartition(record.topic, record.partition)
            if place not in self._troubles:
                try:
                    self._learn(record)
                except JournalError as error:
                    self._troubles[place] = f"offset {record.offset}: {error}"
                else:
                    self._positions[place] = record.offset + 1
            if deadline.expired():
                return False
        return True

    def trouble(self, place: TopicPartition, end: int) -> str | None:
        """Why not all below `end` is known; None if it is."""
        left = self.unread(place, end)
        unread = f"the last {left:,} offsets are not read yet" if left else None
        return self._troubles.get(place, unread)

    def unread(self, place: TopicPartition, end: int) -> int:
        """How many offsets below `end` were not read."""
        return max(0, end - self._positions.get(place, 0))
