"""Partitions, lanes and scheduler as a whole, driven at random against naive bookkeeping.

Several partitions, three ordering modes, records without a key, retries, dead letters that fail, withdrawals,
revocations, crashes, runs that outlive their epoch.
"""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamq.config import Ordering
from streamq.core.lanes import KeyScheduler, Lane, LaneKey, LaneOwner, LaneState, Work
from streamq.core.offset_map import OffsetMap, decode_map, encode_map
from streamq.core.partition import PartitionState, Phase
from streamq.model.errors import InvariantError
from streamq.model.records import NextOffset, Offset, Record, TopicPartition

PROCESS = b"process0"
Place = tuple[int, int]
ORDERINGS: tuple[Ordering, ...] = ("key", "key", "key", "partition", "none")


class World:
    """Some partitions, one owner at a time, and what must hold of every start."""

    def __init__(self, seed: int) -> None:
        self.rnd = rnd = random.Random(seed)
        self.ordering: Ordering = rnd.choice(ORDERINGS)
        self.logs: dict[int, list[Record]] = {}
        for number in range(rnd.randint(1, 3)):
            offsets = sorted(rnd.sample(range(60), rnd.randint(1, 30)))
            self.logs[number] = [self._record(number, offset) for offset in offsets]
        self.committed: dict[int, OffsetMap] = {number: OffsetMap(0, 0) for number in self.logs}
        self.settled: set[Place] = set()  # ever, by any owner
        self.stragglers: dict[int, dict[LaneKey, Lane]] = defaultdict(dict)
        self.epoch = 0
        self.now = 0.0
        self.new_owner()

    def _record(self, number: int, offset: int) -> Record:
        key = self.rnd.choice((b"a", b"a", b"b", b"c", None))
        return Record("t", number, Offset(offset), key, b"v")

    def lane_of(self, record: Record) -> object:
        if self.ordering == "partition":
            return "all"
        if self.ordering == "none" or record.key is None:
            return record.offset
        return record.key

    # Owners

    def new_owner(self) -> None:
        self.scheduler = KeyScheduler()
        self.states: dict[int, PartitionState] = {}
        self.unread: dict[int, list[Record]] = {}
        self.running: list[Work] = []
        self.held: list[Work] = []
        for number in self.logs:
            self.open(number)

    def open(self, number: int) -> None:
        self.epoch += 1
        committed = self.committed[number]
        self.states[number] = PartitionState(
            TopicPartition("t", number), self.epoch, self.scheduler, NextOffset(committed.base),
            ordering=self.ordering, restored=committed, blocked=tuple(self.stragglers[number]),
        )  # fmt: skip
        self.unread[number] = [record for record in self.logs[number] if record.offset >= committed.base]

    def crash(self) -> None:
        """The process is gone, and what ran in it."""
        self.stragglers.clear()
        self.new_owner()

    def revoke(self, number: int) -> None:
        """The partition goes, cleanly or not, and comes back to this process."""
        state = self.states[number]
        state.stop()
        if self.rnd.random() < 0.5:
            self.commit(number)
        for lane in state.close():
            self.stragglers[number][lane.key] = lane
        self.held = [work for work in self.held if work.lane.partition is not state]
        self.open(number)

    # Steps

    def step(self) -> None:
        rnd = self.rnd
        what = rnd.random()
        if what < 0.3:
            self.receive()
        elif what < 0.6:
            self.take()
        elif what < 0.9:
            self.end_one()
        elif what < 0.96:
            self.commit(rnd.choice(list(self.states)))
        elif what < 0.985:
            self.revoke(rnd.choice(list(self.states)))
        else:
            self.crash()
        self.now += rnd.random()
        self.scheduler.wake(self.now)
        self.check()

    def receive(self) -> None:
        number = self.rnd.choice(list(self.states))
        count = self.rnd.randint(1, 6)
        batch, self.unread[number] = self.unread[number][:count], self.unread[number][count:]
        self.states[number].receive(batch)
        if not self.unread[number]:
            self.states[number].reach(NextOffset(self.end(number)))

    def end(self, number: int) -> int:
        return self.logs[number][-1].offset + 2  # a marker stands at the end

    def take(self) -> None:
        for run in self.scheduler.take(self.rnd.randint(1, 4)):
            work = run.works[0]
            self.started(work)
            self.running.append(work)

    def started(self, work: Work) -> None:
        record, lane = work.record, self.lane_of(work.record)
        for earlier in self.logs[record.partition]:
            if earlier.offset >= record.offset:
                break
            if self.lane_of(earlier) == lane:
                assert (earlier.partition, earlier.offset) in self.settled, f"{record} before {earlier}"
        for other in self.running:
            same = other.record.partition == record.partition and self.lane_of(other.record) == lane
            assert not same, f"{record} overlaps {other.record}"
        known = self.states[record.partition]
        assert work.lane.partition is known
        assert known.phase is Phase.OPEN

    def end_one(self) -> None:
        works = self.running + self.held
        if not works:
            return
        work = self.rnd.choice(works)
        state = work.lane.partition
        if work in self.running:
            self.running.remove(work)
            if state.phase is Phase.CLOSED:
                self.straggler_ended(work)
                return
            state.returned()
            self.outcome(state, work)
        else:
            self.held.remove(work)
            self.dead_letter(state, work)

    def outcome(self, state: LaneOwner, work: Work) -> None:
        what = self.rnd.random()
        if what < 0.6:
            self.settle(state, work)
        elif what < 0.8:
            state.retry(work, self.now + self.rnd.random(), counts=self.rnd.random() < 0.8)
        elif what < 0.9:
            state.withdraw(work)
        else:
            state.hold(work)
            self.held.append(work)

    def dead_letter(self, state: LaneOwner, work: Work) -> None:
        if self.rnd.random() < 0.7:
            self.settle(state, work)
        else:
            self.held.append(work)  # refused; it is tried again

    def settle(self, state: LaneOwner, work: Work) -> None:
        state.settle(work)
        self.settled.add((work.record.partition, work.record.offset))

    def straggler_ended(self, work: Work) -> None:
        number = work.record.partition
        if self.stragglers[number].get(work.lane.key) is work.lane:
            del self.stragglers[number][work.lane.key]
            self.states[number].unblock(work.lane.key)

    def commit(self, number: int) -> None:
        text = encode_map(self.states[number].snapshot(PROCESS))
        found = decode_map(text)
        assert found is not None
        assert found.base >= self.committed[number].base, "never backwards"
        self.committed[number] = found

    # What must hold after each step

    def check(self) -> None:
        for number, state in self.states.items():
            waiting = [one for one in self.logs[number] if (number, one.offset) not in self.settled]
            lowest = min((one.offset for one in waiting), default=self.end(number))
            assert state.tracker.next_offset <= lowest, "the watermark passed an unsettled record"
            mine = [work for lane in state.lanes.values() for work in lane.queue]
            assert state.count == len(mine) + state.held
            assert state.bytes == sum(work.record.size_bytes for work in mine)
            assert state.running == sum(work.lane.partition is state for work in self.running)
            for lane in state.lanes.values():
                assert lane.queue, "an empty lane is forgotten"
        assert self.scheduler.waiting == sum(
            lane.state is LaneState.WAITING for state in self.states.values() for lane in state.lanes.values()
        )

    def finish(self) -> None:
        """No more faults: everything comes to its end."""
        for _ in range(5_000):
            self._work_off()
            self.check()
            if all(state.tracker.next_offset == self.end(number) for number, state in self.states.items()):
                break
        lost = {(n, one.offset) for n, log in self.logs.items() for one in log} - self.settled
        assert not lost, f"lost {lost}"
        for number, state in self.states.items():
            assert state.tracker.next_offset == self.end(number)
            assert not state.lanes

    def _work_off(self) -> None:
        for number, state in self.states.items():
            state.receive(self.unread[number])
            self.unread[number] = []
            state.reach(NextOffset(self.end(number)))
        self.now += 10
        self.scheduler.wake(self.now)
        self.take()
        running, self.running = self.running, []
        for work in running:
            if work.lane.partition.phase is Phase.CLOSED:
                self.straggler_ended(work)
            else:
                work.lane.partition.returned()
                self.settle(work.lane.partition, work)
        held, self.held = self.held, []
        for work in held:
            self.settle(work.lane.partition, work)


