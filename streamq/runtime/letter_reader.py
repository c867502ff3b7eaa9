"""Reads pieces of dead-letter partitions for an owner, one after the other, on a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from streamq.core.marks import decode_mark
from streamq.core.payload_window import size_of
from streamq.model.clock import Clock, Deadline
from streamq.model.errors import RetriableError, StreamqError
from streamq.model.ports import OutOfRange, Polled, ReachedEnd, ReaderPort
from streamq.model.records import NextOffset, Record, TopicPartition

MOST_RECORDS: Final = 500
MOST_BYTES: Final = 2_000_000
"""Of letters that one piece keeps; the last poll may exceed both."""
MOST_S: Final = 1.0
"""How long a piece takes at most: whoever closes waits for it."""
POLL_S: Final = 0.1


class Wanted(NamedTuple):
    """Which letters are of interest: these offsets, and those of these keys from `follow_from` on."""

    offsets: Collection[int] = frozenset()
    keys: frozenset[bytes] = frozenset()
    follow_from: int | None = None

    def has(self, record: Record) -> bool:
        """Whether a letter is one of them."""
        if record.offset in self.offsets:
            return True
        return self.follow_from is not None and record.offset >= self.follow_from and record.key in self.keys


class Piece(NamedTuple):
    """What stands in a part of a dead-letter partition: all below `next_offset` was looked at. `marked` are offsets of
    letters that are no longer open."""

    next_offset: int
    letters: tuple[Record, ...]
    marked: tuple[int, ...]


class LetterReader:
    """The owner's handle. Its thread starts, and its reader connects, when something is first read. Owner thread only;
    nothing blocks but `close`."""

    def __init__(self, make: Callable[[], ReaderPort], clock: Clock, name: str, *, inline: bool = False) -> None:
        """`inline` reads on the caller's thread, for tests."""
        self._work = _Reading(make, clock, 0.0 if inline else POLL_S)
        self._name = name
        self._inline = inline
        self._pool: ThreadPoolExecutor | None = None

    def read(self, place: TopicPartition, start: int, until: int, wanted: Wanted) -> Future[Piece]:
        """Read from `start` on to below `until` at most: as much as a piece may hold, at least one record where there
        is one. The future raises `RetriableError` where `start` is deleted, `JournalError` at a mark that cannot be
        read."""

        def piece() -> Piece:
            return self._work.read(place, start, until, wanted)

        if self._inline:
            return _at_once(piece)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"{self._name}-letters")
        return self._pool.submit(piece)

    def rest(self) -> None:
        """Nothing is read for a while: hold no connection."""
        if self._pool is not None:
            self._pool.submit(self._work.close)

    def close(self) -> None:
        """End the thread and the connection. Blocks for the piece that is being read."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._work.close()


def _at_once(call: Callable[[], Piece]) -> Future[Piece]:
    answer: Future[Piece] = Future()
    try:
        answer.set_result(call())
    except StreamqError as error:
        answer.set_exception(error)
    return answer


class _Reading:
    """Runs on the thread."""

    def __init__(self, make: Callable[[], ReaderPort], clock: Clock, poll_s: float) -> None:
        self._make = make
        self._clock = clock
        self._poll_s = poll_s
        self._reader: ReaderPort | None = None
        self._at: tuple[TopicPartition, int] | None = None

    def read(self, place: TopicPartition, start: int, until: int, wanted: Wanted) -> Piece:
        reader = self._reader_at(place, start)
        letters: list[Record] = []
        marked: list[int] = []
        position, size_bytes, deadline = start, 0, Deadline(self._clock, MOST_S)
        while position < until and not (len(letters) >= MOST_RECORDS or size_bytes >= MOST_BYTES or deadline.expired()):
            polled = reader.poll(self._poll_s, MOST_RECORDS)
            for record in polled.records:
                if record.offset >= until:
                    continue
                mark = decode_mark(record.headers)
                if mark is not None:
                    marked.append(mark.letter_offset)
                elif wanted.has(record):
                    letters.append(record)
                    size_bytes += size_of(record)
            position = _passed(position, polled)
            if not (polled.records or self._poll_s):
                break
        self._at = place, position
        return Piece(min(position, until), tuple(letters), tuple(marked))

    def _reader_at(self, place: TopicPartition, start: int) -> ReaderPort:
        if self._reader is None:
            self._reader = self._make()
        if self._at != (place, start):
            self._reader.assign({place: NextOffset(start)})
        self._at = None  # until all that was polled has been looked at
        return self._reader

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = self._at = None


def _passed(position: int, polled: Polled) -> int:
    if polled.records:
        position = polled.records[-1].offset + 1
    for event in polled.events:
        if isinstance(event, OutOfRange):
            raise RetriableError(f"{event.partition} begins above {event.offset} by now")
        if isinstance(event, ReachedEnd):
            position = max(position, event.next_offset)
    return position
