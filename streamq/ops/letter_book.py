"""Which dead letters are open: those without a mark, one for each record that was given up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from streamq.core.marks import LetterState, MarkKind, decode_mark
from streamq.model import headers as names
from streamq.model.clock import Clock, Deadline
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import NextOffset, Record
from streamq.ops import asking
from streamq.ops.tail import Progress, Tail

MOST_S: Final = 30.0
"""How long a look reads at most, unless more is asked for."""


class Origin(NamedTuple):
    """The record that a letter is of, and the group that gave it up. The timestamp tells a topic made anew, where
    offsets begin again."""

    group: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None


def origin_of(letter: Record) -> Origin | None:
    """Where a dead letter comes from; None where its headers do not say (somebody else wrote it)."""
    headers = letter.headers
    topic = names.text(headers, names.SOURCE_TOPIC)
    partition = names.number(headers, names.SOURCE_PARTITION)
    offset = names.number(headers, names.SOURCE_OFFSET)
    if topic is None or partition is None or offset is None:
        return None
    timestamp_ms = names.number(headers, names.SOURCE_TIMESTAMP_MS)
    return Origin(names.text(headers, names.GROUP) or "", topic, partition, offset, timestamp_ms)


class LettersSummary(msgspec.Struct, frozen=True):
    """The dead letters of one partition: how many records stand open there, and how many had a letter that was redriven
    or purged and have none that is open. `trouble`: why these are not all that there are; the others are among the last
    `unread` offsets."""

    partition: int
    open: int = 0
    redriven: int = 0
    purged: int = 0
    unread: int = 0
    trouble: str | None = None


class LetterBook:
    """The letters and marks of one dead-letter partition, as far as they were read.

    A record may have several letters: it was redriven and given up again. The last open one stands for all of them, and
    where none is open, the last.
    """

    def __init__(self) -> None:
        self._last: dict[Origin | int, int] = {}  # by origin, or by its own offset where there is none
        self._earlier: dict[Origin | int, list[int]] = {}
        self._marks: dict[int, MarkKind] = {}

    def learn(self, record: Record) -> None:
        """A letter or a mark, in the order of the partition.

        Raises:
            JournalError: a mark that cannot be read.
        """
        mark = decode_mark(record.headers)
        if mark is not None:
            self._marks[mark.letter_offset] = mark.kind
            return
        name = origin_of(record) or int(record.offset)
        known = self._last.get(name)
        if known is not None:
            self._earlier.setdefault(name, []).append(known)
        self._last[name] = record.offset

    def begin_at(self, start: int) -> None:
        """The partition begins at `start` by now: letters below it are gone."""
        for name in [name for name, offset in self._last.items() if offset < start]:
            del self._last[name]
            self._earlier.pop(name, None)
        for name, offsets in list(self._earlier.items()):
            left = [offset for offset in offsets if offset >= start]
            if left:
                self._earlier[name] = left
            else:
                del self._earlier[name]

    def state(self, letter: Record) -> LetterState | None:
        """What is true of a letter that was learnt; None if it is a mark, or if another letter stands for it."""
        if decode_mark(letter.headers) is not None:
            return None
        name = origin_of(letter) or int(letter.offset)
        return self._state_at(letter.offset) if self._shown(name) == letter.offset else None

    def _shown(self, name: Origin | int) -> int | None:
        last = self._last.get(name)
        if last is None or last not in self._marks:
            return last
        still_open = [offset for offset in self._earlier.get(name, ()) if offset not in self._marks]
        return still_open[-1] if still_open else last

    def _state_at(self, offset: int) -> LetterState:
        return self._marks.get(offset, "open")

    def summary(self, partition: int) -> LettersSummary:
        """What it comes to."""
        counts: dict[LetterState, int] = {"open": 0, "redriven": 0, "purged": 0}
        for name in self._last:
            shown = self._shown(name)
            if shown is not None:
                counts[self._state_at(shown)] += 1
        return LettersSummary(partition, counts["open"], counts["redriven"], counts["purged"])


class LettersView:
    """The dead letters of a topic. Each look reads what has come since the last."""

    def __init__(self, admin: AdminPort, reader: ReaderPort, topic: str, clock: Clock) -> None:
        self._admin = admin
        self._clock = clock
        self._tail = Tail(admin, reader, topic, clock, self._learn)
        self.books: dict[int, LetterBook] = {}
        self._ends: asking.Offsets = {}

    def _learn(self, record: Record) -> None:
        self.books[record.partition].learn(record)

    def look(self, *, most_s: float | None = MOST_S, progress: Progress | None = None) -> Mapping[int, LettersSummary]:
        """How many letters there are by partition; nothing where there is no such topic. Blocks: it reads for at most
        `most_s`, and what is not read by then is a partition's trouble.

        Raises:
            RetriableError: the brokers did not answer in time: ask again.
        """
        deadline = Deadline(self._clock, float("inf") if most_s is None else most_s)
        places, anew = self._tail.places()
        if anew:
            self.books.clear()
            self._ends = {}
        if not places:
            return {}
        ends = self._ends = asking.ends(self._admin, places)
        for place in places:
            self.books.setdefault(place.partition, LetterBook())
        starts = self._tail.read(ends, deadline, progress)
        found = {}
        for place in places:
            book = self.books[place.partition]
            book.begin_at(starts[place])
            trouble, unread = self._tail.trouble(place, ends[place]), self._tail.unread(place, ends[place])
            found[place.partition] = replace(book.summary(place.partition), unread=unread, trouble=trouble)
        return found

    def known(self, ends: asking.Offsets) -> asking.Offsets:
        """As much of these ends as the last look has covered."""
        return {place: min(end, self._ends.get(place, NextOffset(0))) for place, end in ends.items()}
