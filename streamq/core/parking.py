"""What is parked of one partition-epoch, beside its `PartitionState`: the journal's side of the owner.

A key is parked while the journal holds unsettled entries of it, a state holds it, or something of it is on its way
there. That is derived, never stored. The steps of the protocol (design, G4):

    receive        a journal record was read (all of them, up to the stable end, before `begin`: journal first)
    consider       a head failed: it waits in its lane, or the lane leaves, from its head on
    advance        entries whose time has come go to the scheduler; what is empty goes back to the direct path
    plan           one transaction's share: journal records, dead letters, the source's offset and map, of one moment
    committed      it took effect
    aborted        it did not: nothing has changed

Nothing here does I/O, waits, or knows the time. Belongs to the owner thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

from streamq.core.journal_batch import JournalBatch, ParkPolicy
from streamq.core.journal_index import JournalIndex
from streamq.core.journal_records import Entry, JournalRecord, KeyState, Request, Settled, Waits
from streamq.core.key_states import GivenUp, Leaving, OnDead, Standing
from streamq.core.lanes import RUNNING, WAITING, WHOLE_PARTITION, Lane, LaneKey, Work
from streamq.core.offset_map import JournalMark
from streamq.core.parked_heads import ParkedHeads, ParkedWork
from streamq.core.partition import PartitionState, Phase
from streamq.core.requests import OpenRequests
from streamq.model.errors import InvariantError, JournalError
from streamq.model.outcomes import Dead


class ParkedLanes:
    """One journal partition and its owner's decisions.

    `journal_id` and `source_id` are the topic ids of the retry and of the source topic, `process` is the random id that
    maps carry.
    """

    def __init__(
        self,
        state: PartitionState,
        *,
        journal_id: bytes,
        source_id: bytes,
        process: bytes,
        policy: ParkPolicy | None = None,
        on_dead: OnDead = "skip",
    ) -> None:
        self.state = state
        self.policy = policy or ParkPolicy()
        self.on_dead: OnDead = on_dead
        self.process = process
        self.journal_id = journal_id
        self.index = JournalIndex(source_id, state.ordering)
        self.heads = ParkedHeads(state, self.index, self.policy)
        self.requests = OpenRequests()
        self.standing: dict[LaneKey, Standing] = {}
        self.leaving: dict[LaneKey, Leaving] = {}
        self.waiting: dict[LaneKey, Leaving] = {}
        self.letters: dict[LaneKey, GivenUp] = {}
        self.excluded: dict[LaneKey, int] = {}
        self.batch: JournalBatch | None = None
        self.end = 0
        self._read = 0
        self._began = False
        self._deferred: list[tuple[int, JournalRecord]] = []

    # Reading the journal

    def receive(self, place: int, record: JournalRecord) -> None:
        """A record of the journal was read; places come ascending.

        Raises:
            JournalError: somebody else writes to the journal. Stop the partition.
        """
        if self.batch is not None:
            self._deferred.append((place, record))  # it may be this very batch's: its fate says what it means
            return
        if self._began:
            self._read_on(place, record)
        else:
            self._learn(place, record)
        self._read = max(self._read, place + 1)
        self.end = max(self.end, self._read)

    def reach(self, end: int) -> None:
        """Everything in the journal below `end` was read, was deleted, or is a marker."""
        self._read = max(self._read, end)
        self.end = max(self.end, end)

    def _learn(self, place: int, record: JournalRecord) -> None:
        match record:
            case Entry():
                self._know(place, record, keep=False)
            case Settled():
                for settled in record.places:
                    self.heads.settled(settled)
                    self.requests.settled(settled)
            case Waits():
                for wait in record.waits:
                    self.index.wait(wait)
            case KeyState():
                self._set(place, record)
            case Request():
                self.requests.learn(place, record)
            case _:
                assert_never(record)

    def _know(self, place: int, entry: Entry, *, keep: bool) -> None:
        old = self.index.know(place, entry)
        if old is not None:
            self.heads.window.forget(old)
            self.heads.waits.pop(old, None)
        self.heads.offer(place, entry, keep=keep)

    def _set(self, place: int, state: KeyState) -> None:
        if state.kind == "cleared":
            self.standing.pop(state.key, None)
        else:
            self.standing[state.key] = Standing(state, place)

    def _read_on(self, place: int, record: JournalRecord) -> None:
        """After the takeover there is nothing new but operators' requests: all else is this owner's own."""
        if isinstance(record, Request):
            twice = self.requests.add(place, record)
            if twice is not None:
                self.heads.pending.append(twice)
        elif place >= self.end:
            raise JournalError(
                f"the journal of {self.state.partition} holds a record at {place} that its owner did not write: "
                "another process takes itself for the owner"
            )
        elif isinstance(record, Entry) and self.index.entry(place) is not None:
            self.heads.passed(place, record)

    def begin(self) -> None:
        """All of the journal is known: what is parked stays, the rest of the partition may run."""
        self._began = True
        self.heads.emptied.clear()
        self.heads.pending.extend(self.requests.superseded())
        for key in [key for key in self.index.lanes() if isinstance(key, bytes) or key == WHOLE_PARTITION]:
            self.reconcile(key)
        for key in self.standing:
            self.reconcile(key)
        for key in self.state.blocked:
            self.heads.withhold(key)

    def wanted(self) -> Sequence[int]:
        """Places whose payloads are needed and not here, ascending: read them again, and `offer` them."""
        return self.heads.window.wanted()

    def offer(self, place: int, entry: Entry) -> None:
        """What was wanted has been read."""
        if self.index.entry(place) is None:
            self.heads.window.forget(place)
        else:
            self.heads.offer(place, entry)

    # What is parked

    def parked(self, key: LaneKey) -> bool:
        """Whether the key's source records do not run from their lane."""
        return (
            key in self.index
            or key in self.standing
            or key in self.leaving
            or key in self.letters
            or key in self.requests.stopping
            or (self.batch is not None and any(taken.lane.key == key for taken in self.batch.taken))
        )

    def runnable(self, key: LaneKey) -> bool:
        """Whether the key's entries may run."""
        return not (
            key in self.standing
            or key in self.requests.stopping
            or key in self.state.blocked
            or (self.batch is not None and key in self.batch.moved)
        )

    def reconcile(self, key: LaneKey) -> None:
        """Make lane and entries of a key what they are to be by what is parked now."""
        may_come = isinstance(key, bytes) or key == WHOLE_PARTITION or key in self.state.lanes
        if may_come and self.parked(key):
            self.state.park(key)
        else:
            self.state.unpark(key)
        if self.runnable(key):
            self.heads.give_back(key)
        elif key not in self.letters:
            self.heads.withhold(key)

    def unblock(self, key: LaneKey) -> None:
        """The run of an earlier epoch has ended (call `PartitionState.unblock` first): the key's entries may run."""
        self.reconcile(key)

    # Steps of a tick

    def advance(self, now: float, now_ms: int) -> None:
        """To be called after outcomes were settled and before anything starts."""
        if not self._began:
            return
        for key in self.heads.emptied:
            self.reconcile(key)
        self.heads.emptied.clear()
        for key in self.requests.to_stop():
            self._stop_key(key)
        self.heads.advance(now, now_ms)

    def redrive(self, request_id: bytes, keys: Iterable[bytes]) -> bool:
        """Hold keys for an open request, whose dead letters are moved then (`requests.move`). False: ask again, another
        redrive comes first."""
        states = [standing.state for standing in self.standing.values()]
        holders = {state.key: state.request_id for state in states if state.kind == "redriving"}
        return self.requests.redrive(request_id, keys, holders)

    def _stop_key(self, key: bytes) -> None:
        """A request holds the key: nothing more starts; what runs ends first."""
        lane = self.state.lanes.get(key)
        if (lane is None or lane.state is not RUNNING) and (key in self.letters or self.heads.withhold(key)):
            self.state.park(key)
            self.waiting.pop(key, None)
            self.requests.stopped(key)

    def consider(self, work: Work, due_at: float, now_ms: int, wait_s: float) -> bool:
        """The head of a source lane failed and waits (`PartitionState.retry`). True if the lane leaves."""
        key = work.lane.key
        self.waiting[key] = Leaving(due_at, now_ms + int(wait_s * 1000))
        return self._leaves(key, now_ms)

    def review(self, now_ms: int) -> int:
        """Look again at the heads that wait in place; every second is enough. Returns how many lanes leave."""
        return sum([self._leaves(key, now_ms) for key in list(self.waiting)])

    def _leaves(self, key: LaneKey, now_ms: int) -> bool:
        lane = self.state.lanes.get(key)
        if lane is None or lane.state is not WAITING:
            del self.waiting[key]
            return False
        if not self._is_to_leave(lane, now_ms):
            return False
        self.leaving[key] = self.waiting.pop(key)
        self.state.park(key)
        return True

    def _is_to_leave(self, lane: Lane, now_ms: int) -> bool:
        if self.state.ordering == "partition" or not self.state.open or self.excluded.get(lane.key, 0) > now_ms:
            return False
        wait_s = (self.waiting[lane.key].next_at_ms - now_ms) / 1000
        return wait_s > self.policy.park_after_s or len(lane.queue) > self.policy.backlog or self.pressed

    @property
    def pressed(self) -> bool:
        """Whether the partition nears the span that its map can hold."""
        return bool(self.state.held) or self.state.position - self.state.tracker.next_offset > self.policy.span

    def give_up(self, work: Work, dead: Dead) -> None:
        """A head that is held (`hold`) is to become a dead letter with the next transaction."""
        key = work.lane.key
        self.letters[key] = GivenUp(work, dead)
        self.waiting.pop(key, None)
        if not isinstance(work, ParkedWork):
            self.state.park(key)

    def take_letters_back(self) -> list[GivenUp]:
        """There are no transactions for dead letters: somebody else writes them, and then settles the heads, which stay
        held."""
        found = list(self.letters.items())
        self.letters.clear()
        for key, _ in found:
            if not self.parked(key):
                self.state.parked.discard(key)
        return [given_up for _, given_up in found]

    def exclude(self, keys: Iterable[LaneKey], until_ms: int) -> None:
        """A transaction was refused because of these: the next ones go without. A lane that had not left yet waits in
        place."""
        for key in keys:
            self.excluded[key] = until_ms
            leaving = self.leaving.pop(key, None)
            if leaving is not None and not self.parked(key):
                self.state.wait_again(key, leaving.due_at)
                self.waiting[key] = leaving

    def stop(self) -> None:
        """Nothing more starts: the source's state is stopped or closed. Idempotent."""
        self.state.scheduler.drop(self.heads)

    def close(self) -> list[Lane]:
        """The epoch is over (close the source's state first). Returns the lanes of which an entry still runs: it
        occupies its key until it ends."""
        self.stop()
        return [lane for lane in self.heads.lanes.values() if lane.state is RUNNING]

    # Transactions

    @property
    def plain_commit_allowed(self) -> bool:
        """Whether the source may be committed without the journal: nothing is under way, and all that is settled there
        is written."""
        return self.batch is None and not self.heads.pending

    def committed(self, batch: JournalBatch, places: Sequence[int]) -> None:
        """The transaction took effect; `places` says where its records stand.

        Raises:
            InvariantError: it is not the batch under way.
        """
        self._end_of(batch)
        if self.state.phase is Phase.CLOSED:
            return
        for place, record in zip(places, batch.records, strict=True):
            self.end = max(self.end, place + 1)
            match record:
                case Entry():
                    self._know(place, record, keep=True)
                case KeyState():
                    self._set(place, record)
                case Request():
                    self.requests.accepted(place, record)
                case Settled() | Waits():
                    pass
                case _:
                    assert_never(record)
        self._written(batch)
        self._resume(batch)

    def _written(self, batch: JournalBatch) -> None:
        """What the batch settled is settled."""
        del self.heads.pending[: batch.written]
        for place in batch.gone:
            self.heads.settled(place)
        for record in batch.records:
            if isinstance(record, Waits):
                for wait in record.waits:
                    if self.heads.waits.get(wait.place) == wait:
                        del self.heads.waits[wait.place]
        for key in batch.given_up:
            del self.letters[key]
        for lane, count in batch.taken:
            self.leaving.pop(lane.key, None)
            self.state.transferred(lane, count)
        self.requests.written(batch)

    def aborted(self, batch: JournalBatch) -> None:
        """The transaction did not take effect: nothing has changed.

        Raises:
            InvariantError: it is not the batch under way.
        """
        self._end_of(batch)
        if self.state.phase is not Phase.CLOSED:
            self._resume(batch)

    def _end_of(self, batch: JournalBatch) -> None:
        if self.batch is not batch:
            raise InvariantError(f"{self.state.partition}: the end of a transaction that is not under way")
        self.batch = None

    def _resume(self, batch: JournalBatch) -> None:
        for key in batch.keys:
            self.reconcile(key)
        deferred, self._deferred = self._deferred, []
        for place, record in deferred:
            self.receive(place, record)

    # The journal's length

    @property
    def mark(self) -> JournalMark:
        """What the source's map says of the journal."""
        return JournalMark(self.journal_id, self.end)

    @property
    def live(self) -> int:
        """How many records of the journal are needed."""
        return self.index.live + len(self.standing) + len(self.requests)

    @property
    def oldest(self) -> int:
        """Where the first of them stands; the end if there is none."""
        states = [standing.place for standing in self.standing.values()]
        return min([*self.index.oldest(1), *self.requests.places(), *states, self.end])

    def trim_point(self) -> int:
        """Below this the journal may be deleted: everything there is settled, written so, and read."""
        unwritten = self.batch.gone if self.batch is not None else ()
        return min([self.oldest, self._read, *self.heads.pending, *unwritten])
