"""The journal's codec: whatever is written is read back, and nothing else is taken for a journal record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq.core.journal_records import (
    Entry,
    JournalRecord,
    KeyState,
    Request,
    Settled,
    Wait,
    Waits,
    decode,
    encode,
)
from streamq.model.errors import JournalError
from streamq.model.headers import JOURNAL
from streamq.model.records import Headers

numbers = st.integers(0, 2**63 - 1)
maybe = st.none() | st.binary(max_size=20)
names = st.text(max_size=8) | st.just(JOURNAL)
headers = st.lists(st.tuples(names, maybe), max_size=4).map(tuple)
places = st.sets(numbers, max_size=30).map(sorted).map(tuple)

entries = st.builds(
    Entry,
    key=maybe,
    value=maybe,
    headers=headers,
    timestamp_ms=numbers,
    topic_id=st.binary(min_size=16, max_size=16),
    incarnation=st.integers(0, 300),
    offset=numbers,
    attempts=st.integers(1, 2**31),
    next_at_ms=numbers,
)
waits = st.dictionaries(numbers, st.tuples(st.integers(1, 999), numbers), max_size=20).map(
    lambda found: Waits(tuple(Wait(place, *found[place]) for place in sorted(found)))
)
states = st.builds(
    KeyState,
    key=st.binary(max_size=20),
    kind=st.sampled_from(("cleared", "chained", "held", "redriving")),
    request_id=st.binary(max_size=16),
)
requests = st.builds(
    Request,
    st.binary(max_size=16),
    st.text(max_size=12),
    st.binary(max_size=40),
    st.none() | st.integers(0, 2**62),
)
records: st.SearchStrategy[JournalRecord] = entries | st.builds(Settled, places) | waits | states | requests


def through(record: JournalRecord) -> JournalRecord:
    written = encode(record)
    return decode(written.key, written.value, written.headers, written.timestamp_ms or 0)


@given(records)
def test_what_is_written_is_read_back(record: JournalRecord) -> None:
    assert through(record) == record


@given(entries)
def test_an_entry_carries_the_users_record_unchanged(entry: Entry) -> None:
    written = encode(entry)
    assert (written.key, written.value, written.timestamp_ms) == (entry.key, entry.value, entry.timestamp_ms)
    assert written.headers[:-1] == entry.headers
    assert written.headers[-1][0] == JOURNAL


@given(maybe, maybe, headers, maybe, st.booleans())
def test_garbage_is_refused_or_read_but_raises_nothing_else(
    key: bytes | None, value: bytes | None, before: Headers, data: bytes | None, ours: bool
) -> None:
    name = JOURNAL if ours else "other"
    try:
        found = decode(key, value, (*before, (name, data)), 0)
    except JournalError:
        return
    assert ours
    assert found is not None


@given(records, st.data())
def test_damage_is_refused_or_read_but_raises_nothing_else(record: JournalRecord, data: st.DataObject) -> None:
    written = encode(record)
    body = bytearray(written.headers[-1][1] or b"")
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    try:
        decode(written.key, written.value, ((JOURNAL, bytes(body[:cut])),), 0)
    except JournalError as error:
        assert str(error)


@pytest.mark.parametrize("head", [b"\x02\x01", b"\x00\x02", b"\x01\x00", b"\x01\x06", b"\x01\x07", b"\x01", b""])
def test_an_unknown_version_or_type_is_never_skipped(head: bytes) -> None:
    with pytest.raises(JournalError):
        decode(None, None, ((JOURNAL, head),), 0)


def test_the_header_stays_small() -> None:
    """It stands beside every parked record."""
    entry = Entry(b"k", b"v", (), 0, bytes(16), 0, 5_000_000_000, 3, 1_790_000_000_000)
    assert len(encode(entry).headers[-1][1] or b"") == 40
