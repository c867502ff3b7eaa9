"""What befalls transactions in memory: as a test says, and by the broker's clock."""

from __future__ import annotations

import pytest

from streamq.model.errors import FatalBrokerError, FencedError, OutcomeUnknownError, RetriableError
from streamq.model.ports import ConsumerOptions
from streamq.model.records import CommitPoint, NextOffset, OutgoingRecord, TopicPartition
from streamq.model.transactions import Aborted, Batch, Committed, Membership, OutcomeUnknown, StepHook, TransactionStep
from streamq.testing import HANG, ManualClock, MemoryCluster
from streamq.testing.memory.coordinator import TRANSACTION_TIMEOUT_S
from streamq.testing.memory.transactions import MemoryTransactions

from .listening import Listening

SOURCE = TopicPartition("t", 0)
JOURNAL = TopicPartition("r", 0)
GROUP = "g"


@pytest.fixture
def clock() -> ManualClock:
    """A clock at a known time."""
    return ManualClock()


@pytest.fixture
def cluster(clock: ManualClock) -> MemoryCluster:
    """A cluster with a source and its journal."""
    cluster = MemoryCluster(clock=clock)
    cluster.create_topic("t")
    cluster.create_topic("r")
    return cluster


@pytest.fixture
def membership(cluster: MemoryCluster) -> Membership:
    """A member that has the source."""
    consumer = cluster.consumer(ConsumerOptions(GROUP, "c"))
    consumer.subscribe("t", Listening(consumer))
    consumer.poll(0.0, 1)
    membership = consumer.membership()
    assert membership is not None
    return membership


def begun(cluster: MemoryCluster, name: str = "tx", on_step: StepHook | None = None) -> MemoryTransactions:
    """A session."""
    transactions = cluster.transactions(name, on_step)
    transactions.begin_session(0.0)
    return transactions


def batch(number: int) -> Batch:
    """A record and a point."""
    records = [OutgoingRecord("r", None, b"%d" % number, partition=0)]
    return Batch(records, {SOURCE: CommitPoint(NextOffset(number), "map")})


def seen(cluster: MemoryCluster) -> tuple[list[bytes | None], int | None]:
    """The journal's values and the source's committed offset."""
    point = cluster.committed(GROUP).get(SOURCE)
    return [record.value for record in cluster.records("r")], point.next_offset if point is not None else None


def is_decided(cluster: MemoryCluster) -> bool:
    """Whether a new owner would be told the source's offset."""
    return SOURCE in cluster.admin().group_offsets(GROUP, [SOURCE]).result(0.0)


def test_a_refused_transaction_leaves_nothing_and_names_nobody(cluster: MemoryCluster, membership: Membership) -> None:
    transactions = begun(cluster)
    cluster.faults.refuse_transactions(2)
    for _ in range(2):
        refused = transactions.run(batch(1), membership)
        assert isinstance(refused, Aborted)
        assert isinstance(refused.error, RetriableError)
        assert (refused.record, refused.partition) == (None, None)
    assert seen(cluster) == ([], None)
    assert isinstance(transactions.run(batch(2), membership), Committed)
    assert seen(cluster) == ([b"2"], 2)
    assert cluster.end(JOURNAL) == 6, "three records and three markers"


@pytest.mark.parametrize("committed", [True, False])
def test_a_lost_answer_tells_nothing_and_a_session_decides(
    cluster: MemoryCluster, membership: Membership, committed: bool
) -> None:
    transactions = begun(cluster)
    cluster.faults.lose_transaction_answers(committed=committed)
    result = transactions.run(batch(1), membership)
    assert isinstance(result, OutcomeUnknown)
    assert isinstance(result.error, OutcomeUnknownError)
    with pytest.raises(FatalBrokerError, match="session"):
        transactions.run(batch(2), membership)
    assert is_decided(cluster) == committed
    transactions.begin_session(0.0)
    assert is_decided(cluster)
    assert seen(cluster) == (([b"1"], 1) if committed else ([], None))


def test_a_late_decision_is_seen_late_and_holds_up_what_follows(
    cluster: MemoryCluster, membership: Membership, clock: ManualClock
) -> None:
    transactions = begun(cluster)
    cluster.faults.delay_decisions(2.0)
    assert isinstance(transactions.run(batch(1), membership), Committed)
    assert seen(cluster) == ([], None)
    assert not is_decided(cluster)
    clock.advance(1.0)
    assert isinstance(transactions.run(batch(2), membership), Committed)
    assert clock.monotonic() == pytest.approx(2.0)
    assert seen(cluster) == ([b"1", b"2"], 2)


