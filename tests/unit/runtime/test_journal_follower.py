"""What is followed comes whole and in order, whatever comes and goes beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from streamq.model.errors import InvariantError
from streamq.model.ports import OutOfRange, ReachedEnd, ReaderPort
from streamq.model.records import NextOffset, Offset, TopicPartition
from streamq.runtime.journal_follower import Followed, JournalFollower
from streamq.testing import ManualClock

from .journals import R0, R1, Shop, batch

NOTHING = Followed([], [], [])


class Noting:
    """A reader that notes what it is to read. See `ReaderPort`."""

    def __init__(self, reader: ReaderPort) -> None:
        self._reader = reader
        self.poll, self.close = reader.poll, reader.close
        self.assigned: list[dict[TopicPartition, int]] = []

    def assign(self, positions: Mapping[TopicPartition, NextOffset]) -> None:
        """Note it."""
        self.assigned.append(dict(positions))
        self._reader.assign(positions)


class Bench:
    """A shop, and what follows its journal."""

    def __init__(self) -> None:
        self.shop = Shop(ManualClock())
        self.readers: list[Noting] = []
        self.follower = JournalFollower(self._make)

    def _make(self) -> ReaderPort:
        self.readers.append(Noting(self.shop.cluster.reader()))
        return self.readers[-1]

    def follow(self, *, start: int = 0) -> None:
        """Follow the first partition."""
        self.follower.follow(R0, NextOffset(start))

    def values(self, most: int = 100) -> list[bytes | None]:
        """What one look gives of all."""
        return [record.value for _, record in self.follower.poll(most).records]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.follower.close()


def test_nothing_is_made_before_something_is_followed(bench: Bench) -> None:
    assert bench.follower.poll(10) == NOTHING
    bench.follower.drop(R0)
    assert (bench.follower.poll(10), bench.readers, len(bench.follower)) == (NOTHING, [], 0)


def test_records_come_with_their_partition_and_the_end_after_them(bench: Bench) -> None:
    bench.shop.fill(R0, [b"a", b"b"])
    bench.follow()
    records, ends, out_of_range = bench.follower.poll(10)
    assert [(partition, record.offset, record.value) for partition, record in records] == [(R0, 0, b"a"), (R0, 1, b"b")]
    assert (ends, out_of_range) == ([ReachedEnd(R0, NextOffset(2))], [])
    assert bench.follower.position(R0) == 2
    assert bench.follower.poll(10) == NOTHING


def test_an_end_behind_a_marker_is_the_position(bench: Bench) -> None:
    transactions = bench.shop.transactions()
    transactions.begin_session(1.0)
    transactions.run(batch(b"a"), bench.shop.membership)
    bench.follow()
    found = bench.follower.poll(10)
    assert found.ends == [ReachedEnd(R0, NextOffset(2))]
    assert bench.follower.position(R0) == 2, "the marker is passed, too"


def test_what_is_not_decided_is_not_seen(bench: Bench) -> None:
    bench.follow()
    bench.shop.leave_open(b"open")
    bench.shop.fill(R0, [b"behind it"])
    assert bench.values() == []
    assert bench.follower.position(R0) == 0
    bench.shop.transactions().begin_session(1.0)
    assert bench.values() == [b"behind it"]


def test_others_go_on_where_they_are_when_one_comes_and_when_one_goes(bench: Bench) -> None:
    numbers = [b"%d" % number for number in range(30)]
    bench.shop.fill(R0, numbers)
    bench.shop.fill(R1, [b"one"])
    bench.follow()
    seen = bench.values(7)
    bench.follower.follow(R1, NextOffset(0))
    seen += bench.values(7)
    bench.follower.drop(R1)
    while found := bench.values(7):
        seen += found
    assert [value for value in seen if value != b"one"] == numbers
    assert R0 in bench.follower and R1 not in bench.follower


def test_what_comes_or_goes_together_is_assigned_once_and_nothing_is_read_on_that_was_dropped(bench: Bench) -> None:
    bench.follow()
    bench.follower.follow(R1, NextOffset(0))
    for _ in range(3):
        bench.follower.poll(10)
    bench.follower.drop(R0)
    bench.follower.drop(R1)
    for _ in range(3):
        bench.follower.poll(10)
    assert bench.readers[0].assigned == [{R0: 0, R1: 0}, {}]


def test_what_is_dropped_gives_nothing_any_more(bench: Bench) -> None:
    bench.shop.fill(R0, [b"a", b"b"])
    bench.follow()
    assert bench.values(1) == [b"a"]
    bench.follower.drop(R0)
    assert bench.follower.poll(10) == NOTHING
    with pytest.raises(KeyError):
        bench.follower.position(R0)
    bench.follow(start=1)
    assert bench.values() == [b"b"]


def test_one_that_is_followed_anew_begins_there(bench: Bench) -> None:
    bench.shop.fill(R0, [b"a", b"b", b"c"])
    bench.follow()
    assert bench.values() == [b"a", b"b", b"c"]
    bench.follow(start=1)
    assert bench.follower.position(R0) == 1
    assert bench.values() == [b"b", b"c"]


def test_a_position_that_is_gone_is_told_once_and_stands_until_it_is_followed_anew(bench: Bench) -> None:
    bench.shop.fill(R0, [b"%d" % number for number in range(5)])
    bench.shop.cluster.delete_records(R0, 3)
    bench.follow(start=1)
    assert bench.follower.poll(10) == Followed([], [], [OutOfRange(R0, Offset(1))])
    assert bench.follower.poll(10) == NOTHING
    assert bench.follower.position(R0) == 1
    bench.follow(start=3)
    assert bench.values() == [b"3", b"4"]


def test_brokers_that_are_away_are_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.shop.fill(R0, [b"a"])
    bench.follow()
    for _ in range(2):
        bench.shop.cluster.away()
        assert bench.follower.poll(10) == NOTHING
        bench.shop.cluster.back()
    assert [record.getMessage()[:15] for record in caplog.records] == ["The retry topic"]
    assert bench.values() == [b"a"]
    bench.shop.cluster.away()
    bench.follower.poll(10)
    assert len(caplog.records) == 2, "something came through in between"


def test_closed_it_gives_nothing(bench: Bench) -> None:
    bench.shop.fill(R0, [b"a"])
    bench.follow()
    bench.follower.close()
    bench.follower.close()
    assert bench.follower.poll(10) == NOTHING
    with pytest.raises(InvariantError):
        bench.follow()
