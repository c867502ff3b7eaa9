"""What a request names survives the journal; what is damaged or unknown is told apart from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq.core.journal_records import Request
from streamq.core.journal_records import decode as decode_record
from streamq.core.journal_records import encode as encode_record
from streamq.core.request_parameters import (
    Edit,
    KeyLetters,
    Parameters,
    Purge,
    Redrive,
    Release,
    decode,
    encode,
    keys_of,
    kind_of,
    request_of,
)

offsets = st.lists(st.integers(0, 2**62), unique=True, max_size=8).map(lambda found: tuple(sorted(found)))
keys = st.binary(max_size=8)
redrives = st.builds(
    Redrive,
    st.lists(st.builds(KeyLetters, st.none() | keys, offsets), max_size=4).map(tuple),
    st.none() | st.integers(0, 2**62),
    st.lists(st.builds(Edit, st.integers(0, 2**62), st.none() | keys), max_size=3).map(tuple),
)
parameters = st.one_of(redrives, st.builds(Purge, offsets), st.builds(Release, st.lists(keys, max_size=4).map(tuple)))


@given(parameters, st.integers(0, 100))
def test_a_request_survives_the_journal(asked: Parameters, partition: int) -> None:
    request = request_of(asked, partition)
    payload = encode_record(request)
    read = decode_record(payload.key, payload.value, payload.headers, 0)
    assert isinstance(read, Request)
    assert read == request
    assert decode(read.kind, read.parameters) == asked
    assert read.kind == kind_of(asked)


@given(st.sampled_from(["redrive", "purge", "release", "other"]), st.binary(max_size=40))
def test_whatever_the_bytes_are_they_are_understood_or_refused(kind: str, data: bytes) -> None:
    try:
        found = decode(kind, data)
    except ValueError:
        return
    assert decode(kind, encode(found)) == found


@given(parameters, st.data())
def test_what_ends_too_early_or_too_late_is_refused(asked: Parameters, data: st.DataObject) -> None:
    whole = encode(asked)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for damaged in (whole[:cut], whole + b"\0"):
        with pytest.raises(ValueError, match=r"version|end|announced"):
            decode(kind_of(asked), damaged)


def test_another_version_or_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="a request of version 2, this release knows 1"):
        decode("purge", b"\x02\0")
    with pytest.raises(ValueError, match="kind 'dance', which this release does not know"):
        decode("dance", b"\x01")


def test_the_same_asked_again_is_the_same_request_and_anything_else_is_another() -> None:
    purge = Purge((1, 2))
    assert request_of(purge, 0).request_id == request_of(purge, 0).request_id
    others = [
        request_of(purge, 1),
        request_of(Purge((1, 3)), 0),
        request_of(Release((b"",)), 0),
        request_of(purge, 0, b"n"),
    ]
    assert len({request_of(purge, 0).request_id, *(one.request_id for one in others)}) == 5


def test_only_what_has_a_key_can_be_held() -> None:
    assert keys_of([KeyLetters(b"a", (1,)), KeyLetters(None, (2,)), KeyLetters(b"", (3,))]) == {b"a", b""}


def test_many_letters_take_little_room() -> None:
    assert len(encode(Redrive((KeyLetters(b"customer-17", tuple(range(100_000, 101_000))),)))) < 1_030
