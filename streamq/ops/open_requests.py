"""Operators' requests as they stand in the journals: which are open, which are done, and which keys stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from streamq.core.journal_records import Entry, JournalRecord, KeyState, KeyStateKind, Request, Settled, decode
from streamq.core.request_parameters import Parameters, Purge, Redrive, Release
from streamq.core.request_parameters import decode as decode_parameters
from streamq.core.requests import OpenRequests
from streamq.model.clock import Clock, Deadline
from streamq.model.errors import JournalError
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import Record
from streamq.ops import asking
from streamq.ops.letter_selection import Place
from streamq.ops.tail import Progress, Tail
from streamq.tasks.processor import Processor

LONGEST_LOOK_S: Final = 600.0


class _Journal:
    """One partition, as far as it was read."""

    def __init__(self) -> None:
        self.requests = OpenRequests()
        self.places: dict[bytes, set[int]] = {}
        """By request: where it stands unsettled. One that was sent twice stands twice, until the owner has seen it."""
        self.standing: dict[bytes, tuple[KeyStateKind, int]] = {}
        self.end = 0
        self._whose: dict[int, bytes] = {}

    def learn(self, place: int, record: JournalRecord) -> None:
        match record:
            case Request():
                self.requests.learn(place, record)
                self.places.setdefault(record.request_id, set()).add(place)
                self._whose[place] = record.request_id
            case Settled():
                for settled in record.places:
                    self._settle(settled)
            case KeyState() if record.kind == "cleared":
                self.standing.pop(record.key, None)
            case KeyState():
                self.standing[record.key] = record.kind, place
            case _:
                pass

    def begin_at(self, start: int) -> None:
        """What stood below `start` is not needed any more: it was deleted, maybe before it was read here."""
        for place in [place for place in self._whose if place < start]:
            self._settle(place)
        self.standing = {key: known for key, known in self.standing.items() if known[1] >= start}

    def _settle(self, place: int) -> None:
        self.requests.settled(place)
        request_id = self._whose.pop(place, None)
        if request_id is not None:
            self.places[request_id].discard(place)
            if not self.places[request_id]:
                del self.places[request_id]


class OpenRequestsView:
    """Each look reads what has come since the last."""

    def __init__(self, admin: AdminPort, reader: ReaderPort, processor: Processor, clock: Clock) -> None:
        self._admin = admin
        self._clock = clock
        self._topic = processor.retry_topic
        self._tail = Tail(admin, reader, self._topic, clock, self._learn)
        self._journals: dict[int, _Journal] = {}
        self._sent: dict[tuple[int, bytes], int] = {}

    def _learn(self, record: Record) -> None:
        known = decode(record.key, record.value, record.headers, record.timestamp_ms)
        if not isinstance(known, Entry):
            self._journals[record.partition].learn(record.offset, known)

    def look(self, progress: Progress | None = None) -> None:
        """Read on to the ends. Blocks.

        Raises:
            ConfigError: there is no retry topic.
            JournalError: a journal that this release cannot read.
            RetriableError: the brokers did not answer in time: look again.
        """
        asking.topic_there(self._admin, self._topic)
        places, anew = self._tail.places()
        if anew:
            self._journals.clear()
        for place in places:
            self._journals.setdefault(place.partition, _Journal())
        ends = asking.ends(self._admin, places)
        starts = self._tail.read(ends, Deadline(self._clock, LONGEST_LOOK_S), progress)
        for place in places:
            journal = self._journals[place.partition]
            journal.begin_at(starts[place])
            journal.end = max(journal.end, ends[place])
            trouble = self._tail.trouble(place, ends[place])
            if trouble is not None:
                raise JournalError(f"{place}: {trouble}")

    @property
    def partitions(self) -> int:
        """How many partitions the retry topic had at the last look."""
        return len(self._journals)

    def sent(self, partition: int, request_id: bytes, place: int) -> None:
        """A request was written: it is open, though no look has come upon it yet."""
        self._sent[partition, request_id] = place

    def is_open(self, partition: int, request_id: bytes) -> bool:
        """Whether a request is not done, whichever of its copies."""
        journal = self._journals[partition]
        return request_id in journal.places or self._sent.get((partition, request_id), -1) >= journal.end

    def __iter__(self) -> Iterator[tuple[int, Request]]:
        """All that are open, with their partitions."""
        for partition, journal in self._journals.items():
            for request in journal.requests:
                yield partition, request

    def standing(self, key: bytes) -> Mapping[int, KeyStateKind]:
        """Where a key is chained, held or being redriven."""
        return {
            partition: journal.standing[key][0]
            for partition, journal in self._journals.items()
            if key in journal.standing
        }


def understood(request: Request) -> Parameters | None:
    """What a request asks for; None if this release does not know."""
    try:
        return decode_parameters(request.kind, request.parameters)
    except ValueError:
        return None


def places_of(partition: int, asked: Parameters | None) -> frozenset[Place]:
    """The letters that a request names."""
    match asked:
        case Redrive():
            return frozenset(Place(partition, offset) for one in asked.letters for offset in one.offsets)
        case Purge():
            return frozenset(Place(partition, offset) for offset in asked.offsets)
        case Release() | None:
            return frozenset()
