"""Which places of which retry partitions are to be read again, and how far a reader is with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from streamq.model.ports import ConsumerEvent, OutOfRange, Polled, ReachedEnd
from streamq.model.records import Record, TopicPartition

GAP: Final = 300
"""What lies between two places is read through up to so many: that is quicker than a new position, which waits for the
fetch that is under way."""

Found = tuple[TopicPartition, Record]
Place = tuple[TopicPartition, int]


class Run:
    """Neighbouring places of a partition, ascending, that are read in one go.

    `stands`: what is left seems not to be readable yet, and keeps nothing else waiting; `stopped`: it wants a new
    position.
    """

    __slots__ = ("_places", "stands", "stopped")

    def __init__(self, places: Iterable[int], *, stands: bool = False) -> None:
        self._places = deque(places)
        self.stands = stands
        self.stopped = False

    def __len__(self) -> int:
        return len(self._places)

    @property
    def start(self) -> int:
        """The first place that is left."""
        return self._places[0]

    @property
    def over(self) -> bool:
        """Whether nothing more of it comes."""
        return self.stopped or not self._places

    def pass_to(self, offset: int) -> Sequence[int]:
        """The reader is past all below `offset`: the places that hold nothing."""
        missing = []
        while self._places and self._places[0] < offset:
            missing.append(self._places.popleft())
        return missing

    def hit(self, offset: int) -> bool:
        """A record stands there. Whether it was to be read."""
        wanted = bool(self._places) and self._places[0] == offset
        if wanted:
            self._places.popleft()
        return wanted


class Wanted:
    """What was asked for and not read yet, and what became of the rest. Not thread-safe."""

    def __init__(self) -> None:
        self._open: dict[TopicPartition, set[int]] = {}
        self._asked: dict[TopicPartition, set[int]] = {}
        self._found: list[Found] = []
        self._missing: list[Place] = []
        self._standing: set[TopicPartition] = set()
        self.held_bytes = 0
        """Of what was read and not taken."""

    def add(self, partition: TopicPartition, places: Iterable[int]) -> bool:
        """Ask for these; again for what was asked for and not taken, or is missing, changes nothing. Whether any of
        them is new."""
        asked = self._asked.setdefault(partition, set())
        new = set(places) - asked
        if new:
            asked |= new
            self._open.setdefault(partition, set()).update(new)
        return bool(new)

    def forget(self, partition: TopicPartition) -> None:
        """Nothing of this partition is asked for any more, and nothing of it will be taken."""
        self._open.pop(partition, None)
        self._asked.pop(partition, None)
        self._standing.discard(partition)
        self._missing = [place for place in self._missing if place[0] != partition]
        dropped = [found for found in self._found if found[0] == partition]
        if dropped:
            self._found = [found for found in self._found if found[0] != partition]
            self.held_bytes -= sum(record.size_bytes for _, record in dropped)

    def take(self) -> Sequence[Found]:
        """What was read since the last call."""
        found, self._found = self._found, []
        self.held_bytes = 0
        for partition, record in found:
            self._asked[partition].discard(record.offset)
        return found

    def take_missing(self) -> Sequence[Place]:
        """The places that hold nothing (any more), each once until its partition is forgotten."""
        missing, self._missing = self._missing, []
        return missing

    @property
    def told(self) -> bool:
        """Whether there is something to take."""
        return bool(self._found or self._missing)

    def runs(self) -> dict[TopicPartition, Run]:
        """The first run of each partition."""
        return {
            partition: Run(_neighbours(places), stands=partition in self._standing)
            for partition, places in self._open.items()
            if places
        }

    def over(self, runs: Mapping[TopicPartition, Run]) -> bool:
        """Whether to read on in these runs brings nothing, or keeps something else waiting for what may take long."""
        under_way = self._under_way(runs)
        if any(not run.stands for run in under_way.values()):
            return False
        others = any(len(places) > len(runs.get(partition, ())) for partition, places in self._open.items())
        return not under_way or others

    def stand(self, runs: Mapping[TopicPartition, Run]) -> None:
        """Nothing came for some time: what is left is behind something that is not decided, which no event tells, or
        nobody answers."""
        for partition, run in self._under_way(runs).items():
            self._standing.add(partition)
            run.stands = True

    def _under_way(self, runs: Mapping[TopicPartition, Run]) -> Mapping[TopicPartition, Run]:
        return {partition: run for partition, run in runs.items() if not run.over and self._open.get(partition)}

    def receive(self, polled: Polled, runs: Mapping[TopicPartition, Run]) -> bool:
        """What a poll brought while these runs were read. Whether one of them got further."""
        further = False
        for record in polled.records:
            partition = TopicPartition(record.topic, record.partition)
            run = runs.get(partition)
            if run is not None:
                further = True
                run.stands = False
                self._standing.discard(partition)
                self._lose(partition, run.pass_to(record.offset))
                if run.hit(record.offset):
                    self._find(partition, record)
        for event in polled.events:
            further |= self._heed(event, runs)
        return further

    def _heed(self, event: ConsumerEvent, runs: Mapping[TopicPartition, Run]) -> bool:
        match event:
            case ReachedEnd(partition, end) if partition in runs:
                self._lose(partition, runs[partition].pass_to(end))
                runs[partition].stands = True
            case OutOfRange(partition, offset) if partition in runs:
                self._lose(partition, runs[partition].pass_to(offset + 1))
                runs[partition].stopped = True
            case _:
                return False  # the client goes on by itself
        return True

    def _find(self, partition: TopicPartition, record: Record) -> None:
        wanted = self._open.get(partition)
        if wanted is not None and record.offset in wanted:
            wanted.remove(record.offset)
            self._found.append((partition, record))
            self.held_bytes += record.size_bytes

    def _lose(self, partition: TopicPartition, places: Sequence[int]) -> None:
        wanted = self._open.get(partition)
        for place in places:
            if wanted is not None and place in wanted:
                wanted.remove(place)
                self._missing.append((partition, place))


def _neighbours(places: Iterable[int]) -> list[int]:
    run: list[int] = []
    for place in sorted(places):
        if run and place - run[-1] > GAP:
            break
        run.append(place)
    return run
