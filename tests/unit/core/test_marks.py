"""Marks of dead letters: what is written is read, what is damaged is refused, and a letter is never taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq.core.marks import LetterMark, MarkKind, decode_mark, encode_mark
from streamq.model.errors import JournalError
from streamq.model.headers import MARK, REASON

REQUEST = bytes(range(16))
KINDS: tuple[MarkKind, ...] = ("redriven", "purged")


@given(st.integers(0, 2**63 - 1), st.binary(max_size=40), st.sampled_from(KINDS))
def test_what_is_written_is_read(offset: int, request_id: bytes, kind: MarkKind) -> None:
    mark = LetterMark(offset, request_id, kind)
    assert decode_mark(encode_mark(mark)) == mark


def test_the_layout_is_fixed() -> None:
    assert encode_mark(LetterMark(300, b"id")) == (("streamq.mark", b"\x01\x01\xac\x02id"),)
    assert encode_mark(LetterMark(5, b"", "purged")) == (("streamq.mark", b"\x01\x02\x05"),)


@given(st.binary(max_size=30))
def test_bytes_of_any_kind_are_a_mark_or_refused(data: bytes) -> None:
    try:
        mark = decode_mark(((MARK, data),))
    except JournalError:
        return
    assert mark is not None
    assert 0 <= mark.letter_offset < 2**63


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "ends within its head"),
        (b"\x01", "ends within its head"),
        (b"\x02\x01\x00", "a mark of version 2 in the dead-letter topic, this release knows 1: use a newer one"),
        (b"\x01\x09\x00", "a mark of kind 9 in the dead-letter topic, which this release does not know"),
        (b"\x01\x01", "the bytes end within a number"),
        (b"\x01\x01" + b"\xff" * 9 + b"\x01", "an offset of more than 63 bits"),
    ],
)
def test_what_cannot_be_read_is_told(data: bytes | None, message: str) -> None:
    with pytest.raises(JournalError, match=message):
        decode_mark(((MARK, data),))


def test_a_letter_is_no_mark_whatever_headers_its_record_had() -> None:
    own = encode_mark(LetterMark(3, REQUEST))
    assert decode_mark((*own, (REASON, b"attempts"))) is None
    assert decode_mark((("user", None),)) is None
    assert decode_mark(()) is None


@pytest.mark.parametrize("offset", [-1, 2**63])
def test_an_offset_that_no_letter_has_is_refused(offset: int) -> None:
    with pytest.raises(ValueError, match="letter_offset is "):
        encode_mark(LetterMark(offset, REQUEST))
