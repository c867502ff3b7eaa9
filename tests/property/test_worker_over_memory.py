"""The whole worker over the in-memory broker, driven tick by tick by a seed.

Two workers share a topic. At any tick a worker may be crashed, stopped cleanly, started, or stood still beyond its
session; produces to the dead-letter topic and commits may be refused, get lost or come late. Whatever happens: nothing
is lost, no record starts before every earlier one of its key is done or dead, the last effects of a key are in source
order, and when the faults end, everything comes to its end.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamq as sq
from streamq.config import WorkerConfig
from streamq.model import headers
from streamq.model.records import Offset, OutgoingRecord, Record
from streamq.model.transactions import Batch, Committed, Membership, StepHook, TransactionResult
from streamq.runtime.owner import Owner
from streamq.testing import ManualClock
from streamq.testing.memory import MemoryCluster
from streamq.testing.memory.consumer import MemoryConsumer
from streamq.testing.memory.transactions import MemoryTransactions
from streamq.wiring import begin, make_owner, prepare_inline

PARTITIONS, KEYS, RECORDS = 3, 5, 40
Place = tuple[int, int]


class Watched(MemoryTransactions):
    """Tells of each dead letter whose transaction was answered: from then on it is there, whoever sees it yet."""

    given_up: Callable[[Place], None]

    def run(self, batch: Batch, membership: Membership) -> TransactionResult:
        result = super().run(batch, membership)
        if isinstance(result, Committed):
            for record in batch.records:
                if headers.number(record.headers, headers.SOURCE_OFFSET) is not None:
                    self.given_up(source_of(record))
        return result


class WatchedCluster(MemoryCluster):
    given_up: Callable[[Place], None]

    def transactions(self, transactional_id: str, on_step: StepHook | None = None) -> MemoryTransactions:
        made = Watched(self._world, transactional_id, on_step)
        made.given_up = self.given_up
        return made


class Site:
    """A cluster, an app, its workers, and the ledger of what the handler did."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)
        self.clock = ManualClock()
        self.cluster = WatchedCluster(clock=self.clock)
        self.cluster.given_up = self.given_up
        self.config = WorkerConfig(commit_interval_s=1.0, drain_timeout_s=2.0)
        self.app = sq.App("site", clients=self.cluster)
        topic = self.app.topic("work", value=bytes, partitions=PARTITIONS)
        policy = sq.RetryPolicy(max_attempts=3, backoff_s=0.5, jitter=0.0)
        park_after_s = self.rnd.choice((None, 0.2, 0.2, 0.2))
        self.app.processor(topic, name="it", concurrency=4, retry=policy, park_after_s=park_after_s)(self.handle)
        self.processor = self.app.processors["it"]
        self.producer, self.admin = self.cluster.producer(), self.cluster.admin()
        self.workers: list[tuple[Owner, MemoryConsumer]] = []
        self.order: dict[bytes, list[Place]] = defaultdict(list)
        self.events = 0
        self.seen: set[Place] = set()  # dead letters
        self.answered: set[Place] = set()  # by their source
        self.over: dict[Place, int] = {}  # done or given up, and when last
        self.violations: list[str] = []

    def fill(self) -> None:
        begin(self.admin, self.processor, self.config)
        for number in range(RECORDS):
            key = b"key-%d" % self.rnd.randrange(KEYS)
            fate = self.rnd.choice((b"good", b"good", b"good", b"fails", b"rejected"))
            partition = self.cluster.partitions("work")[key[-1] % PARTITIONS]
            delivery = self.cluster.append(partition, fate + b" %d" % number, key)
            self.order[key].append((partition.partition, int(delivery.offset)))

    # The handler, and what it must never see

    def handle(self, value: bytes, ctx: sq.Context) -> None:
        record = ctx.record
        place = (record.partition, int(record.offset))
        self.note_dead_letters()
        for earlier in self.order[record.key or b""]:
            if earlier >= place:
                break
            if earlier not in self.over:  # what a handler raises is an attempt that failed, no more
                self.violations.append(f"{place} started before {earlier} of its key was done or dead")
        if value.startswith(b"rejected"):
            raise sq.Reject("so it was made")
        if value.startswith(b"fails") or self.rnd.random() < 0.1:
            raise ValueError("it fails")
        self.events += 1
        self.over[place] = self.events

    def note_dead_letters(self) -> None:
        """What was given up since the last look by a transaction that nobody heard of again, or without one."""
        for record in self.cluster.records(self.processor.dead_letter_topic, decided=True):
            place = (record.partition, int(record.offset))
            if place not in self.seen:
                self.seen.add(place)
                if source_of(record) not in self.answered:
                    self.given_up(source_of(record))

    def given_up(self, place: Place) -> None:
        """Each time counts, as each run of a handler does."""
        self.answered.add(place)
        self.events += 1
        self.over[place] = self.events

    # Workers

    def start(self) -> None:
        before = set(self.cluster.consumers)
        owner = make_owner(
            self.app, self.processor, clients=self.cluster, producer=self.producer, admin=self.admin,
            worker=self.config, clock=self.clock, prepare=prepare_inline, inline=True,
        )  # fmt: skip
        [consumer] = set(self.cluster.consumers) - before
        owner.start()
        self.workers.append((owner, consumer))

    def crash(self) -> None:
        owner, consumer = self.workers.pop(self.rnd.randrange(len(self.workers)))
        self.cluster.crash(consumer)
        owner.close()

    def stop(self) -> None:
        owner, _ = self.workers.pop(self.rnd.randrange(len(self.workers)))
        owner.drain(2.0)
        owner.close()

    def step(self) -> None:
        if not self.workers:
            self.start()
        self.fault()
        if self.workers:
            self.rnd.choice(self.workers)[0].tick(0.0)
        self.clock.advance(self.rnd.choice((0.0, 0.01, 0.1, 0.5)))

    def fault(self) -> None:
        """At most one, now and then."""
        rnd, faults, dead = self.rnd, self.cluster.faults, self.processor.dead_letter_topic
        choices: list[tuple[float, Callable[[], object]]] = [
            (0.010, self.crash),
            (0.005, self.stop),
            (0.015, self.start),
            (0.010, lambda: faults.refuse_produces(rnd.randint(1, 3), topic=dead)),
            (0.005, lambda: faults.lose_produce_reports(1, topic=dead, written=rnd.random() < 0.5)),
            (0.010, lambda: faults.refuse_commits(rnd.randint(1, 2))),
            (0.005, lambda: faults.lose_commit_answers(1, applied=rnd.random() < 0.5)),
            (0.005, lambda: faults.delay_commits(rnd.random() * 3)),
            (0.010, lambda: faults.refuse_transactions(rnd.randint(1, 2))),
            (0.010, lambda: faults.lose_transaction_answers(1, committed=rnd.random() < 0.5)),
            (0.005, lambda: faults.delay_decisions(rnd.random() * 3)),
            (0.005, lambda: self.clock.advance(12.0)),  # everybody stood still, beyond the session time-out
        ]
        chance = rnd.random()
        for share, happen in choices:
            chance -= share
            if chance < 0:
                if happen != self.start or len(self.workers) < 2:
                    happen()
                return

    def finish(self) -> None:
        """No more faults: all must come to its end."""
        self.cluster.faults.clear()
        self.cluster.faults.release()
        if not self.workers:
            self.start()
        for _ in range(5_000):
            for owner, _ in self.workers:
                owner.tick(0.0)
            self.clock.advance(0.25)
            self.note_dead_letters()
            owned = sum(owner._assignment.open for owner, _ in self.workers) == PARTITIONS
            at_rest = all(owner.idle() and owner.next_due() is None for owner, _ in self.workers)
            seen = all(place in self.over for places in self.order.values() for place in places)
            if owned and at_rest and seen and self.committed() == self.ends():
                break
        assert self.violations == []
        assert self.committed() == self.ends()
        for key, places in self.order.items():
            assert [place for place in places if place not in self.over] == [], "nothing is lost"
            times = [self.over[place] for place in places]
            assert times == sorted(times), f"{key!r}: an older effect lies on top of a newer one"
        letters = [source_of(record) for record in self.cluster.records(self.processor.dead_letter_topic)]
        assert len(letters) == len(set(letters)), "each dead letter is there once"
        for owner, _ in self.workers:
            assert owner.drain(10.0)
            owner.close()

    def committed(self) -> list[int]:
        found = self.cluster.committed(self.processor.group)
        return [int(found[one].next_offset) for one in self.cluster.partitions("work")]

    def ends(self) -> list[int]:
        return [int(self.cluster.end(one)) for one in self.cluster.partitions("work")]


def source_of(record: Record | OutgoingRecord) -> Place:
    """Where a dead letter came from."""
    partition = headers.number(record.headers, headers.SOURCE_PARTITION)
    offset = headers.number(record.headers, headers.SOURCE_OFFSET)
    assert partition is not None
    assert offset is not None
    return partition, Offset(offset)


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
@pytest.mark.timeout(300)
def test_nothing_is_lost_and_order_holds_whatever_happens(seed: int) -> None:
    site = Site(seed)
    site.fill()
    for _ in range(site.rnd.randint(50, 500)):
        site.step()
    site.finish()
