"""The tracker where a restored map meets a log that has changed since."""

from __future__ import annotations

import pytest

from streamq.core.offset_map import OffsetMap
from streamq.core.tracker import OffsetTracker
from streamq.model.records import NextOffset, Offset


@pytest.mark.parametrize("reached", [6, 7, 8, 10, 11])
def test_an_expected_offset_that_compaction_removed_never_holds_the_commit_up(reached: int) -> None:
    """The map expects 5 and 7; 7 is a hole by now. Wherever reading says it has got to meanwhile, also exactly at the
    hole, what comes after it shows that it is gone."""
    tracker = OffsetTracker(NextOffset(5), OffsetMap(5, 10, (5, 7)))
    assert tracker.register(Offset(5))
    tracker.settle(Offset(5))
    tracker.reach(NextOffset(reached))
    assert tracker.register(Offset(12))
    tracker.settle(Offset(12))
    assert tracker.next_offset == 13
    assert tracker.unsettled == 0


def test_reaching_an_expected_offset_does_not_receive_it() -> None:
    tracker = OffsetTracker(NextOffset(5), OffsetMap(5, 10, (5, 7)))
    tracker.reach(NextOffset(7))
    assert tracker.next_offset == 7
    assert tracker.register(Offset(7))
    tracker.settle(Offset(7))
    assert tracker.next_offset == 10
