"""The tracker against a naive model: a dict from offset to state."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamq.core.offset_map import OffsetMap, decode_map, encode_map
from streamq.core.tracker import OffsetTracker
from streamq.model.errors import InvariantError
from streamq.model.records import NextOffset, Offset

PROCESS = b"process0"


class NaivePartition:
    """What one life of an owner knows of a partition, kept the slow way."""

    def __init__(self, base: int, settled_before: set[int]) -> None:
        self.base = base
        self.settled_before = settled_before  # by earlier lives, as the committed map said
        self.received: list[int] = []
        self.settled: set[int] = set()
        self.polled = base

    @property
    def next_offset(self) -> int:
        unsettled = [offset for offset in self.received if offset not in self.settled]
        return min(unsettled, default=self.polled)


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_lives_of_a_partition(seed: int) -> None:
    """Receive with holes, settle in any order, reach the end, commit, crash, restore: the committed offset is never
    above an unsettled record, nothing committed as settled is received again, and everything ends settled."""
    rnd = random.Random(seed)
    log = sorted(rnd.sample(range(300), rnd.randint(1, 120)))
    end = log[-1] + rnd.randint(1, 4)  # a marker or a hole may stand at the end
    ever_settled: set[int] = set()
    committed = OffsetMap(0, 0)
    for _ in range(rnd.randint(1, 5)):
        if rnd.random() < 0.3:  # compaction between two lives: settled or not, these are no more
            gone = {offset for offset in log if rnd.random() < 0.1}
            log = [offset for offset in log if offset not in gone]
            ever_settled |= gone
        committed = _one_life(rnd, log, end, committed, ever_settled, last=False)
    committed = _one_life(rnd, log, end, committed, ever_settled, last=True)
    assert committed.base == end
    assert set(log) <= ever_settled


def _one_life(
    rnd: random.Random, log: list[int], end: int, committed: OffsetMap, ever_settled: set[int], *, last: bool
) -> OffsetMap:
    tracker = OffsetTracker(NextOffset(committed.base), committed)
    known = {offset for offset in range(committed.base, committed.end) if offset not in set(committed.unsettled)}
    unread = [offset for offset in log if offset >= committed.base]
    unsettled: list[int] = []
    best = committed
    steps = 10_000 if last else rnd.randint(0, 150)
    for _ in range(steps):
        if unread and rnd.random() < 0.5:
            offset = unread.pop(0)
            fresh = tracker.register(Offset(offset))
            assert fresh == (offset not in known), "what the map calls settled is not received, all else is"
            if fresh:
                unsettled.append(offset)
        elif unsettled:
            offset = unsettled.pop(rnd.randrange(len(unsettled)))
            tracker.settle(Offset(offset))
            ever_settled.add(offset)
            now = tracker.snapshot({}, process=PROCESS)
            assert offset < now.base or (offset < now.end and offset not in now.unsettled), (
                "finished work is on the map"
            )
        elif not unread:
            tracker.reach(NextOffset(end))
            break
        _check(tracker, log, committed, unread, unsettled, known)
        if rnd.random() < 0.2:
            best = _through_the_wire(tracker)
    return _through_the_wire(tracker) if last else best


def _check(
    tracker: OffsetTracker,
    log: list[int],
    committed: OffsetMap,
    unread: list[int],
    unsettled: list[int],
    known: set[int],
) -> None:
    waiting = set(unsettled) | {offset for offset in unread if offset not in known}
    assert tracker.next_offset <= min(waiting, default=tracker.next_offset), "never above what is not settled"
    snapshot = tracker.snapshot({}, process=PROCESS)
    assert snapshot.base == tracker.next_offset
    named = set(snapshot.unsettled)
    for offset in log:
        if snapshot.base <= offset < snapshot.end:
            assert (offset in named) == (offset in waiting), offset
    assert snapshot.end == snapshot.base or snapshot.base in named


def _through_the_wire(tracker: OffsetTracker) -> OffsetMap:
    found = decode_map(encode_map(tracker.snapshot({}, process=PROCESS)))
    assert found is not None
    return found


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_the_watermark_equals_the_naive_models(seed: int) -> None:
    rnd = random.Random(seed)
    base = rnd.randrange(50)
    tracker, model = OffsetTracker(NextOffset(base)), NaivePartition(base, set())
    offset = base
    for _ in range(200):
        what = rnd.random()
        if what < 0.45:
            offset += rnd.choice((0, 0, 0, 1, 5))
            assert tracker.register(Offset(offset))
            model.received.append(offset)
            offset += 1
            model.polled = offset
        elif what < 0.55:
            offset += rnd.randint(0, 3)
            tracker.reach(NextOffset(offset))
            model.polled = offset
        else:
            open_ = [one for one in model.received if one not in model.settled]
            if open_:
                one = rnd.choice(open_)
                tracker.settle(Offset(one))
                model.settled.add(one)
        assert tracker.next_offset == model.next_offset
        assert tracker.unsettled == len(model.received) - len(model.settled)


def test_settling_what_is_not_unsettled_is_a_bug_that_stops_the_worker() -> None:
    tracker = OffsetTracker(NextOffset(5))
    tracker.register(Offset(5))
    tracker.settle(Offset(5))
    with pytest.raises(InvariantError, match="offset 5 is settled, but it is not unsettled"):
        tracker.settle(Offset(5))


def test_a_map_of_another_offset_is_not_used() -> None:
    tracker = OffsetTracker(NextOffset(7), OffsetMap(5, 9, (5,)))
    assert tracker.register(Offset(7))
    assert tracker.register(Offset(8))
