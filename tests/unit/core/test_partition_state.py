"""One partition-epoch by example: what its states allow."""

from __future__ import annotations

import pytest

from streamq.core.lanes import KeyScheduler
from streamq.core.partition import PartitionState
from streamq.model.errors import InvariantError
from streamq.model.records import NextOffset, Offset, Record, TopicPartition

from .models import heads

FAR = 2_000_000
"""So far from an unsettled record that the commit's map has no room for it."""


def record(offset: int, key: bytes | None = b"k") -> Record:
    return Record("t", 0, Offset(offset), key, b"v")


def open_state() -> tuple[KeyScheduler, PartitionState]:
    scheduler = KeyScheduler()
    return scheduler, PartitionState(TopicPartition("t", 0), 1, scheduler, NextOffset(0))


def test_what_waited_for_room_in_the_map_does_not_start_when_the_partition_stops() -> None:
    """A revoke lets what runs end. Its end makes room in the map; what waited for it is the next owner's."""
    scheduler, state = open_state()
    state.receive([record(0)])
    [work] = heads(scheduler, 1)
    state.receive([record(FAR, b"far")])
    assert state.held == 1
    state.stop()
    state.returned()
    state.settle(work)
    assert heads(scheduler, 9) == []
    assert state.snapshot(b"process0").base <= FAR, "it is not settled"


@pytest.mark.parametrize("key", [b"k", b"new", None])
def test_what_is_received_after_the_stop_does_not_start_and_is_not_committed(key: bytes | None) -> None:
    """A drain polls on, so that a rebalance does not wait for it; a record may still come in."""
    scheduler, state = open_state()
    state.receive([record(0)])
    [work] = heads(scheduler, 1)
    state.stop()
    state.receive([record(1, key)])
    state.reach(NextOffset(2))
    state.returned()
    state.settle(work)
    assert heads(scheduler, 9) == []
    assert scheduler.ready == 0
    assert state.tracker.next_offset == 1


def test_a_key_that_a_run_of_an_earlier_epoch_occupies_waits_until_it_ends() -> None:
    scheduler = KeyScheduler()
    state = PartitionState(TopicPartition("t", 0), 2, scheduler, NextOffset(0), blocked=(b"k",))
    state.receive([record(0), record(1, b"other")])
    [other] = heads(scheduler, 9)
    assert other.record.offset == 1
    state.unblock(b"not blocked")
    assert heads(scheduler, 9) == []
    state.unblock(b"k")
    assert [work.record.offset for work in heads(scheduler, 9)] == [0]


def test_a_key_that_is_freed_after_the_stop_does_not_start() -> None:
    scheduler = KeyScheduler()
    state = PartitionState(TopicPartition("t", 0), 2, scheduler, NextOffset(0), blocked=(b"k",))
    state.receive([record(0)])
    state.stop()
    state.unblock(b"k")
    assert heads(scheduler, 9) == []


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("backlog", [1, 2])
def test_a_second_outcome_for_a_record_is_a_bug_that_stops_the_worker(stopped: bool, backlog: int) -> None:
    scheduler, state = open_state()
    state.receive([record(offset) for offset in range(backlog)])
    [work] = heads(scheduler, 1)
    if stopped:
        state.stop()
    state.settle(work)
    for outcome in (state.settle, state.hold, state.withdraw, lambda one: state.retry(one, 0.0)):
        with pytest.raises(InvariantError, match="offset 0 in epoch 1"):
            outcome(work)


def test_an_attempt_that_does_not_count_keeps_its_number() -> None:
    scheduler, state = open_state()
    state.receive([record(0)])
    for counts, attempt in ((False, 1), (True, 2), (False, 2)):
        [work] = heads(scheduler, 1)
        state.returned()
        state.retry(work, 5.0, counts=counts)
        assert scheduler.wake(4.9) == 0
        assert scheduler.next_due == 5.0
        assert scheduler.wake(5.0) == 1
        assert work.attempt == attempt


def test_a_dead_letter_that_was_refused_can_be_attempted_again() -> None:
    scheduler, state = open_state()
    state.receive([record(0), record(1)])
    [work] = heads(scheduler, 9)
    state.returned()
    state.hold(work)
    assert heads(scheduler, 9) == []
    state.retry(work, 1.0)
    scheduler.wake(1.0)
    assert heads(scheduler, 9) == [work]


def test_what_was_withdrawn_is_first_in_turn_again() -> None:
    scheduler, state = open_state()
    state.receive([record(0, b"a"), record(1, b"b")])
    [first] = heads(scheduler, 1)
    state.returned()
    state.withdraw(first)
    assert [work.record.offset for work in heads(scheduler, 9)] == [0, 1]
