"""Transactions as the suite drives them: sessions, batches, crashes at a step, and who has joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from streamq.model.clock import Deadline
from streamq.model.ports import TransactionPort
from streamq.model.records import CommitPoint, Latest, NextOffset, Offset, OutgoingRecord, TopicPartition
from streamq.model.transactions import (
    Batch,
    Committed,
    Membership,
    StepHook,
    TransactionResult,
    TransactionStep,
)
from tests.contract.backend import Backend
from tests.contract.driving import ANSWER_S, Member, admin_of, settle

Ends = tuple[int, int]


class Died(Exception):
    """The process is gone, at a step."""


class Stop:
    """A hook that does something at one step, once."""

    def __init__(self, step: TransactionStep, action: Callable[[], None]) -> None:
        self._step: TransactionStep | None = step
        self._action = action

    def __call__(self, step: TransactionStep) -> None:
        if step == self._step:
            self._step = None
            self._action()


def dying_at(step: TransactionStep) -> StepHook:
    """A hook that ends the process at this step."""

    def die() -> None:
        raise Died(step)

    return Stop(step, die)


@contextmanager
def session(
    backend: Backend, transactional_id: str | None = None, on_step: StepHook | None = None
) -> Iterator[TransactionPort]:
    """A session that has begun."""
    transactions = backend.clients.transactions(transactional_id or backend.new_name("tx"), on_step)
    try:
        transactions.begin_session(ANSWER_S)
        yield transactions
    finally:
        transactions.close()


def leave_open(backend: Backend, batch: Batch, membership: Membership, step: TransactionStep) -> str:
    """Let a producer die at this step of a transaction. Returns its transactional id."""
    transactional_id = backend.new_name("tx")
    with session(backend, transactional_id, dying_at(step)) as transactions, suppress(Died):
        transactions.run(batch, membership)
    return transactional_id


class Joined:
    """The only member of a group, with all partitions of its topic."""

    def __init__(self, backend: Backend, partitions: int = 1) -> None:
        self._backend = backend
        self.topic = backend.make_topic(partitions)
        self.group = backend.new_name("group")
        self.member = Member(backend, self.group, self.topic, opens=False)
        settle(backend, self.group, self.topic, self.member)

    @property
    def membership(self) -> Membership:
        """Who it is now."""
        return member_of(self.member)

    def at(self, number: int) -> TopicPartition:
        """A partition of its topic."""
        return TopicPartition(self.topic, number)


def member_of(member: Member) -> Membership:
    """Who this is, which has joined."""
    membership = member.consumer.membership()
    assert membership is not None
    return membership


def to(partition: TopicPartition, *values: bytes) -> list[OutgoingRecord]:
    """Records for a partition."""
    return [OutgoingRecord(partition.topic, None, value, partition=partition.partition) for value in values]


def point(offset: int, metadata: str = "") -> CommitPoint:
    """An offset to commit."""
    return CommitPoint(NextOffset(offset), metadata)


def places_of(result: TransactionResult) -> Sequence[Offset]:
    """Where the records of what was committed stand."""
    assert isinstance(result, Committed), result
    return result.places


def ends(backend: Backend, partition: TopicPartition) -> Ends:
    """The stable end and the end, asked in the order that a new owner asks: the end first."""
    admin = admin_of(backend)
    end = admin.list_offsets({partition: Latest()}, "read_uncommitted").result(ANSWER_S)[partition]
    return admin.list_offsets({partition: Latest()}).result(ANSWER_S)[partition], end


def await_decided(backend: Backend, *partitions: TopicPartition) -> None:
    """Wait until nothing is open in these: a transaction's end is answered before every reader sees it."""
    await_that(backend, lambda: all(len(set(ends(backend, one))) == 1 for one in partitions), "all is decided")


def await_that(backend: Backend, condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds."""
    deadline = Deadline(backend.clock, backend.patience_s)
    while not condition():
        assert not deadline.expired(), f"not within {backend.patience_s:g} s: {what}"
        backend.clock.sleep(0.02)


def await_points(
    backend: Backend, group: str, *partitions: TopicPartition
) -> Mapping[TopicPartition, CommitPoint | None]:
    """What stands committed, once all of it is decided."""
    admin = admin_of(backend)
    found: dict[TopicPartition, CommitPoint | None] = {}

    def all_answered() -> bool:
        found.update(admin.group_offsets(group, partitions).result(ANSWER_S))
        return len(found) == len(partitions)

    await_that(backend, all_answered, f"the offsets of {group} are decided")
    return found
