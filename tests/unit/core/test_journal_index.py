"""What the journal's index costs, and that time in one lane holds up no other."""

from __future__ import annotations

import tracemalloc

import pytest

from streamq.core.journal_index import JournalIndex
from streamq.core.journal_records import Entry
from streamq.model.errors import InvariantError

SOURCE = b"s" * 16
HOUR_MS = 3_600_000


def entry(key: bytes | None, offset: int, next_at_ms: int = 0) -> Entry:
    return Entry(key, b"v", (), 0, SOURCE, 0, offset, 1 + bool(next_at_ms), next_at_ms)


def test_a_million_entries_would_take_less_than_150_mb() -> None:
    """A tenth of it: 100,000 entries over 1,000 keys. Measured 3.4 MB, and 33 MB for the whole million."""
    keys = [b"customer-%d" % number for number in range(1_000)]
    tracemalloc.start()
    try:
        index = JournalIndex(SOURCE)
        for offset in range(100_000):
            index.know(2 * offset, entry(keys[offset % 1_000], offset))
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert index.live == 100_000
    assert kept_bytes < 6_000_000


def test_what_is_settled_is_forgotten() -> None:
    index = JournalIndex(SOURCE)
    tracemalloc.start()
    try:
        for offset in range(50_000):
            index.know(offset, entry(b"k%d" % offset, offset))
            (lane,) = index.due(0, 1)
            assert index.settle(offset) == lane
            index.put_back(lane)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (index.live, index.oldest(1), index.lane_count) == (0, [], 0)
    assert kept_bytes < 300_000


def test_an_entry_of_an_hour_holds_no_other_key() -> None:
    index = JournalIndex(SOURCE)
    index.know(0, entry(b"slow", 0, HOUR_MS))
    for offset in range(1, 101):
        index.know(offset, entry(b"k%d" % offset, offset))
    assert len(index.due(1, 1_000)) == 100
    assert index.next_due_ms() == HOUR_MS
    assert index.due(HOUR_MS - 1, 1) == []
    assert index.due(HOUR_MS, 1) == [b"slow"]


def test_lanes_take_turns() -> None:
    index = JournalIndex(SOURCE)
    for offset in range(6):
        index.know(offset, entry((b"a", b"b", b"c")[offset % 3], offset))
    seen: list[object] = []
    for _ in range(6):
        (lane,) = index.due(0, 1)
        head = index.head(lane)
        assert head is not None
        index.settle(head)
        index.put_back(lane)
        seen.append(lane)
    assert seen == [b"a", b"b", b"c"] * 2


def test_places_come_ascending() -> None:
    index = JournalIndex(SOURCE)
    index.know(4, entry(b"a", 1))
    with pytest.raises(InvariantError):
        index.know(4, entry(b"a", 2))


def test_a_place_is_not_known_twice_after_all_is_settled_and_forgotten() -> None:
    index = JournalIndex(SOURCE)
    for offset in range(3_000):
        index.know(offset, entry(b"a", offset))
    for offset in range(3_000):
        index.settle(offset)
    with pytest.raises(InvariantError):
        index.know(2_999, entry(b"a", 2_999))
    index.know(3_000, entry(b"a", 3_000))
    assert index.head(b"a") == 3_000


def test_a_record_of_a_topic_made_anew_has_a_lane_and_a_rank_of_its_own() -> None:
    """Offset 5 of the topic that was deleted and offset 5 of the one made anew are two records."""
    index = JournalIndex(SOURCE)
    former = Entry(None, b"v", (), 0, b"f" * 16, 0, 5)
    index.know(0, former)
    assert index.incarnation == 1
    index.know(1, former._replace(key=b"k", offset=9))
    index.know(2, Entry(None, b"v", (), 0, SOURCE, 1, 5))
    index.know(3, Entry(b"k", b"v", (), 0, SOURCE, 1, 2))
    assert index.lane_count == 3
    assert index.first(b"k", 9) == [1, 3]
