"""Partitions, lanes and scheduler as a state machine, step by step equal to naive models.

Several partitions with holes, jumps that the map has no room for, markers at the end; three ordering modes; retries,
dead letters, withdrawals; stop, late records, revoke with and without a commit, runs that outlive their epoch, crashes,
compaction between two lives, a client that is sought back.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamq.config import Ordering
from streamq.core.lanes import KeyScheduler, Lane, LaneKey, LaneState, Run, Work
from streamq.core.offset_map import OffsetMap, decode_map, encode_map
from streamq.core.partition import PartitionState, Phase
from streamq.model.records import NextOffset, Offset, Record, TopicPartition

from .models import LaneOf, NaivePartition, budget

PROCESS = b"process0"
NUMBERS = (0, 1)
STEPS = st.sampled_from((1,) * 16 + (2, 3, 7, 25_000, 1_200_000))
"""From one record to the next: mostly neighbours; holes; jumps beyond what the map holds beside an unsettled record."""
logs = st.lists(st.tuples(STEPS, st.sampled_from((b"a", b"a", b"b", b"", None))), min_size=4, max_size=14)
picks = st.integers(0, 10**6)
OUTCOMES = ("settle", "settle", "settle", "settle", "retry", "retry", "later", "withdraw", "hold")
outcomes = st.lists(st.tuples(picks, st.sampled_from(OUTCOMES)), min_size=1, max_size=4)


class CoreMachine(RuleBasedStateMachine):
    @initialize(
        ordering=st.sampled_from(("key", "key", "partition", "none")),
        plans=st.lists(logs, min_size=len(NUMBERS), max_size=len(NUMBERS)),
    )
    def begin(self, ordering: Ordering, plans: list[list[tuple[int, bytes | None]]]) -> None:
        self.ordering: Ordering = ordering
        self.lane_of = LaneOf(ordering)
        self.logs: dict[int, list[Record]] = {}
        for number, plan in zip(NUMBERS, plans, strict=True):
            offset = -1
            log = self.logs[number] = []
            for step, key in plan:
                offset += step
                log.append(Record("t", number, Offset(offset), key, b"v" * (offset % 5)))
        self.ends = {number: log[-1].offset + 2 for number, log in self.logs.items()}  # a marker stands at the end
        self.committed = {number: OffsetMap(0, 0) for number in NUMBERS}
        self.stragglers: dict[int, dict[LaneKey, Lane]] = {number: {} for number in NUMBERS}
        self.epoch, self.now, self.steps = 0, 0.0, 0
        self.settled: set[tuple[int, int]] = set()  # ever, by any owner
        self.gone: set[tuple[int, int]] = set()  # compacted
        self.new_process()

    # Owners

    def new_process(self) -> None:
        self.scheduler = KeyScheduler()
        self.states: dict[int, PartitionState] = {}
        self.models: dict[int, NaivePartition] = {}
        self.running: list[Run] = []
        self.letters: list[Work] = []
        self.turns: dict[Lane, int] = {}
        for number in NUMBERS:
            self.stragglers[number] = {}
            self.open(number)

    def open(self, number: int) -> None:
        self.epoch += 1
        committed = self.committed[number]
        self.states[number] = PartitionState(
            TopicPartition("t", number), self.epoch, self.scheduler, NextOffset(committed.base),
            ordering=self.ordering, restored=committed, blocked=tuple(self.stragglers[number]),
        )  # fmt: skip
        self.models[number] = NaivePartition(committed)
        self.letters = [work for work in self.letters if work.record.partition != number]

    # What comes in

    @rule(number=st.sampled_from(NUMBERS), most=st.integers(2, 6), back=st.integers(0, 3))
    def receive(self, number: int, most: int, back: int) -> None:
        """The next records; with some again that were polled before, as after a seek."""
        model, log = self.models[number], self.logs[number]
        first = sum(one.offset < model.polled for one in log)
        batch = log[max(0, first - back) : first + most]
        self.states[number].receive(batch)
        for record in batch:
            model.receive(record)
        if first + most >= len(log):
            self.reach(number, self.ends[number])

    @rule(number=st.sampled_from(NUMBERS), ahead=st.integers(0, 5))
    def pass_over(self, number: int, ahead: int) -> None:
        """Reading says how far it has got, up to the next record at most: a hole, or a record that is left out."""
        model = self.models[number]
        unread = [one.offset for one in self.logs[number] if one.offset >= model.polled]
        self.reach(number, min(model.polled + ahead, min(unread, default=self.ends[number])))

    def reach(self, number: int, next_offset: int) -> None:
        self.states[number].reach(NextOffset(next_offset))
        self.models[number].reach(next_offset)

    # What runs

    @rule(most=st.integers(0, 5), longest=st.integers(1, 3))
    def take(self, most: int, longest: int = 1) -> None:
        runs = self.scheduler.take(most, longest)
        assert sum(len(run.works) for run in runs) <= most
        for run in runs:
            assert len(run.works) <= longest
            self.started(run)

    def started(self, run: Run) -> None:
        first = run.works[0]
        number = first.record.partition
        model, state, lane = self.models[number], self.states[number], self.lane_of(first.record)
        assert run.lane.partition is state
        assert state.phase is Phase.OPEN
        offsets = [work.record.offset for work in run.works]
        assert model.lanes(self.lane_of)[lane][: len(offsets)] == offsets, "none left out, nothing before it unsettled"
        for other in [*(one.works[0] for one in self.running), *self.letters]:
            assert (other.record.partition, self.lane_of(other.record)) != (number, lane), "no overlap"
        assert lane not in self.stragglers[number], "nor with what runs on of an earlier epoch"
        done = model.committed
        for work, offset in zip(run.works, offsets, strict=True):
            assert work.attempt == model.attempts.get(offset, 1)
            assert offset >= done.end or offset in done.unsettled, "what the map calls settled is not redone"
        self.running.append(run)
        self.turns.pop(run.lane, None)
        for waiting in self.turns:
            self.turns[waiting] -= 1

    @rule(most=st.integers(1, 6), outcomes=outcomes)
    def work(self, most: int, outcomes: list[tuple[int, str]]) -> None:
        """Some start, and of all that run some come back, in any order."""
        self.pass_time(1)
        self.every_lane_gets_its_turn()
        self.take(most, 1 + most % 3)
        for pick, what in outcomes:
            if self.running:
                self.go_further(pick)
                self.come_back(pick, what)
            self.every_lane_gets_its_turn()

    def go_further(self, pick: int) -> None:
        """Something of a run is done, and it goes on."""
        run = self.running[pick // 7 % len(self.running)]
        if run.done < len(run.works) - 1 and run.lane.partition.phase is not Phase.CLOSED:
            self.done(run, run.done + 1)

    def done(self, run: Run, upto: int) -> None:
        run.done = upto
        for work in run.works[run.settled : upto]:
            self.models[work.record.partition].settle(work.record.offset)
            self.settled.add((work.record.partition, work.record.offset))
        run.lane.partition.settle_done(run)

    @rule(number=st.sampled_from(NUMBERS), most=st.integers(2, 6), outcomes=outcomes)
    def go_on(self, number: int, most: int, outcomes: list[tuple[int, str]]) -> None:
        """What a worker does most of the time."""
        self.receive(number, most, 0)
        self.every_lane_gets_its_turn()
        self.work(most, outcomes)

    @rule(number=st.sampled_from(NUMBERS), outcomes=outcomes, most=st.integers(1, 3))
    def drain(self, number: int, outcomes: list[tuple[int, str]], most: int) -> None:
        """Start some, stop, and let some of it come back; a record still comes in; what is settled is committed."""
        self.take(most)
        self.states[number].stop()
        self.work(0, outcomes)
        self.receive(number, 1, 0)
        self.work(2, outcomes)
        self.equal_to_the_models()
        self.revoke(number, clean=True, compact=set())

    def come_back(self, pick: int, what: str) -> None:
        run = self.running.pop(pick % len(self.running))
        state, number = run.lane.partition, run.works[0].record.partition
        if state.phase is Phase.CLOSED:
            if self.stragglers[number].pop(run.lane.key, None) is not None:
                self.states[number].unblock(run.lane.key)
                self.front()
            return
        state.returned(len(run.works))
        if what == "settle":
            self.done(run, len(run.works))
            state.end(run)
            return
        self.done(run, max(run.done, pick // 11 % len(run.works)))
        work = run.works[run.done]
        if what == "withdraw":
            state.withdraw(work)
            self.front()
        elif what == "hold":
            state.hold(work)
            self.letters.append(work)
        else:
            self.retry(work, counts=what == "retry")

    @precondition(lambda self: self.letters)
    @rule(pick=picks, taken=st.booleans())
    def dead_letter(self, pick: int, taken: bool) -> None:
        """The dead-letter topic confirms the record, or the record is attempted once more."""
        work = self.letters.pop(pick % len(self.letters))
        if taken:
            self.settle(work)
        else:
            self.retry(work, counts=True)

    def settle(self, work: Work) -> None:
        work.lane.partition.settle(work)
        self.models[work.record.partition].settle(work.record.offset)
        self.settled.add((work.record.partition, work.record.offset))

    def retry(self, work: Work, *, counts: bool) -> None:
        work.lane.partition.retry(work, self.now + work.record.offset % 7, counts=counts)
        if counts:
            attempts = self.models[work.record.partition].attempts
            attempts[work.record.offset] = attempts.get(work.record.offset, 1) + 1

    @rule(seconds=st.integers(0, 8))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        due = self.scheduler.next_due
        woken = self.scheduler.wake(self.now)
        assert (woken > 0) == (due is not None and due <= self.now)
        assert self.scheduler.next_due is None or self.scheduler.next_due > self.now

    # Owners come and go

    def seldom(self) -> bool:
        """A life needs some steps for much to happen in it."""
        return self.steps % 8 == 7

    @rule(number=st.sampled_from(NUMBERS))
    def commit(self, number: int) -> None:
        if self.states[number].phase is not Phase.CLOSED:
            self.committed[number] = self.through_the_wire(number)

    def through_the_wire(self, number: int) -> OffsetMap:
        state, model = self.states[number], self.models[number]
        found = decode_map(encode_map(state.snapshot(PROCESS)))
        assert found is not None
        assert found.base == model.tracker.next_offset
        assert found.base >= self.committed[number].base, "never backwards"
        assert list(found.unsettled) == model.tracker.named
        assert found.attempts == {at: n for at, n in model.attempts.items() if at >= found.base}
        return found

    @precondition(lambda self: self.seldom())
    @rule(number=st.sampled_from(NUMBERS), clean=st.booleans(), compact=st.sets(st.integers(0, 13), max_size=3))
    def revoke(self, number: int, clean: bool, compact: set[int]) -> None:
        """The partition goes, and comes back to this process; the log may have been compacted meanwhile."""
        state = self.states[number]
        if clean:
            state.stop()
            self.commit(number)
        left = state.close()
        assert {id(lane) for lane in left} == {id(run.lane) for run in self.running if run.lane.partition is state}
        self.stragglers[number].update((lane.key, lane) for lane in left)
        self.compact(number, compact)
        self.open(number)

    @precondition(lambda self: self.seldom())
    @rule(compact=st.sets(st.integers(0, 13), max_size=3))
    def crash(self, compact: set[int]) -> None:
        self.compact(0, compact)
        self.new_process()

    def compact(self, number: int, places: set[int]) -> None:
        log = self.logs[number]
        self.gone |= {(number, one.offset) for place, one in enumerate(log) if place in places}
        self.logs[number] = [one for place, one in enumerate(log) if place not in places]

    # What holds after each step

    @invariant()
    def equal_to_the_models(self) -> None:
        self.steps += 1
        for number, state in self.states.items():
            model = self.models[number]
            assert state.tracker.next_offset == model.tracker.next_offset
            assert state.tracker.unsettled == len(model.tracker.unsettled)
            assert list(state.snapshot(PROCESS).unsettled) == model.tracker.named
            assert state.position == model.polled
            assert (state.count, state.bytes, state.held) == (model.count, model.size_bytes, len(model.held))
            assert state.running == sum(len(run.works) for run in self.running if run.lane.partition is state)
            assert state.attempts == model.attempts
            queued = {key: [work.record.offset for work in lane.queue] for key, lane in state.lanes.items()}
            assert {key: offsets for key, offsets in queued.items() if offsets} == model.lanes(self.lane_of)
        lanes = [lane for state in self.states.values() if state.open for lane in state.lanes.values()]
        assert all(lane.queue for lane in lanes), "an empty lane is forgotten"
        assert self.scheduler.waiting == sum(lane.state is LaneState.WAITING for lane in lanes)
        assert self.scheduler.ready == sum(lane.state is LaneState.READY for lane in lanes)

    def front(self) -> None:
        """A lane came in before the others."""
        for lane in self.turns:
            self.turns[lane] += 1

    @invariant()
    def every_lane_gets_its_turn(self) -> None:
        """A lane that became ready starts after at most as many others as were ready then, and those put in front."""
        lanes = [lane for state in self.states.values() if state.open for lane in state.lanes.values()]
        ready = [lane for lane in lanes if lane.state is LaneState.READY]
        self.turns = {lane: self.turns.get(lane, len(ready) - 1) for lane in ready}
        assert all(left >= 0 for left in self.turns.values())

    # No more faults: everything comes to its end

    def teardown(self) -> None:
        if not hasattr(self, "states"):
            return
        for _ in range(200):
            if all(state.tracker.next_offset == self.ends[number] for number, state in self.states.items()):
                break
            self.work_off()
        for number, state in self.states.items():
            assert state.tracker.next_offset == self.ends[number]
            assert not state.lanes
            assert not state.count
        written = {(number, one.offset) for number, log in self.logs.items() for one in log}
        assert not written - self.settled - self.gone, "nothing is lost"

    def work_off(self) -> None:
        for number in NUMBERS:
            self.receive(number, 100, 0)
        self.pass_time(8)
        self.every_lane_gets_its_turn()
        self.take(100)
        while self.running:
            self.come_back(0, "settle")
        while self.letters:
            self.dead_letter(0, taken=True)
        self.equal_to_the_models()


TestCoreMachine = CoreMachine.TestCase
TestCoreMachine.settings = budget(150, steps=60)
