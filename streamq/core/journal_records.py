"""What stands in a retry partition: the journal of one source partition, a record at a time.

A journal record is a Kafka record whose last header is `streamq.journal`. An entry is a parked record whole: key,
value, timestamp and all headers before that last one are the user's, unchanged. All other types have nothing but the
header. Layout of the header's value, version 1; numbers are varints unless said otherwise:

    version, type    a byte each
    entry 1          topic id (16 bytes), incarnation (2 bytes), source offset (8), attempts (4), next_at in ms (8); of
                     fixed width and big-endian: a takeover reads a million of them
    settled 2        places, ascending: the first, then the distance less one from each to the next
    waits 3          one after the other, places ascending: place (as above), attempts, next_at in ms
    state 4          kind (a byte), length and bytes of the request's id, the key (the rest)
    request 5        1 + the dead-letter partition's end or 0, length and bytes of its id, length and text of its kind,
                     parameters (the rest)

Types 6 (snapshot) and 7 (alone mark) are kept free for what comes. A reader never skips what it does not know: it may
be the settlement of a record that would run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, Literal, NamedTuple, assert_never

from streamq.core import varint
from streamq.model.errors import JournalError
from streamq.model.headers import JOURNAL
from streamq.model.records import Headers

VERSION: Final = 1
_ENTRY_FORM: Final = Struct(">16sHQIQ")
_ENTRY_BYTES: Final = 2 + _ENTRY_FORM.size
_LARGEST: Final = 2**63 - 1  # Kafka's own bound of an offset
_ENTRY, _SETTLED, _WAITS, _STATE, _REQUEST = 1, 2, 3, 4, 5

KeyStateKind = Literal["cleared", "chained", "held", "redriving"]
_KINDS: Final[tuple[KeyStateKind, ...]] = ("cleared", "chained", "held", "redriving")


class Entry(NamedTuple):
    """A parked record. `key` to `timestamp_ms` are the source record's own.

    `incarnation` counts the topics of the source's name that the journal has seen: a topic deleted and made anew has
    another id and starts at offset 0 again, and what was parked of the former one comes before it. `attempts` is the
    number of the attempt that comes next (from 1), `next_at_ms` the wall-clock time it waits for (0: none).
    """

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    topic_id: bytes
    incarnation: int
    offset: int
    attempts: int = 1
    next_at_ms: int = 0


class Settled(NamedTuple):
    """What stands at these places, ascending, is done with: entries, requests, states that were written anew."""

    places: tuple[int, ...]


class Wait(NamedTuple):
    """The entry at `place` failed again: its next attempt and the wall-clock time that waits for."""

    place: int
    attempts: int
    next_at_ms: int


class Waits(NamedTuple):
    """New attempts and times of entries, ascending by place."""

    waits: tuple[Wait, ...]


class KeyState(NamedTuple):
    """What holds for a key from here on.

    `chained`: its records go to the dead-letter topic; `held`: they stand in the journal; `redriving`: request
    `request_id` moves its dead letters back. None of them runs. `cleared`: nothing holds any more.
    """

    key: bytes
    kind: KeyStateKind
    request_id: bytes = b""


class Request(NamedTuple):
    """What an operator asks of the owner. `parameters` are opaque here. The owner appends it anew when it accepts it,
    with the end that the dead-letter partition has by then: it takes no letter from there on."""

    request_id: bytes
    kind: str
    parameters: bytes = b""
    letters_end: int | None = None


JournalRecord = Entry | Settled | Waits | KeyState | Request


class JournalPayload(NamedTuple):
    """A journal record as it stands in Kafka. `timestamp_ms=None` takes the time of the append."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int | None


def encode(record: JournalRecord) -> JournalPayload:
    """The record as it is appended to the retry partition."""
    out = bytearray((VERSION,))
    match record:
        case Entry():
            _put_entry(out, record)
            headers = (*record.headers, (JOURNAL, bytes(out)))
            return JournalPayload(record.key, record.value, headers, record.timestamp_ms)
        case Settled():
            out.append(_SETTLED)
            last = -1
            for place in record.places:
                varint.put(out, place - last - 1)
                last = place
        case Waits():
            out.append(_WAITS)
            last = -1
            for wait in record.waits:
                varint.put(out, wait.place - last - 1)
                varint.put(out, wait.attempts)
                varint.put(out, wait.next_at_ms)
                last = wait.place
        case KeyState():
            _put_state(out, record)
        case Request():
            out.append(_REQUEST)
            varint.put(out, 0 if record.letters_end is None else record.letters_end + 1)
            _put_bytes(out, record.request_id)
            _put_bytes(out, record.kind.encode())
            out += record.parameters
        case _:
            assert_never(record)
    return JournalPayload(None, None, ((JOURNAL, bytes(out)),), None)


