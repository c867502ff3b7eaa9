"""A process that owns partitions: what a worker's owner thread does with the real core, one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from streamq.core.journal_batch import OpenLetter, ParkPolicy
from streamq.core.journal_check import check_journal
from streamq.core.journal_plan import plan
from streamq.core.journal_records import Entry, Request
from streamq.core.key_states import OnDead
from streamq.core.lanes import KeyScheduler, LaneKey, LaneOwner, Run, Work
from streamq.core.offset_map import encode_map
from streamq.core.parking import ParkedLanes
from streamq.core.partition import PartitionState
from streamq.model.outcomes import Dead, Failure
from streamq.model.records import NextOffset, TopicPartition
from tests.model.world import JOURNAL_ID, SOURCE_ID, Partition, PlainCommit, Transaction, World, parked_again

PROCESS = b"process0"
Action = Callable[[], None]
DEAD = Dead("rejected", Failure("ValueError", "no"))


class Running(NamedTuple):
    """A run under way: the attempt at its next work."""

    held: Held
    run: Run

    @property
    def work(self) -> Work:
        """What is attempted now."""
        return self.run.works[self.run.done]


class Held:
    """One partition in the hands of one owner."""

    def __init__(
        self, world: World, partition: Partition, scheduler: KeyScheduler, rules: Rules, blocked: Sequence[LaneKey]
    ) -> None:
        self.world, self.partition = world, partition
        partition.takeovers += 1
        self.rules = rules
        if "decided" not in world.off:
            world.decide_all(partition)
        committed = partition.map
        source = TopicPartition("t", partition.number)
        self.state = PartitionState(
            source, world.generation, scheduler, NextOffset(committed.base), restored=committed, blocked=blocked
        )
        self.parked = rules.lanes(
            self.state, journal_id=JOURNAL_ID, source_id=SOURCE_ID, process=PROCESS, policy=rules.policy,
            on_dead=rules.on_dead,
        )  # fmt: skip
        self.next_source, self.next_journal = int(committed.base), partition.journal_start
        self.transaction: Transaction | None = None
        self.commit: PlainCommit | None = None
        check_journal(committed.journal, name="r", topic_id=JOURNAL_ID, end=len(partition.journal))
        if "journal_first" not in world.off:
            while self.next_journal < len(partition.journal):
                self.read_journal()
            self.parked.reach(len(partition.journal))
        self.parked.begin()

    @property
    def busy(self) -> bool:
        """Whether a transaction or a commit is under way."""
        return self.transaction is not None or self.commit is not None

    def read_source(self) -> None:
        count = self.world.rnd.randint(1, 2)
        source = self.partition.source
        self.state.receive(source[self.next_source : self.next_source + count])
        self.next_source = min(len(source), self.next_source + count)
        if self.next_source == len(source):
            self.state.reach(NextOffset(len(source) + 1))

    def read_journal(self) -> None:
        record = self.partition.read(self.next_journal)
        if record is not None:
            self.parked.receive(self.next_journal, record)
        self.next_journal += 1

    def read_again(self) -> None:
        for place in self.parked.wanted():
            record = self.partition.read(place)
            if isinstance(record, Entry):
                self.parked.offer(place, record)

    def read_all(self) -> None:
        self.read_source()
        while self.next_journal < len(self.partition.journal):
            self.read_journal()
        self.read_again()
        self.trim()

    def trim(self) -> None:
        partition, point = self.partition, self.parked.trim_point()
        point = min(point, self.next_journal)
        partition.journal[partition.journal_start : point] = [None] * (point - partition.journal_start)
        partition.journal_start = max(partition.journal_start, point)

    def close(self) -> set[LaneKey]:
        """The partition is gone; what was under way for it goes on without. Returns the keys that are occupied."""
        return {lane.key for lane in [*self.state.close(), *self.parked.close()]}

    # Operators' requests

    def serve(self) -> None:
        for request in list(self.parked.requests):
            self._serve(request)

    def _serve(self, request: Request) -> None:
        requests, request_id = self.parked.requests, request.request_id
        key = request.parameters[1:] if request.parameters.startswith(b"k") else None
        keys = [] if key is None else [key]
        job = requests.jobs.get(request_id)
        if job is not None and job.complete:
            return
        if request.kind not in {"redrive", "purge"}:
            requests.release(request_id, keys if request.kind == "release" else [])
        elif job is None and request.kind == "purge":
            requests.purge(request_id)
        elif job is None:
            self.parked.redrive(request_id, keys)
        elif request_id in requests.accepting or any(one in requests.stopping for one in keys):
            return
        elif request.letters_end is None:
            requests.accept(request_id, len(self.partition.letters))
        else:
            purged = request.kind == "purge"
            found = self.partition.open_letters(key, request.letters_end)
            letters = [OpenLetter(at, None if purged else parked_again(record)) for at, record in found]
            some = self.world.rnd.randint(0, len(letters))  # in pieces, as they are read
            requests.move(request_id, letters[some:], complete=False)
            requests.move(request_id, letters[:some], complete=True)


class Rules(NamedTuple):
    """How this run is set up: the core's classes (one of them broken, where a rule is off) and its options."""

    lanes: type[ParkedLanes]
    policy: ParkPolicy
    on_dead: OnDead
    eager: float  # how soon transactions begin


