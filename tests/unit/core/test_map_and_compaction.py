"""A restored map and a log that compaction has changed since: nothing waits for a record that never comes."""

from __future__ import annotations

import pytest

from streamq.core.lanes import KeyScheduler
from streamq.core.offset_map import ANY_SPAN, WIDE_COUNT, WIDE_SPAN, OffsetMap
from streamq.core.partition import PartitionState
from streamq.model.records import NextOffset, Offset, Record, TopicPartition

from .models import heads

WIDE = tuple(range(0, WIDE_COUNT * 900, 900))
"""As many unsettled offsets as a map holds beyond 20,000."""


def record(offset: int) -> Record:
    return Record("t", 0, Offset(offset), b"key-%d" % offset, b"v")


def restored(offsets: OffsetMap) -> tuple[KeyScheduler, PartitionState]:
    scheduler = KeyScheduler()
    state = PartitionState(TopicPartition("t", 0), 1, scheduler, NextOffset(offsets.base), restored=offsets)
    return scheduler, state


def settle_all(scheduler: KeyScheduler, state: PartitionState) -> int:
    settled = 0
    while works := heads(scheduler, 100):
        for work in works:
            state.returned()
            state.settle(work)
            settled += 1
    return settled


@pytest.mark.parametrize("ahead", [ANY_SPAN, WIDE_SPAN, 3 * WIDE_SPAN])
def test_the_lowest_expected_offset_is_gone_and_the_next_record_is_far_ahead(ahead: int) -> None:
    """Nothing runs that could make room in the map by being settled, so the record must not be held for room."""
    scheduler, state = restored(OffsetMap(5, 10, (5,)))
    state.receive([record(5 + ahead)])
    state.reach(NextOffset(5 + ahead + 1))
    assert settle_all(scheduler, state) == 1
    assert state.tracker.next_offset == 5 + ahead + 1
    assert state.tracker.unsettled == 0


def test_some_of_as_many_as_a_map_holds_are_gone() -> None:
    scheduler, state = restored(OffsetMap(0, WIDE[-1] + 2, WIDE))
    there = WIDE[30:]
    state.receive([record(offset) for offset in there])
    state.reach(NextOffset(WIDE[-1] + 2))
    assert settle_all(scheduler, state) == len(there)
    assert state.tracker.next_offset == WIDE[-1] + 2


def test_what_a_full_map_names_starts_at_once() -> None:
    """The map has room for what it names already: none of it waits until another is settled."""
    scheduler, state = restored(OffsetMap(0, WIDE[-1] + 2, WIDE))
    state.receive([record(offset) for offset in WIDE])
    assert state.held == 0
    assert len(heads(scheduler, 2 * WIDE_COUNT)) == WIDE_COUNT


def test_beyond_a_full_map_a_record_still_waits_for_room() -> None:
    scheduler, state = restored(OffsetMap(0, WIDE[-1] + 2, WIDE))
    state.receive([record(offset) for offset in WIDE])
    state.receive([record(WIDE[-1] + 5)])
    assert state.held == 1
    assert settle_all(scheduler, state) == WIDE_COUNT + 1
    assert state.tracker.next_offset == WIDE[-1] + 6
