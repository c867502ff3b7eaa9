"""What an operator's request to the owner of one partition names: the `parameters` of a journal `Request`.

Layout, version 1; numbers are varints, a text or key is its length and its bytes, offsets ascend and are written as the
first and then the distance less one from each to the next:

    version      a byte
    redrive      1 + follow_from or 0; how many keys; for each: 1 + length of the key or 0, its bytes, how many offsets,
                 the offsets; then how many edits; for each: the offset, 1 + length of the value or 0, its bytes
    purge        how many offsets, the offsets
    release      how many keys; for each: length, bytes

A request's id is derived from what it names: the same asked again is the same request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final, Literal, NamedTuple, assert_never

from streamq.core import varint
from streamq.core.journal_records import Request

VERSION: Final = 1
ID_BYTES: Final = 16

RequestKind = Literal["redrive", "purge", "release"]


class KeyLetters(NamedTuple):
    """Dead letters of one key by their offsets in the dead-letter partition, ascending. Those without a key, too."""

    key: bytes | None
    offsets: tuple[int, ...]


class Edit(NamedTuple):
    """The value that the letter at an offset gets on its way back; None is a tombstone."""

    letter_offset: int
    value: bytes | None


class Redrive(NamedTuple):
    """Move these letters back. With `follow_from`, all letters of these keys from that offset on go with them: what was
    still following a chained key when the operator looked."""

    letters: tuple[KeyLetters, ...]
    follow_from: int | None = None
    edits: tuple[Edit, ...] = ()


class Purge(NamedTuple):
    """Close these letters for good; what stands in Kafka stays until it is deleted there."""

    offsets: tuple[int, ...]


class Release(NamedTuple):
    """Let these keys go on behind their dead letters, which stay as they are."""

    keys: tuple[bytes, ...]


Parameters = Redrive | Purge | Release


def kind_of(parameters: Parameters) -> RequestKind:
    """The request's word for it."""
    match parameters:
        case Redrive():
            return "redrive"
        case Purge():
            return "purge"
        case Release():
            return "release"
        case _:
            assert_never(parameters)


def request_of(parameters: Parameters, partition: int, nonce: bytes = b"") -> Request:
    """The request as it is written into the journal of `partition`. A `nonce` makes it another request than the same
    one asked before."""
    kind, data = kind_of(parameters), encode(parameters)
    named = b"%s\0%d\0%s" % (kind.encode(), partition, data)
    return Request(blake2b(nonce + named, digest_size=ID_BYTES).digest(), kind, data)


def encode(parameters: Parameters) -> bytes:
    """As they stand in the journal."""
    out = bytearray((VERSION,))
    match parameters:
        case Redrive():
            varint.put(out, 0 if parameters.follow_from is None else parameters.follow_from + 1)
            varint.put(out, len(parameters.letters))
            for key, offsets in parameters.letters:
                _put_optional(out, key)
                _put_offsets(out, offsets)
            varint.put(out, len(parameters.edits))
            for letter_offset, value in parameters.edits:
                varint.put(out, letter_offset)
                _put_optional(out, value)
        case Purge():
            _put_offsets(out, parameters.offsets)
        case Release():
            varint.put(out, len(parameters.keys))
            for one in parameters.keys:
                varint.put(out, len(one))
                out += one
        case _:
            assert_never(parameters)
    return bytes(out)


def _put_optional(out: bytearray, data: bytes | None) -> None:
    varint.put(out, 0 if data is None else len(data) + 1)
    out += data or b""


def _put_offsets(out: bytearray, offsets: Sequence[int]) -> None:
    varint.put(out, len(offsets))
    last = -1
    for offset in offsets:
        varint.put(out, offset - last - 1)
        last = offset


class _Bytes:
    """What is left to be read."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    @property
    def over(self) -> bool:
        return self._at == len(self._data)

    def number(self) -> int:
        number, self._at = varint.take(self._data, self._at)
        return number

    def count(self) -> int:
        """A number of things that take a byte each at least."""
        number = self.number()
        if number > len(self._data) - self._at:
            raise ValueError("more is announced than there is")
        return number

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise ValueError("the bytes end within a text")
        taken, self._at = self._data[self._at : end], end
        return taken

    def optional(self) -> bytes | None:
        length = self.number()
        return self.take(length - 1) if length else None

    def offsets(self) -> tuple[int, ...]:
        found: list[int] = []
        last = -1
        for _ in range(self.count()):
            last += self.number() + 1
            found.append(last)
        if last >= 2**63:
            raise ValueError("an offset of more than 63 bits")
        return tuple(found)


def decode(kind: str, data: bytes) -> Parameters:
    """Read a request's parameters.

    Raises:
        ValueError: damaged, or of a kind or version that this release does not know.
    """
    read = _READERS.get(kind)
    if read is None:
        raise ValueError(f"a request of kind {kind!r}, which this release does not know")
    if not data or data[0] != VERSION:
        raise ValueError(f"a request of version {data[0] if data else None}, this release knows {VERSION}")
    left = _Bytes(data, 1)
    found = read(left)
    if not left.over:
        raise ValueError("bytes behind the request's end")
    return found


def _redrive(left: _Bytes) -> Redrive:
    follow = left.number()
    letters = tuple(KeyLetters(left.optional(), left.offsets()) for _ in range(left.count()))
    edits = tuple(Edit(left.number(), left.optional()) for _ in range(left.count()))
    return Redrive(letters, follow - 1 if follow else None, edits)


def _purge(left: _Bytes) -> Purge:
    return Purge(left.offsets())


def _release(left: _Bytes) -> Release:
    return Release(tuple(left.take(left.number()) for _ in range(left.count())))


_READERS: Final[dict[str, Callable[[_Bytes], Parameters]]] = {
    "redrive": _redrive,
    "purge": _purge,
    "release": _release,
}


def keys_of(letters: Iterable[KeyLetters]) -> set[bytes]:
    """The keys that can be held: a record without one is a lane of its own."""
    return {one.key for one in letters if one.key is not None}