class Owner:
    """A member of the group. `generation` is what it last heard from the group's coordinator."""

    def __init__(self, world: World, rules: Rules) -> None:
        self.world, self.rules = world, rules
        self.scheduler = KeyScheduler()
        self.held: list[Held] = []
        self.running: list[Running] = []
        self.transaction: Transaction | None = None
        self.generation = world.generation
        self.now = 0.0
        self.calm = False

    @property
    def now_ms(self) -> int:
        return int(self.now * 1000)

    @property
    def unsent(self) -> int:
        """Over how many partitions there is a transaction that is not sent yet."""
        return 0 if self.transaction is None or self.transaction.sent else len(self.transaction.parts)

    def take_over(self, partition: Partition) -> None:
        """Own a partition; what still runs of it from an earlier time occupies its keys."""
        blocked = [one.run.lane.key for one in self.running if one.held.partition is partition]
        self.held.append(Held(self.world, partition, self.scheduler, self.rules, blocked))

    def lose(self, held: Held, *, back: bool = False) -> None:
        """Revoked or lost: handlers may have had their effect, of which nothing is settled. If the partition comes back
        to this process at once, they may go on."""
        occupied = held.close()
        for one in [one for one in self.running if one.held is held]:
            assert one.run.lane.key in occupied
            if back and self.world.rnd.random() < 0.5:
                continue
            if self.world.rnd.random() < 0.5:
                self.world.success(held.partition, one.work.record.offset)
            self.running.remove(one)
        self.held.remove(held)
        if back:
            self.take_over(held.partition)

    def _straggler(self, one: Running) -> None:
        """A run of an earlier epoch ends: its outcome counts for nothing, but its key is free."""
        if self.world.rnd.random() < 0.5:
            self.world.success(one.held.partition, one.work.record.offset)
        for held in self.held:
            if held.partition is one.held.partition:
                held.state.unblock(one.run.lane.key)
                held.parked.unblock(one.run.lane.key)

    def round(self) -> None:
        """Everything once, in an order that gets on: the end of a run, when nothing goes wrong any more."""
        self.heartbeat()
        for held in [held for held in self.held if held.commit is not None]:
            self.answer(held)
        for held in self.held:
            held.read_all()
        self.tick()
        self.start()
        while self.running:
            self.end_one()
        if self.transaction is None:
            self.begin_tx()
        if self.unsent:
            self.send_tx()
        if self.transaction is not None:
            self.commit_tx()
        for held in self.held:
            self.commit(held)

    def actions(self) -> list[Action]:
        """What may happen next."""
        found: list[Action] = [self.tick, self.start]
        if self.generation != self.world.generation:
            found.append(self.heartbeat)
        if self.running:
            found += [self.end_one] * 2
        found += self._of_transaction()
        for held in self.held:
            found += self._of(held)
        return found

    def _of_transaction(self) -> list[Action]:
        if self.transaction is None:
            return [self.begin_tx] if self.calm or self.world.rnd.random() < self.rules.eager else []
        if not self.transaction.sent:
            return [self.send_tx]
        return [self.commit_tx] if self.calm else [self.commit_tx, self.abort_tx]

    def _of(self, held: Held) -> list[Action]:
        found: list[Action] = [held.trim] if self.world.rnd.random() < 0.2 else []
        if held.next_source < len(held.partition.source):
            found.append(held.read_source)
        if held.next_journal < len(held.partition.journal):
            found.append(held.read_journal)
        if held.parked.wanted():
            found.append(held.read_again)
        if held.commit is not None:
            found.append(partial(self.answer, held))
        elif self._may(held):
            found.append(partial(self.commit, held))
        return found

    # Steps

    def heartbeat(self) -> None:
        self.generation = self.world.generation

    def tick(self) -> None:
        self.now += self.world.rnd.pick((0.1, 1.0, 3.0))
        self.wake()

    def wake(self) -> None:
        self.scheduler.wake(self.now)
        for held in self.held:
            held.serve()
            held.parked.advance(self.now, self.now_ms)
            held.parked.review(self.now_ms)

    def start(self) -> None:
        self.wake()
        for run in self.scheduler.take(self.world.rnd.pick((1, 1, 3)), 2):
            one = Running(self._held(run.lane.partition), run)
            self.world.start(one.held.partition, one.work.record)
            self.running.append(one)

    def _held(self, owner: LaneOwner) -> Held:
        return next(held for held in self.held if owner in (held.state, held.parked.heads))

    def end_one(self) -> None:
        one = self.running.pop(self.world.rnd.randrange(len(self.running)))
        if one.held not in self.held:
            self._straggler(one)
        elif self.calm or self.world.rnd.random() < 0.55:
            self._succeed(one)
        else:
            one.run.lane.partition.returned(len(one.run.works))
            one.run.lane.partition.settle_done(one.run)
            self._fail(one.held, one.work, self.world.rnd.random())

    def _succeed(self, one: Running) -> None:
        held, run = one
        self.world.success(held.partition, one.work.record.offset)
        run.done += 1
        if run.done < len(run.works):
            if self.world.rnd.random() < 0.5:
                run.lane.partition.settle_done(run)  # what is done of a run may be settled while it goes on
            self.world.start(held.partition, one.work.record)
            self.running.append(one)
            return
        run.lane.partition.returned(len(run.works))
        run.lane.partition.settle_done(run)
        run.lane.partition.end(run)

    def _fail(self, held: Held, work: Work, chance: float) -> None:
        owner = work.lane.partition
        if chance < 0.65:
            wait_s = self.world.rnd.pick((0.5, 5.0))
            owner.retry(work, self.now + wait_s)
            if owner is held.state:
                held.parked.consider(work, self.now + wait_s, self.now_ms, wait_s)
        elif chance < 0.9:
            owner.hold(work)
            held.parked.give_up(work, DEAD)
        else:
            owner.withdraw(work)

    # Transactions and commits

    def begin_tx(self) -> None:
        parts = [
            (held.partition, batch)
            for held in self.held
            if self._may(held) and held.parked.batch is None and (batch := plan(held.parked, self.now_ms)) is not None
        ]
        if parts:
            self.transaction = Transaction(parts, self.generation)
            for held in self._in(self.transaction):
                held.transaction = self.transaction

    def _may(self, held: Held) -> bool:
        """Whether a transaction or a commit may begin for a partition."""
        if "one_at_a_time" in self.world.off:
            return held.parked.batch is None or held.commit is None
        return not held.busy

    def _in(self, transaction: Transaction) -> list[Held]:
        return [held for held in self.held if any(held.parked.batch is batch for _, batch in transaction.parts)]

    def send_tx(self) -> None:
        assert self.transaction is not None
        fresh = "stamped" in self.world.off
        if not self.world.send(self.transaction, self.generation if fresh else self.transaction.generation):
            self._end(self.transaction, took_effect=False)

    def commit_tx(self) -> None:
        self.end_tx(outcome=True)

    def abort_tx(self) -> None:
        self.end_tx(outcome=False)

    def end_tx(self, *, outcome: bool) -> None:
        assert self.transaction is not None
        self.world.decide(self.transaction, outcome)
        self._end(self.transaction, took_effect=bool(self.transaction.outcome))

    def _end(self, transaction: Transaction, *, took_effect: bool) -> None:
        self.transaction = None
        held_in = self._in(transaction)
        for partition, batch in transaction.parts:
            held = next((one for one in held_in if one.partition is partition), None)
            if held is None:
                continue  # lost meanwhile
            held.transaction = None
            if took_effect:
                held.parked.committed(batch, transaction.places[partition.number])
            else:
                held.parked.aborted(batch)
                if not self.calm and self.world.rnd.random() < 0.2:
                    keys: list[LaneKey] = list(batch.keys)
                    held.parked.exclude(keys[:1], self.now_ms + 2_000)

    def commit(self, held: Held) -> None:
        batch, pending = held.parked.batch, held.parked.heads.pending
        if (
            held.parked.plain_commit_allowed
            or ("pending_first" in self.world.off and batch is None)
            or ("one_at_a_time" in self.world.off and not pending)
        ):
            metadata = encode_map(held.state.snapshot(PROCESS, journal=held.parked.mark))
            held.commit = PlainCommit(held.partition, metadata, self.generation)
            self.world.commits.append(held.commit)
            if self.world.rnd.random() < 0.5:
                self.answer(held)

    def answer(self, held: Held) -> None:
        """The commit is answered. Or it is not: then the member leaves and comes back, so that a late one is stale."""
        commit = held.commit
        assert commit is not None
        held.commit = None
        if commit.answer is None and (self.calm or self.world.rnd.random() < 0.8):
            self.world.arrive(commit)
        elif commit.answer is None:
            self.world.generation += 1
            self.generation = self.world.generation
            self.lose(held, back=True)
