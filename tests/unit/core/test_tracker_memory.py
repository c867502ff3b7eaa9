"""What a tracker keeps depends on what is unsettled, never on how much went by above it."""

from __future__ import annotations

import tracemalloc

from streamq.core.tracker import OffsetTracker
from streamq.model.records import NextOffset, Offset

AWAY, INTERVAL = 300_000, 20_000
PROCESS = b"process0"


def test_a_stuck_head_keeps_nothing_of_what_is_settled_above_it() -> None:
    """One key waits a minute for its next attempt while hundreds of thousands of others are done. Kept one by one,
    their offsets take 12 MB here, and each commit walks them all."""
    tracker = OffsetTracker(NextOffset(0))
    tracker.register(Offset(0))
    tracemalloc.start()
    try:
        for offset in range(1, AWAY):
            tracker.register(Offset(offset))
            tracker.settle(Offset(offset))
            if offset % INTERVAL == 0:
                tracker.snapshot({}, process=PROCESS)
        snapshot = tracker.snapshot({}, process=PROCESS)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (snapshot.base, snapshot.end, list(snapshot.unsettled)) == (0, AWAY, [0])
    assert kept_bytes < 100_000
    tracker.settle(Offset(0))
    assert tracker.next_offset == AWAY


def test_every_other_one_unsettled_stays_named_in_order() -> None:
    tracker = OffsetTracker(NextOffset(0))
    for offset in range(10_000):
        tracker.register(Offset(offset))
    for offset in range(1, 10_000, 4):
        tracker.settle(Offset(offset))
        tracker.settle(Offset(offset + 1))
        tracker.settle(Offset(offset + 2))
    for _ in range(2):
        assert list(tracker.snapshot({}, process=PROCESS).unsettled) == list(range(0, 10_000, 4))
    for offset in range(0, 10_000, 4):
        assert tracker.next_offset == offset
        tracker.settle(Offset(offset))
    assert tracker.next_offset == 10_000
