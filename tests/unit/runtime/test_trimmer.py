"""Settled records go when there are enough of them, and who may not delete them is told once."""

from __future__ import annotations

import pytest

from streamq.model.errors import FatalBrokerError, OutcomeUnknownError
from streamq.model.records import NextOffset, TopicPartition
from streamq.runtime.trimmer import Trimmer
from streamq.testing import ManualClock

from .journals import R0, R1, Shop

NOTHING: dict[TopicPartition, int] = {}
DENIED = FatalBrokerError("no right to delete", code="TOPIC_AUTHORIZATION_FAILED")


class Bench:
    """Two retry partitions of 100 records, and what trims them: by more than 10 places, at most every 5 s."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.shop = Shop(self.clock)
        self.trimmer = Trimmer(self.shop.cluster.admin(), every_s=5.0, moved=10)
        for partition in (R0, R1):
            self.shop.fill(partition, [b""] * 100)
            self.trimmer.opened(partition, NextOffset(0))

    def tick(self, passed_s: float = 5.0, **points: int) -> dict[TopicPartition, int]:
        """One after some time; `r0` and `r1` are the trim points."""
        self.clock.advance(passed_s)
        named = {partition: points[name] for name, partition in (("r0", R0), ("r1", R1)) if name in points}
        return dict(self.trimmer.advance(self.clock.monotonic(), named))

    def starts(self) -> list[int]:
        """Where the partitions begin in truth."""
        return [
            min(record.offset for record in self.shop.cluster.records(R0.topic) if record.partition == number)
            for number in range(2)
        ]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_moved_enough_is_deleted_and_the_new_start_is_told_once(bench: Bench) -> None:
    assert bench.tick(r0=50, r1=10) == NOTHING
    assert bench.starts() == [50, 0]
    assert bench.tick(0.0, r0=50, r1=10) == {R0: 50}
    assert bench.tick(r0=60, r1=10) == NOTHING
    assert bench.tick(r0=60, r1=10) == NOTHING
    assert bench.starts() == [50, 0], "ten more are not enough"
    bench.tick(r0=61, r1=11)
    assert bench.starts() == [61, 11]


def test_it_asks_no_more_often_than_it_may(bench: Bench) -> None:
    bench.tick(r0=20)
    assert bench.tick(4.9, r0=40) == {R0: 20}
    assert bench.starts() == [20, 0]
    bench.tick(0.1, r0=40)
    assert bench.starts() == [40, 0]


def test_one_question_at_a_time_and_nobody_waits_for_it(bench: Bench) -> None:
    bench.shop.cluster.faults.delay_admin(30.0, call="delete_records")
    assert bench.tick(r0=20) == NOTHING
    assert bench.tick(r0=40) == NOTHING
    assert bench.tick(r0=60, r1=60) == NOTHING
    assert bench.starts() == [0, 0]
    bench.clock.advance(30.0)
    bench.shop.consumer.poll(0.0, 1)
    assert bench.tick(r0=60, r1=60) == {R0: 20}
    assert bench.tick(r0=60, r1=60) == {R0: 60, R1: 60}


@pytest.mark.parametrize("error", [None, OutcomeUnknownError("no answer")])
def test_what_failed_is_tried_again(
    bench: Bench, error: OutcomeUnknownError | None, caplog: pytest.LogCaptureFixture
) -> None:
    bench.shop.cluster.faults.refuse_admin(2, call="delete_records", error=error)
    for _ in range(3):
        assert bench.tick(r0=20) == NOTHING
    assert bench.tick(r0=20) == {R0: 20}
    assert caplog.messages == []


def test_without_the_right_it_is_said_once_and_given_up(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.shop.cluster.faults.refuse_admin(call="delete_records", error=DENIED)
    for _ in range(4):
        bench.tick(r0=50, r1=50)
    assert bench.starts() == [0, 0]
    assert [message[:22] for message in caplog.messages] == ["Settled records cannot"]
    bench.trimmer.closed(R0)
    bench.trimmer.opened(R0, NextOffset(0))
    bench.tick(r0=50, r1=50)
    assert (bench.starts(), len(caplog.messages)) == ([0, 0], 1)


def test_a_point_beyond_the_end_is_an_error_of_that_partition(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.tick(r0=500, r1=50)
    assert bench.tick(r0=500, r1=90) == {R1: 50}
    assert bench.starts() == [0, 90]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_of_what_is_not_owned_nothing_is_asked_and_nothing_told(bench: Bench) -> None:
    bench.shop.cluster.faults.delay_admin(1.0, call="delete_records")
    bench.tick(r0=20)
    bench.trimmer.closed(R0)
    bench.clock.advance(1.0)
    bench.shop.consumer.poll(0.0, 1)
    assert bench.tick(r0=50) == NOTHING
    assert bench.starts() == [20, 0]
