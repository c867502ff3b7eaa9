"""What goes wrong is what the test said, once for each time that it said, and nothing else."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeoutError

import pytest

from streamq.model.errors import BrokerError, OutcomeUnknownError, RetriableError, StaleMemberError
from streamq.model.ports import ConsumerOptions, ReachedEnd, Trouble
from streamq.model.records import CommitPoint, Delivery, Latest, NextOffset, OutgoingRecord, TopicPartition
from streamq.testing import HANG, ManualClock, MemoryCluster
from streamq.testing.memory.consumer import MemoryConsumer
from streamq.testing.memory.producer import DELIVERY_TIMEOUT_S, MemoryProducer

from .listening import Listening

P0 = TopicPartition("t", 0)
Reports = list[Delivery | BrokerError]


@pytest.fixture
def clock() -> ManualClock:
    """A clock at a known time."""
    return ManualClock()


@pytest.fixture
def cluster(clock: ManualClock) -> MemoryCluster:
    """A cluster with one topic of two partitions."""
    cluster = MemoryCluster(clock=clock)
    cluster.create_topic("t", 2)
    return cluster


def produce(producer: MemoryProducer, *values: bytes, topic: str = "t", partition: int = 0) -> Reports:
    """Hand these over; what comes back comes into the list."""
    reports: Reports = []
    for value in values:
        producer.produce(OutgoingRecord(topic, None, value, partition=partition), reports.append)
    return reports


def member(cluster: MemoryCluster, group: str = "g") -> MemoryConsumer:
    """A member that has its partitions."""
    consumer = cluster.consumer(ConsumerOptions(group, "c", session_timeout_s=10.0))
    consumer.subscribe("t", Listening(consumer))
    consumer.poll(0.0, 1)
    return consumer


def values(cluster: MemoryCluster) -> list[bytes | None]:
    """What stands in the topic."""
    return [record.value for record in cluster.records("t")]


# Producing


def test_a_refused_produce_is_not_written_and_the_next_one_is(cluster: MemoryCluster) -> None:
    cluster.faults.refuse_produces(2)
    first, second, third = produce(cluster.producer(), b"1", b"2", b"3")
    assert isinstance(first, RetriableError)
    assert isinstance(second, RetriableError)
    assert isinstance(third, Delivery)
    assert values(cluster) == [b"3"]


def test_a_refusal_may_say_anything(cluster: MemoryCluster) -> None:
    error = OutcomeUnknownError("who knows")
    cluster.faults.refuse_produces(error=error)
    assert produce(cluster.producer(), b"1") == [error]


@pytest.mark.parametrize("written", [True, False])
def test_a_lost_report_tells_nothing_of_what_happened(cluster: MemoryCluster, written: bool) -> None:
    cluster.faults.lose_produce_reports(written=written)
    (report,) = produce(cluster.producer(), b"1")
    assert isinstance(report, OutcomeUnknownError)
    assert values(cluster) == ([b"1"] if written else [])


def test_a_fault_of_one_topic_spares_the_others(cluster: MemoryCluster) -> None:
    cluster.create_topic("other")
    cluster.faults.refuse_produces(topic="other")
    producer = cluster.producer()
    assert isinstance(produce(producer, b"1")[0], Delivery)
    assert isinstance(produce(producer, b"1", topic="other")[0], RetriableError)


def test_a_late_produce_holds_up_its_partition_and_no_other(cluster: MemoryCluster, clock: ManualClock) -> None:
    producer = cluster.producer()
    cluster.faults.delay_produces(5.0)
    late = produce(producer, b"1", b"2")
    other = produce(producer, b"3", partition=1)
    assert (late, len(other)) == ([], 1)
    clock.advance(4.9)
    assert producer.flush(0.0) == 2
    assert producer.flush(1.0) == 0
    assert [report.offset for report in late if isinstance(report, Delivery)] == [0, 1]
    assert values(cluster) == [b"1", b"2", b"3"]


def test_what_hangs_is_given_up_at_the_delivery_timeout(cluster: MemoryCluster, clock: ManualClock) -> None:
    producer = cluster.producer()
    cluster.faults.delay_produces(HANG)
    reports = produce(producer, b"1", b"2")
    assert producer.flush(DELIVERY_TIMEOUT_S + 1.0) == 0
    given_up, written = reports
    assert isinstance(given_up, OutcomeUnknownError)
    assert isinstance(written, Delivery)
    cluster.faults.release()
    assert values(cluster) == [b"2"]
    assert clock.monotonic() <= DELIVERY_TIMEOUT_S + 1.0


def test_what_hangs_goes_on_when_it_is_released(cluster: MemoryCluster) -> None:
    producer = cluster.producer()
    cluster.faults.delay_produces(HANG)
    reports = produce(producer, b"1")
    assert producer.flush(1.0) == 1
    cluster.faults.release()
    assert isinstance(reports[0], Delivery)


def test_a_closed_producer_reports_what_is_undecided(cluster: MemoryCluster) -> None:
    producer = cluster.producer()
    cluster.faults.delay_produces(HANG)
    reports = produce(producer, b"1")
    producer.close(0.5)
    producer.close(0.5)
    assert isinstance(reports[0], OutcomeUnknownError)
    cluster.faults.release()
    assert len(reports) == 1
    assert values(cluster) == []


# Commits

POINT = {P0: CommitPoint(NextOffset(1), "m")}


def committed(cluster: MemoryCluster) -> CommitPoint | None:
    """What stands committed."""
    return cluster.admin().group_offsets("g", [P0]).result(0.0)[P0]


def test_a_refused_commit_is_not_taken(cluster: MemoryCluster) -> None:
    consumer = member(cluster)
    cluster.faults.refuse_commits()
    assert isinstance(consumer.commit(POINT).result(0.0)[P0], RetriableError)
    assert committed(cluster) is None
    assert consumer.commit(POINT).result(0.0) == {P0: None}


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_tells_nothing_of_what_happened(cluster: MemoryCluster, applied: bool) -> None:
    consumer = member(cluster)
    cluster.faults.lose_commit_answers(applied=applied)
    assert isinstance(consumer.commit(POINT).result(0.0)[P0], OutcomeUnknownError)
    assert (committed(cluster) is not None) == applied


def test_a_late_commit_takes_effect_late(cluster: MemoryCluster, clock: ManualClock) -> None:
    consumer = member(cluster)
    cluster.faults.delay_commits(3.0)
    answer = consumer.commit(POINT)
    assert not answer.done()
    assert committed(cluster) is None
    assert answer.result(5.0) == {P0: None}
    assert clock.monotonic() == 3.0
    assert committed(cluster) == POINT[P0]


def test_to_wait_for_what_hangs_costs_the_clocks_time_only(cluster: MemoryCluster, clock: ManualClock) -> None:
    consumer = member(cluster)
    cluster.faults.delay_commits(HANG)
    answer = consumer.commit(POINT)
    with pytest.raises(FutureTimeoutError):
        answer.result(5.0)
    assert clock.monotonic() == 5.0
    cluster.faults.release()
    assert answer.result(0.0) == {P0: None}


def test_a_commit_that_arrives_after_the_member_rejoined_is_stale(cluster: MemoryCluster) -> None:
    consumer = member(cluster)
    cluster.faults.delay_commits(HANG)
    answer = consumer.commit(POINT)
    consumer.rejoin()
    consumer.poll(0.0, 1)
    cluster.faults.release()
    assert isinstance(answer.result(0.0)[P0], StaleMemberError)
    assert committed(cluster) is None


def test_a_commit_of_an_older_generation_is_stale(cluster: MemoryCluster) -> None:
    first = member(cluster)
    cluster.faults.delay_commits(HANG)
    answer = first.commit(POINT)
    second = member(cluster)
    for _ in range(3):
        first.poll(0.0, 1)
        second.poll(0.0, 1)
    cluster.faults.release()
    refused = answer.result(0.0)[P0]
    assert isinstance(refused, StaleMemberError)
    assert refused.code == "ILLEGAL_GENERATION"


# The admin


def test_questions_fail_as_often_as_said(cluster: MemoryCluster) -> None:
    admin = cluster.admin()
    cluster.faults.refuse_admin(1, call="list_topics")
    assert admin.describe_topics(["t"], 1.0)["t"] is not None
    with pytest.raises(RetriableError):
        admin.list_topics(1.0)
    assert admin.list_topics(1.0) == ["t"]


def test_a_question_that_blocks_gives_up_at_its_timeout(cluster: MemoryCluster, clock: ManualClock) -> None:
    cluster.faults.delay_admin(HANG, call="describe_topics")
    with pytest.raises(RetriableError, match="no answer within 3 s"):
        cluster.admin().describe_topics(["t"], 3.0)
    assert clock.monotonic() == 3.0


def test_an_answer_in_the_loop_may_come_late_or_not_at_all(cluster: MemoryCluster, clock: ManualClock) -> None:
    admin = cluster.admin()
    cluster.faults.delay_admin(2.0, call="list_offsets")
    answer = admin.list_offsets({P0: Latest()})
    assert not answer.done()
    clock.advance(2.0)
    assert answer.result(0.0) == {P0: 0}
    cluster.faults.delay_admin(HANG, call="group_offsets")
    with pytest.raises(RetriableError, match="no answer"):
        admin.group_offsets("g", [P0]).result(60.0)


def test_cleared_faults_do_not_come(cluster: MemoryCluster) -> None:
    cluster.faults.refuse_produces(10)
    cluster.faults.refuse_admin(10)
    cluster.faults.clear()
    assert isinstance(produce(cluster.producer(), b"1")[0], Delivery)
    assert cluster.admin().list_topics(1.0) == ["t"]


# Away and back


def test_brokers_that_are_away_are_reported_once_and_lose_nothing(cluster: MemoryCluster) -> None:
    consumer, producer, admin = member(cluster), cluster.producer(), cluster.admin()
    for partition in (P0, TopicPartition("t", 1)):
        consumer.seek(partition, NextOffset(0))
        consumer.resume([partition])
    produce(producer, b"1")
    cluster.away()
    (event,) = consumer.poll(1.0, 10).events
    assert isinstance(event, Trouble)
    assert consumer.poll(1.0, 10).events == ()
    reports = produce(producer, b"2")
    assert reports == []
    assert isinstance(consumer.commit(POINT).result(0.0)[P0], RetriableError)
    with pytest.raises(RetriableError, match="away"):
        admin.list_topics(1.0)
    with pytest.raises(RetriableError, match="away"):
        admin.group_offsets("g", [P0]).result(0.0)
    cluster.back()
    assert isinstance(reports[0], Delivery)
    assert [record.value for record in consumer.poll(1.0, 10).records] == [b"1", b"2"]


def test_an_absence_that_outlasts_the_session_costs_no_membership(cluster: MemoryCluster, clock: ManualClock) -> None:
    consumer = member(cluster)
    cluster.away()
    consumer.poll(0.0, 1)
    clock.advance(1_000.0)
    cluster.back()
    consumer.poll(0.0, 1)
    assert consumer.commit(POINT).result(0.0) == {P0: None}


def test_what_was_produced_while_they_were_away_times_out(cluster: MemoryCluster) -> None:
    producer = cluster.producer()
    cluster.away()
    reports = produce(producer, b"1")
    producer.flush(DELIVERY_TIMEOUT_S + 1.0)
    cluster.back()
    assert isinstance(reports[0], OutcomeUnknownError)
    assert values(cluster) == []


# Members


def test_a_crashed_members_partitions_move_when_its_session_is_over(cluster: MemoryCluster, clock: ManualClock) -> None:
    dead, heir = member(cluster), member(cluster)
    cluster.crash(dead)
    for _ in range(3):
        heir.poll(0.0, 1)
    info = cluster.admin().describe_group("g", 1.0)
    assert info is not None
    assert len(info.members) == 2
    clock.advance(10.0)
    heir.poll(0.0, 1)
    info = cluster.admin().describe_group("g", 1.0)
    assert info is not None
    (left,) = info.members
    assert len(left.partitions) == 2
    assert dead not in cluster.consumers


def test_a_member_that_stood_still_for_less_than_its_session_has_lost_nothing(
    cluster: MemoryCluster, clock: ManualClock
) -> None:
    consumer = member(cluster)
    cluster.freeze(consumer)
    clock.advance(9.0)
    cluster.thaw(consumer)
    clock.advance(9.0)
    assert consumer.commit(POINT).result(0.0) == {P0: None}


def test_who_does_not_poll_for_too_long_is_a_member_no_more(cluster: MemoryCluster, clock: ManualClock) -> None:
    consumer = cluster.consumer(ConsumerOptions("g", "c"))
    listener = Listening(consumer)
    consumer.subscribe("t", listener)
    consumer.poll(0.0, 1)
    clock.advance(300.0)
    consumer.poll(0.0, 1)
    assert [how for how, _ in listener.log] == ["assigned", "lost"]


def test_ends_come_to_a_member_that_reads(cluster: MemoryCluster) -> None:
    consumer = member(cluster)
    consumer.seek(P0, NextOffset(0))
    consumer.resume([P0])
    assert consumer.poll(0.0, 1).events == [ReachedEnd(P0, NextOffset(0))]
