"""The heads of parked lanes: entries of the journal that are due, their payloads, and what comes of their attempts.

They start through the same `KeyScheduler` as the source's records; a key has a lane here or runs from the source,
never both (`ParkedLanes` sees to it). A lane is here from the moment its head is due until that head has its outcome.
"""

from __future__ import annotations

from streamq.core.journal_batch import ParkPolicy
from streamq.core.journal_index import JournalIndex
from streamq.core.journal_records import Entry, Wait
from streamq.core.lanes import HELD, RUNNING, WAITING, Lane, LaneKey, Run, Work
from streamq.core.partition import PartitionState, Phase
from streamq.core.payload_window import PayloadWindow, size_of
from streamq.model.errors import InvariantError
from streamq.model.records import Offset, Record, TopicPartition


class ParkedWork(Work, eq=False, gc=True):
    """An entry on its way through a worker. Its record shows the source's coordinates; `place` is the journal's."""

    place: int


class ParkedHeads:
    """What runs of one journal partition. Belongs to the owner thread; `open` alone is read by others."""

    def __init__(self, state: PartitionState, index: JournalIndex, policy: ParkPolicy) -> None:
        self._state = state
        self._index = index
        self._policy = policy
        self.running = 0
        self.window = PayloadWindow(policy.window_records, policy.window_bytes)
        self.lanes: dict[LaneKey, Lane] = {}
        self.pending: list[int] = []
        """Places that are settled and not yet written as settled, in the order in which that came."""
        self.waits: dict[int, Wait] = {}
        """New attempts and times, not yet written."""
        self.emptied: list[LaneKey] = []
        """Lanes whose last entry was settled."""
        self._missing: dict[int, LaneKey] = {}
        self._now, self._now_ms = 0.0, 0

    # What the scheduler and the executors ask of the owner of a lane

    @property
    def partition(self) -> TopicPartition:
        """The source partition."""
        return self._state.partition

    @property
    def epoch(self) -> int:
        """The source partition's epoch."""
        return self._state.epoch

    @property
    def phase(self) -> Phase:
        """The source partition's phase."""
        return self._state.phase

    @property
    def open(self) -> bool:
        """Whether anything may start."""
        return self._state.open

    # Turns

    def advance(self, now: float, now_ms: int) -> None:
        """Hand what is due to the scheduler, as far as its payloads are here; ask for the others. `now` is the
        monotonic clock's time, `now_ms` the wall clock's."""
        self._now, self._now_ms = now, now_ms
        if not self.open:
            return
        room = max(1, self._policy.window_records // self._policy.ahead) - len(self.lanes) - len(self._missing)
        while room > 0 and (self.window.room or not (self.lanes or self._missing)):
            due = self._index.due(now_ms, 1)
            if not due:
                return
            self._bring(due[0])
            room -= 1

    def _bring(self, key: LaneKey) -> None:
        head, *others = self._index.first(key, self._policy.ahead)
        entry = self.window.demand(head)
        if entry is None:
            self._missing[head] = key
        else:
            self._start(key, head, entry)
        for place in others:
            self.window.want(place)

    def _start(self, key: LaneKey, place: int, entry: Entry) -> None:
        known = self._index.entry(place)
        if known is None:
            raise InvariantError(f"{self.partition}: place {place} of the journal is to run and is settled")
        lane = self.lanes[key] = Lane(key, self)
        lane.queue.append(ParkedWork(self.record(entry), lane, known.attempts, size_of(entry), place))
        self._state.scheduler.add(lane)

    def record(self, entry: Entry) -> Record:
        """The source's record, as it was."""
        topic, partition = self.partition
        offset = Offset(entry.offset)
        return Record(topic, partition, offset, entry.key, entry.value, entry.headers, entry.timestamp_ms)

    def offer(self, place: int, entry: Entry, *, keep: bool = False) -> None:
        """The payload of a live entry has come by: it was asked for, or read anyway, or (`keep`) nobody can read it
        yet."""
        key = self._missing.pop(place, None) if self.open else None
        self.window.offer(place, entry, needed=keep or key is not None)
        if key is not None:
            self._start(key, place, entry)

    def passed(self, place: int, entry: Entry) -> None:
        """An entry that this owner appended can be read by now: its payload need not be kept for that."""
        self.offer(place, entry)
        if not self._at_turn(place):
            self.window.release(place)

    def _at_turn(self, place: int) -> bool:
        """Whether the entry has a lane here: its payload is needed."""
        known = self._index.entry(place)
        lane = None if known is None else self.lanes.get(known.lane)
        return lane is not None and bool(lane.queue) and self._index.head(lane.key) == place

    def withhold(self, key: LaneKey) -> bool:
        """Nothing of the lane is to start until `give_back`. False while its head runs: ask again."""
        lane = self.lanes.get(key)
        if lane is not None:
            if lane.state is RUNNING:
                return False
            self._state.scheduler.take_out(lane)
            del self.lanes[key]
        head = self._index.head(key)
        if head is not None:
            self._missing.pop(head, None)
            self.window.release(head)
        self._index.take_out(key)
        return True

    def give_back(self, key: LaneKey) -> None:
        """The lane's head may be due again. Idempotent."""
        if key not in self.lanes and self._index.head(key) not in self._missing:
            self._index.put_back(key)

    # What came of an attempt

    def returned(self, works: int = 1) -> None:
        """A head came back from the executor, with whatever outcome."""
        self.running -= works

    def settle_done(self, run: Run) -> None:
        """If the head is done, it is settled: a run is of one entry here."""
        if run.done > run.settled:
            run.settled = run.done
            self.settle(run.works[0])

    def end(self, run: Run) -> None:
        """The turn of the key's next entry comes when it is due."""

    def settle(self, work: Work) -> None:
        """It is done: the key's next entry may run. The journal hears of it with the next transaction."""
        place = self._expect(work, work.lane.state is RUNNING or work.lane.state is HELD)
        self.pending.append(place)
        self.settled(place, goes_on=True)

    def settled(self, place: int, *, goes_on: bool = False) -> None:
        """The entry at a place is settled: forget it. `goes_on`: the lane may keep its turn."""
        key = self._index.settle(place)
        self.waits.pop(place, None)
        self.window.forget(place)
        if key is None:
            return
        # A lane that is withheld stays so.
        if self.lanes.pop(key, None) is not None and not (goes_on and self._go_on(key)):
            self._index.put_back(key)
        if key not in self._index:
            self.emptied.append(key)

    def _go_on(self, key: LaneKey) -> bool:
        """A lane keeps its turn as long as what was read ahead for it is here: with many lanes it would make way before
        the next turn, and be read again and again."""
        head = self._index.head(key)
        known = None if head is None else self._index.entry(head)
        if not self.open or known is None or known.next_at_ms > self._now_ms or self.window.get(known.place) is None:
            return False
        entry = self.window.demand(known.place)
        if entry is not None:
            self._start(key, known.place, entry)
        return entry is not None

    def retry(self, work: Work, due_at: float, *, counts: bool = True) -> None:
        """It is to be attempted again at `due_at`; `counts` says whether the attempt that failed is counted."""
        place = self._expect(work, work.lane.state is RUNNING or work.lane.state is HELD)
        wait_s = max(0.0, due_at - self._now)
        wait = Wait(place, work.attempt + counts, self._now_ms + int(wait_s * 1000))
        self.waits[place] = wait
        self._index.wait(wait)
        self.window.release(place)
        if wait_s > self._policy.park_after_s:
            self.window.forget(place)
        del self.lanes[work.lane.key]
        self._index.put_back(work.lane.key)

    def hold(self, work: Work) -> None:
        """It is given up and its dead letter is under way: the key waits."""
        self._expect(work, work.lane.state is RUNNING)
        self._state.scheduler.hold(work.lane)

    def withdraw(self, work: Work) -> None:
        """It was handed out and did not start: first in turn again."""
        self._expect(work, work.lane.state is RUNNING)
        if self.open:
            self._state.scheduler.free(work.lane)
        else:
            work.lane.state = WAITING

    def _expect(self, work: Work, legal: bool) -> int:
        lane = work.lane
        known = isinstance(work, ParkedWork) and self.lanes.get(lane.key) is lane and lane.queue[0] is work
        if not (legal and known) or self.phase is Phase.CLOSED or not isinstance(work, ParkedWork):
            raise InvariantError(
                f"{self.partition} offset {work.record.offset} in epoch {self.epoch} ({self.phase.value}): "
                f"an outcome for an entry that is not the running head of its lane ({lane.state.value})"
            )
        return work.place
