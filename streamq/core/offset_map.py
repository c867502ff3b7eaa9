"""The map that a commit carries in its metadata: which records above the committed offset are settled already.

Layout, version 1, as base64 without padding; numbers are varints unless said otherwise:

    "sq" 0x01                 magic and version
    flags                     one byte: bits 0-1 the form of the unsettled offsets, bit 2 the clean mark,
                              bit 3 an `alone` mark follows, bit 4 a journal's identity follows
    process                   8 bytes, random, one per process
    base                      the committed offset
    end - base                `end`: one above the highest settled offset; base when nothing above base is settled
    start bound - base + 1    0: no bound
    [alone - base]
    [journal topic id         16 bytes
     journal end]
    length, unsettled         the unsettled offsets in [base, end), in the shortest of three forms; base itself, always
                              unsettled when end > base, is implied by the first two
                                gaps: the distance less one from each unsettled offset to the next
                                runs: the lengths of alternating runs of unsettled and settled offsets, from base on
                                bitmap: bit i (lowest first) set when base + i is unsettled
    attempts                  up to the end: distance from the previous such offset (the first from base), attempts;
                              only above 1, the highest first as far as there is room, written by offset
    checksum                  CRC-32 of all before, 4 bytes, big-endian

A broker takes at most 4,095 characters (its default `offset.metadata.max.bytes` is 4096 and it refuses that number
itself), that is 3,071 bytes. `admits` says which offsets may be unsettled together so that the map always fits.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from zlib import crc32

from streamq.core import varint

MOST_CHARS: Final = 4095
MOST_BYTES: Final = 3071
ANY_SPAN: Final = 20_000
"""Any number of unsettled offsets fits within so many offsets: a bitmap of 2,500 bytes."""
WIDE_COUNT: Final = 1_000
WIDE_SPAN: Final = 1_000_000
"""So many unsettled offsets fit within so many offsets: gaps of at most 2,061 bytes."""

_MAGIC: Final = b"sq\x01"
_GAPS, _RUNS, _BITMAP = 0, 1, 2
_FORM, _CLEAN, _ALONE, _JOURNAL = 0b11, 0b100, 0b1000, 0b10000
_CHECKSUM_BYTES: Final = 4
NO_PROCESS: Final = bytes(8)


class JournalMark(NamedTuple):
    """Which retry topic the commit knew, by its 16-byte topic id, and a lower bound of its partition's end."""

    topic_id: bytes
    known_end: int


@dataclass(frozen=True, slots=True)
class OffsetMap:
    """What one commit says of a partition beyond its offset.

    `unsettled` holds the unsettled offsets in [base, end), ascending; all others there are settled or are holes.
    `attempts` maps offsets (settled or not, at or above base) to their attempts so far, above 1 only.
    """

    base: int
    end: int
    unsettled: Sequence[int] = ()
    attempts: Mapping[int, int] = field(default_factory=dict)
    start_bound: int | None = None
    alone: int | None = None
    clean: bool = False
    process: bytes = NO_PROCESS
    journal: JournalMark | None = None


def admits(low: int, offset: int, unsettled: int) -> bool:
    """Whether a record at `offset` may be worked on while `low` is the lowest unsettled offset and `unsettled` the
    number of unsettled ones, so that the map of whatever is settled then still fits."""
    span = offset - low + 1
    return span <= ANY_SPAN or (unsettled < WIDE_COUNT and span <= WIDE_SPAN)


def encode_map(offsets: OffsetMap) -> str:
    """The commit's metadata, at most 4,095 characters.

    Should the unsettled offsets not fit, or be more than a reader takes (`admits` rules both out), the map ends
    earlier: more is done again, and nothing is lost.
    """
    if len(offsets.unsettled) > ANY_SPAN:
        return encode_map(_shorter(offsets))
    form, body = _shortest(offsets)
    head = _head(offsets, form)
    room = MOST_BYTES - len(head) - len(body) - varint.size(len(body)) - _CHECKSUM_BYTES
    if room < 0:
        return encode_map(_shorter(offsets))
    out = bytearray(head)
    varint.put(out, len(body))
    out += body
    out += _attempts(offsets, room)
    out += crc32(out).to_bytes(_CHECKSUM_BYTES, "big")
    return b64encode(out).decode("ascii").rstrip("=")


def decode_map(text: str) -> OffsetMap | None:
    """Read a commit's metadata. None for anything that `encode_map` did not write: empty, foreign, damaged."""
    data = _unwrap(text)
    if data is None:
        return None
    try:
        return _parse(data)
    except ValueError:
        return None


def _unwrap(text: str) -> bytes | None:
    if not text or len(text) > MOST_CHARS:
        return None
    try:
        data = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    # The last character may hold bits that belong to no byte: only the canonical text is ours.
    if b64encode(data).decode("ascii").rstrip("=") != text:
        return None
    if not data.startswith(_MAGIC) or len(data) < len(_MAGIC) + _CHECKSUM_BYTES:
        return None
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    return body if crc32(body) == int.from_bytes(checksum, "big") else None


def _head(offsets: OffsetMap, form: int) -> bytes:
    out = bytearray(_MAGIC)
    out.append(
        form
        | (_CLEAN if offsets.clean else 0)
        | (_ALONE if offsets.alone is not None else 0)
        | (_JOURNAL if offsets.journal is not None else 0)
    )
    out += offsets.process
    varint.put(out, offsets.base)
    varint.put(out, offsets.end - offsets.base)
    bound = offsets.start_bound
    varint.put(out, 0 if bound is None else max(0, bound - offsets.base) + 1)
    if offsets.alone is not None:
        varint.put(out, offsets.alone - offsets.base)
    if offsets.journal is not None:
        out += offsets.journal.topic_id
        varint.put(out, offsets.journal.known_end)
    return bytes(out)