@given(st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_order_no_overlap_nothing_lost_whatever_happens(seed: int) -> None:
    world = World(seed)
    for _ in range(world.rnd.randint(20, 250)):
        world.step()
    world.finish()


@given(st.integers(1, 40), st.integers(1, 20))
def test_every_lane_gets_its_turn(lanes: int, width: int) -> None:
    scheduler = KeyScheduler()
    state = PartitionState(TopicPartition("t", 0), 1, scheduler, NextOffset(0))
    records = [Record("t", 0, Offset(n), b"k%d" % (n % lanes), b"") for n in range(lanes * 3)]
    state.receive(records)
    started: list[bytes | None] = []
    while runs := scheduler.take(width):
        for run in runs:
            started.append(run.works[0].record.key)
            state.returned()
            state.settle(run.works[0])
    for turn in range(3):
        assert len(set(started[turn * lanes : (turn + 1) * lanes])) == lanes, "each lane once before any a second time"


def test_what_the_map_has_no_room_for_waits_and_is_not_lost() -> None:
    """A head that is stuck while a compacted topic jumps far ahead: what would not fit the map is held unstarted."""
    scheduler = KeyScheduler()
    state = PartitionState(TopicPartition("t", 0), 1, scheduler, NextOffset(0))
    state.receive([Record("t", 0, Offset(0), b"stuck", b"")])
    stuck = scheduler.take(1)[0].works[0]
    far = [Record("t", 0, Offset(2_000_000 + n), b"far", b"") for n in range(3)]
    state.receive(far)
    state.reach(NextOffset(3_000_000))
    assert (state.held, state.count, scheduler.take(9)) == (3, 4, [])
    state.returned()
    state.settle(stuck)
    assert state.held == 0
    for _ in far:
        work = scheduler.take(9)[0].works[0]
        state.returned()
        state.settle(work)
    assert state.tracker.next_offset == 3_000_000


def test_attempts_survive_a_crash() -> None:
    scheduler = KeyScheduler()
    state = PartitionState(TopicPartition("t", 0), 1, scheduler, NextOffset(0))
    state.receive([Record("t", 0, Offset(0), b"k", b"")])
    for _ in range(3):
        work = scheduler.take(1)[0].works[0]
        state.returned()
        state.retry(work, 0.0)
        scheduler.wake(1.0)
    restored = decode_map(encode_map(state.snapshot(PROCESS)))
    again = KeyScheduler()
    reborn = PartitionState(TopicPartition("t", 0), 2, again, NextOffset(0), restored=restored)
    reborn.receive([Record("t", 0, Offset(0), b"k", b"")])
    assert [run.works[0].attempt for run in again.take(1)] == [4]


def test_an_outcome_for_what_does_not_run_is_a_bug_that_stops_the_worker() -> None:
    scheduler = KeyScheduler()
    state = PartitionState(TopicPartition("t", 0), 1, scheduler, NextOffset(0))
    state.receive([Record("t", 0, Offset(offset), b"k", b"") for offset in range(2)])
    work = scheduler.take(1)[0].works[0]
    second = work.lane.queue[1]
    with pytest.raises(InvariantError, match="not the running head of its lane"):
        state.settle(second)
    state.settle(work)
    with pytest.raises(InvariantError):
        state.retry(second, 0.0)
    state.close()
    with pytest.raises(InvariantError):
        state.hold(second)
    with pytest.raises(InvariantError, match=r"closed to closed"):
        state.close()