def _put_entry(out: bytearray, entry: Entry) -> None:
    out.append(_ENTRY)
    out += _ENTRY_FORM.pack(entry.topic_id, entry.incarnation, entry.offset, entry.attempts, entry.next_at_ms)


def _put_state(out: bytearray, state: KeyState) -> None:
    out.append(_STATE)
    out.append(_KINDS.index(state.kind))
    _put_bytes(out, state.request_id)
    out += state.key


def _put_bytes(out: bytearray, data: bytes) -> None:
    varint.put(out, len(data))
    out += data


def decode(key: bytes | None, value: bytes | None, headers: Headers, timestamp_ms: int) -> JournalRecord:
    """Read what stands in a retry partition.

    Raises:
        JournalError: it is no journal record, damaged, or of a version or type that this release does not know. Stop
            the partition: whatever it says would be missing.
    """
    if not headers or headers[-1][0] != JOURNAL or (data := headers[-1][1]) is None:
        raise JournalError("a record of the retry topic without a streamq.journal header: something else writes there")
    if len(data) < 2:
        raise JournalError("a journal record that ends within its head")
    if data[0] != VERSION:
        raise JournalError(f"a journal record of version {data[0]}, this release knows {VERSION}: use a newer one")
    if data[1] == _ENTRY:
        return _entry(key, value, headers[:-1], timestamp_ms, data)
    read = _READERS.get(data[1])
    if read is None:
        raise JournalError(f"a journal record of type {data[1]}, which this release does not know: use a newer one")
    try:
        return read(data, 2)
    except ValueError as error:  # a UnicodeDecodeError is one, too
        raise JournalError(f"a damaged journal record of type {data[1]}: {error}") from error


def _entry(key: bytes | None, value: bytes | None, headers: Headers, timestamp_ms: int, data: bytes) -> Entry:
    if len(data) != _ENTRY_BYTES:
        raise JournalError("a damaged journal entry: bytes are missing, or stand behind its end")
    topic_id, incarnation, offset, attempts, next_at_ms = _ENTRY_FORM.unpack_from(data, 2)
    if attempts < 1 or offset > _LARGEST or next_at_ms > _LARGEST:
        raise JournalError("a damaged journal entry: numbers that no source record has")
    return Entry(key, value, headers, timestamp_ms, topic_id, incarnation, offset, attempts, next_at_ms)


def _settled(data: bytes, at: int) -> Settled:
    places: list[int] = []
    last = -1
    while at < len(data):
        distance, at = _take(data, at)
        last = _place(last, distance)
        places.append(last)
    return Settled(tuple(places))


def _place(last: int, distance: int) -> int:
    place = last + distance + 1
    if place > _LARGEST:
        raise ValueError("a place of more than 63 bits")
    return place


def _waits(data: bytes, at: int) -> Waits:
    waits: list[Wait] = []
    last = -1
    while at < len(data):
        distance, at = _take(data, at)
        attempts, at = _take(data, at)
        next_at_ms, at = _take(data, at)
        last = _place(last, distance)
        waits.append(Wait(last, attempts, next_at_ms))
    return Waits(tuple(waits))


def _state(data: bytes, at: int) -> KeyState:
    if at == len(data) or data[at] >= len(_KINDS):
        raise ValueError("an unknown state of a key")
    kind = _KINDS[data[at]]
    request_id, at = _take_bytes(data, at + 1)
    return KeyState(data[at:], kind, request_id)


def _request(data: bytes, at: int) -> Request:
    end, at = _take(data, at)
    request_id, at = _take_bytes(data, at)
    kind, at = _take_bytes(data, at)
    return Request(request_id, kind.decode(), data[at:], end - 1 if end else None)


def _take(data: bytes, at: int) -> tuple[int, int]:
    number, at = varint.take(data, at)
    if number > _LARGEST:
        raise ValueError("a number of more than 63 bits")
    return number, at


def _take_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _take(data, at)
    if at + length > len(data):
        raise ValueError("the bytes end within a text")
    return data[at : at + length], at + length


_READERS: Final[dict[int, Callable[[bytes, int], JournalRecord]]] = {
    _SETTLED: _settled,
    _WAITS: _waits,
    _STATE: _state,
    _REQUEST: _request,
}


def settled(places: Sequence[int]) -> Settled:
    """A settlement of these places, in whatever order they come."""
    return Settled(tuple(sorted(places)))