def _shortest(offsets: OffsetMap) -> tuple[int, bytes]:
    if offsets.end == offsets.base:
        return _GAPS, b""
    forms = [(_GAPS, _as_gaps(offsets)), (_RUNS, _as_runs(offsets))]
    if offsets.end - offsets.base <= 8 * MOST_BYTES:
        forms.append((_BITMAP, _as_bitmap(offsets)))
    return min(forms, key=lambda form: len(form[1]))


def _as_gaps(offsets: OffsetMap) -> bytes:
    out = bytearray()
    previous = offsets.base
    for offset in offsets.unsettled[1:]:
        varint.put(out, offset - previous - 1)
        previous = offset
    return bytes(out)


def _as_runs(offsets: OffsetMap) -> bytes:
    out = bytearray()
    start = previous = offsets.base
    for offset in offsets.unsettled[1:]:
        if offset != previous + 1:
            varint.put(out, previous + 1 - start)
            varint.put(out, offset - previous - 1)
            start = offset
        previous = offset
    varint.put(out, previous + 1 - start)
    return bytes(out)


def _as_bitmap(offsets: OffsetMap) -> bytes:
    out = bytearray((offsets.end - offsets.base + 7) // 8)
    for offset in offsets.unsettled:
        place = offset - offsets.base
        out[place >> 3] |= 1 << (place & 7)
    return bytes(out)


def _attempts(offsets: OffsetMap, room: int) -> bytes:
    """As many attempts as fit, the highest first: a record near its last attempt must not start from 1 again."""
    fitting: list[tuple[int, int]] = []
    # A first bound that cannot be wrong: within the map's reach a pair takes at most the bytes of its own distance from
    # base, so a choice that fits by this sum fits when it is written by offset.
    for offset, attempts in sorted(offsets.attempts.items(), key=lambda pair: (-pair[1], pair[0])):
        if attempts < 2 or offset < offsets.base:
            continue
        needed = varint.size(offset - offsets.base) + varint.size(attempts)
        if needed > room:
            break
        room -= needed
        fitting.append((offset, attempts))
    out = bytearray()
    previous = offsets.base
    for offset, attempts in sorted(fitting):
        varint.put(out, offset - previous)
        varint.put(out, attempts)
        previous = offset
    return bytes(out)


def _shorter(offsets: OffsetMap) -> OffsetMap:
    """The same map up to its middle unsettled offset, which from there on calls everything unsettled."""
    end = offsets.unsettled[len(offsets.unsettled) // 2]
    unsettled = [offset for offset in offsets.unsettled if offset < end]
    return OffsetMap(
        offsets.base,
        end if unsettled else offsets.base,
        unsettled,
        offsets.attempts,
        offsets.start_bound,
        offsets.alone,
        offsets.clean,
        offsets.process,
        offsets.journal,
    )


def _parse(data: bytes) -> OffsetMap:
    if len(data) == len(_MAGIC):
        raise ValueError("the bytes end within the head")
    flags = data[len(_MAGIC)]
    if flags & ~(_FORM | _CLEAN | _ALONE | _JOURNAL):
        raise ValueError("unknown flags")
    at = len(_MAGIC) + 1
    process, at = data[at : at + len(NO_PROCESS)], at + len(NO_PROCESS)
    base, at = varint.take(data, at)
    span, at = varint.take(data, at)
    bound, at = varint.take(data, at)
    alone = journal = None
    if flags & _ALONE:
        distance, at = varint.take(data, at)
        alone = base + distance
    if flags & _JOURNAL:
        topic_id, at = data[at : at + 16], at + 16
        known_end, at = varint.take(data, at)
        journal = JournalMark(topic_id, known_end)
    length, at = varint.take(data, at)
    body, at = data[at : at + length], at + length
    if at > len(data):
        raise ValueError("the bytes end within the offsets")
    unsettled = tuple(_offsets(flags & _FORM, body, base, span))
    if unsettled and unsettled[-1] >= base + span:
        raise ValueError("an unsettled offset behind the end")
    return OffsetMap(
        base,
        base + span,
        unsettled,
        _parse_attempts(data, at, base),
        None if bound == 0 else base + bound - 1,
        alone,
        bool(flags & _CLEAN),
        process,
        journal,
    )


def _offsets(form: int, body: bytes, base: int, span: int) -> Iterable[int]:
    if span == 0:
        return ()
    if form == _GAPS:
        return _from_gaps(body, base)
    if form == _RUNS:
        return _from_runs(body, base)
    if form == _BITMAP:
        return (base + i for i in range(min(span, 8 * len(body))) if body[i >> 3] >> (i & 7) & 1)
    raise ValueError("unknown form of offsets")


def _from_gaps(body: bytes, base: int) -> Iterable[int]:
    yield base
    at = 0
    while at < len(body):
        gap, at = varint.take(body, at)
        base += gap + 1
        yield base


def _from_runs(body: bytes, base: int) -> Iterable[int]:
    at, unsettled, room = 0, True, ANY_SPAN
    while at < len(body):
        length, at = varint.take(body, at)
        if unsettled:
            room -= length
            if room < 0:
                raise ValueError("more unsettled offsets than any map has")
            yield from range(base, base + length)
        base += length
        unsettled = not unsettled


def _parse_attempts(data: bytes, at: int, base: int) -> dict[int, int]:
    found: dict[int, int] = {}
    while at < len(data):
        distance, at = varint.take(data, at)
        attempts, at = varint.take(data, at)
        base += distance
        found[base] = attempts
    return found