def test_a_decision_that_hangs_holds_up_a_successor_until_it_is_released(
    cluster: MemoryCluster, membership: Membership, clock: ManualClock
) -> None:
    transactions = begun(cluster)
    cluster.faults.delay_decisions(HANG)
    assert isinstance(transactions.run(batch(1), membership), Committed)
    successor = cluster.transactions("tx")
    with pytest.raises(RetriableError):
        successor.begin_session(1.0)
    clock.advance(2 * TRANSACTION_TIMEOUT_S)
    assert not is_decided(cluster), "a commit that is said is not undone by time"
    cluster.faults.release()
    successor.begin_session(1.0)
    assert seen(cluster) == ([b"1"], 1)


def test_what_is_open_for_too_long_is_aborted_and_its_producer_fenced(
    cluster: MemoryCluster, membership: Membership, clock: ManualClock
) -> None:
    def stand_still(step: TransactionStep) -> None:
        if step == "before_commit":
            clock.advance(TRANSACTION_TIMEOUT_S)

    transactions = begun(cluster, on_step=stand_still)
    with pytest.raises(FencedError):
        transactions.run(batch(1), membership)
    with pytest.raises(FencedError):
        transactions.run(batch(1), membership)
    assert is_decided(cluster)
    assert seen(cluster) == ([], None)
    transactions.begin_session(0.0)


def test_what_a_dead_producer_left_open_ends_by_the_clock_alone(
    cluster: MemoryCluster, membership: Membership, clock: ManualClock
) -> None:
    def die(step: TransactionStep) -> None:
        if step == "after_send_offsets":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begun(cluster, on_step=die).run(batch(1), membership)
    assert not is_decided(cluster)
    started = clock.monotonic()
    while not is_decided(cluster):
        clock.advance(0.5)
    assert clock.monotonic() - started == pytest.approx(TRANSACTION_TIMEOUT_S)
    assert seen(cluster) == ([], None)


def test_brokers_that_are_away_before_anything_is_sent_cost_nothing(
    cluster: MemoryCluster, membership: Membership
) -> None:
    transactions = begun(cluster)
    cluster.away()
    refused = transactions.run(batch(1), membership)
    assert isinstance(refused, Aborted)
    assert isinstance(refused.error, RetriableError)
    with pytest.raises(RetriableError):
        cluster.transactions("other").begin_session(1.0)
    cluster.back()
    assert isinstance(transactions.run(batch(2), membership), Committed)


@pytest.mark.parametrize("step", ["before_send_offsets", "before_commit"])
def test_brokers_that_go_away_in_the_middle_make_the_outcome_unknown(
    cluster: MemoryCluster, membership: Membership, step: TransactionStep
) -> None:
    def leave(at: TransactionStep) -> None:
        if at == step:
            cluster.away()

    transactions = begun(cluster, on_step=leave)
    assert isinstance(transactions.run(batch(1), membership), OutcomeUnknown)
    cluster.back()
    transactions.begin_session(0.0)
    assert seen(cluster) == ([], None)


def test_a_produce_that_is_refused_aborts_and_one_that_hangs_times_out(
    cluster: MemoryCluster, membership: Membership
) -> None:
    transactions = begun(cluster)
    cluster.faults.refuse_produces(topic="r")
    assert isinstance(transactions.run(batch(1), membership), Aborted)
    cluster.faults.delay_produces(HANG, topic="r")
    late = transactions.run(batch(1), membership)
    assert isinstance(late, Aborted)
    assert late.error.code == "_MSG_TIMED_OUT"
    assert isinstance(transactions.run(batch(2), membership), Committed)
    assert seen(cluster) == ([b"2"], 2)


def test_compaction_spares_what_is_undecided(cluster: MemoryCluster, membership: Membership) -> None:
    def die(step: TransactionStep) -> None:
        if step == "before_commit":
            raise KeyboardInterrupt

    cluster.append(JOURNAL, b"old", b"k")
    cluster.append(JOURNAL, b"new", b"k")
    keyed = Batch([OutgoingRecord("r", b"k", b"open", partition=0)])
    with pytest.raises(KeyboardInterrupt):
        begun(cluster, on_step=die).run(keyed, membership)
    cluster.compact(JOURNAL)
    assert [record.value for record in cluster.records("r")] == [b"new"]
    begun(cluster)
    assert [record.value for record in cluster.records("r")] == [b"new"]
