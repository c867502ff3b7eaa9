"""Marks in a dead-letter partition: each says of one dead letter there that it is no longer open, and why.

A mark is a Kafka record without key and value whose last header is `streamq.mark`; it stands behind its letter, in the
same partition, and came in one transaction with what became of the letter. Open is a letter without a mark, and nothing
else says so. Layout of the header's value, version 1; numbers are varints:

    version              a byte
    kind                 a byte: 1 redriven, 2 purged
    letter offset
    request id           the rest: the request of an operator that it was done for

A reader never skips what it does not know: the letter that it names would count as open and be redriven once more.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from streamq.core import varint
from streamq.model.errors import JournalError
from streamq.model.headers import MARK
from streamq.model.records import Headers

VERSION: Final = 1
_LARGEST: Final = 2**63 - 1  # Kafka's own bound of an offset

MarkKind = Literal["redriven", "purged"]
LetterState = Literal["open", "redriven", "purged"]
"""What is true of a letter: open without a mark, else what its mark says."""
_KINDS: Final[dict[int, MarkKind]] = {1: "redriven", 2: "purged"}
_NUMBERS: Final[dict[MarkKind, int]] = {kind: number for number, kind in _KINDS.items()}


class LetterMark(NamedTuple):
    """The letter at `letter_offset` of the partition is no longer open since `request_id` was carried out."""

    letter_offset: int
    request_id: bytes
    kind: MarkKind = "redriven"


def encode_mark(mark: LetterMark) -> Headers:
    """The headers of the record that is appended to the dead-letter partition. Its key and value are None.

    Raises:
        ValueError: an offset that Kafka does not have.
    """
    if not 0 <= mark.letter_offset <= _LARGEST:
        raise ValueError(f"letter_offset is {mark.letter_offset}: use 0 to {_LARGEST}")
    out = bytearray((VERSION, _NUMBERS[mark.kind]))
    varint.put(out, mark.letter_offset)
    out += mark.request_id
    return ((MARK, bytes(out)),)


def decode_mark(headers: Headers) -> LetterMark | None:
    """Read a record of a dead-letter partition: None if it is no mark but a letter. A letter may carry a mark's header
    among the user's own; only the last header of a record tells, and a letter's last ones are its context.

    Raises:
        JournalError: a mark that is damaged, or of a version or kind that this release does not know.
    """
    if not headers or headers[-1][0] != MARK:
        return None
    data = headers[-1][1]
    if data is None or len(data) < 2:
        raise JournalError("a mark in the dead-letter topic that ends within its head")
    if data[0] != VERSION:
        raise JournalError(
            f"a mark of version {data[0]} in the dead-letter topic, this release knows {VERSION}: use a newer one"
        )
    kind = _KINDS.get(data[1])
    if kind is None:
        raise JournalError(
            f"a mark of kind {data[1]} in the dead-letter topic, which this release does not know: use a newer one"
        )
    try:
        letter_offset, at = varint.take(data, 2)
    except ValueError as error:
        raise JournalError(f"a damaged mark in the dead-letter topic: {error}") from error
    if letter_offset > _LARGEST:
        raise JournalError("a damaged mark in the dead-letter topic: an offset of more than 63 bits")
    return LetterMark(letter_offset, data[at:], kind)
