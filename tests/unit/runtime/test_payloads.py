"""What is wanted is read, once, wherever it stands; what is gone is told, and nothing is waited for in a busy loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

import pytest

from streamq.model.clock import SystemClock
from streamq.model.errors import FatalBrokerError
from streamq.model.ports import Polled, ReaderPort
from streamq.model.records import NextOffset, TopicPartition
from streamq.runtime import payloads
from streamq.runtime.payload_runs import GAP
from streamq.runtime.payloads import AnyPayloadFetcher, InlinePayloadFetcher, PayloadFetcher
from streamq.testing import ManualClock

from .journals import R0, R1, WAIT_S, Shop, batch, until

Found = list[tuple[int, bytes | None]]


class Counting:
    """A reader that counts, and may be refused. See `ReaderPort`."""

    def __init__(self, reader: ReaderPort) -> None:
        self._reader = reader
        self.close = reader.close
        self.polls = 0
        self.assigned: Mapping[TopicPartition, NextOffset] = {}
        self.error: FatalBrokerError | None = None

    def assign(self, positions: Mapping[TopicPartition, NextOffset]) -> None:
        """Note it."""
        self.assigned = dict(positions)
        self._reader.assign(positions)

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """Count it."""
        self.polls += 1
        if self.error is not None:
            raise self.error
        return self._reader.poll(timeout_s, max_records)


class Bench:
    """A shop and a fetcher of either kind."""

    def __init__(self, kind: type[AnyPayloadFetcher]) -> None:
        self.shop = Shop(ManualClock() if kind is InlinePayloadFetcher else SystemClock())
        self.readers: list[Counting] = []
        self.fetcher = kind(self._make, "it")
        self.found: list[tuple[TopicPartition, int, bytes | None]] = []
        self.missing: list[tuple[TopicPartition, int]] = []

    def _make(self) -> ReaderPort:
        self.readers.append(Counting(self.shop.cluster.reader()))
        return self.readers[-1]

    def look(self) -> bool:
        """Take what there is."""
        taken = [(partition, int(record.offset), record.value) for partition, record in self.fetcher.take()]
        self.found += taken
        self.missing += self.fetcher.take_missing()
        return bool(taken)

    def await_count(self, count: int) -> None:
        """Take until so many were read or are missing."""

        def there() -> bool:
            self.look()
            return len(self.found) + len(self.missing) >= count

        until(there, f"{count} places are decided")
        assert len(self.found) + len(self.missing) == count

    def of(self, partition: TopicPartition) -> Found:
        """What was found of a partition."""
        return [(place, value) for found, place, value in self.found if found == partition]


def numbers(count: int) -> Sequence[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.fixture(params=[PayloadFetcher, InlinePayloadFetcher], ids=["thread", "inline"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    kind: type[AnyPayloadFetcher] = request.param
    bench = Bench(kind)
    yield bench
    bench.fetcher.close(WAIT_S)


@pytest.fixture
def threaded() -> Iterator[Bench]:
    bench = Bench(PayloadFetcher)
    yield bench
    bench.fetcher.close(WAIT_S)


def test_nothing_is_made_before_something_is_wanted(bench: Bench) -> None:
    assert not bench.look()
    bench.fetcher.forget(R0)
    bench.fetcher.want(R0, [])
    bench.fetcher.close(0.0)
    assert bench.readers == []
    assert "it-payloads" not in {thread.name for thread in threading.enumerate()}


def test_places_are_read_wherever_they_stand(bench: Bench) -> None:
    count = 4 * GAP
    bench.shop.fill(R0, numbers(count))
    bench.shop.fill(R1, [b"one"])
    places = [count - 1, 0, 7, 8, GAP, 3 * GAP]
    bench.fetcher.want(R0, places)
    bench.fetcher.want(R1, [0])
    bench.await_count(7)
    assert bench.of(R0) == [(place, b"%d" % place) for place in sorted(places)]
    assert bench.of(R1) == [(0, b"one")]
    assert (bench.missing, len(bench.readers)) == ([], 1)


def test_what_is_named_again_before_it_is_taken_comes_once_and_after_that_anew(bench: Bench) -> None:
    bench.shop.fill(R0, numbers(3))
    for _ in range(3):
        bench.fetcher.want(R0, [1, 2])
    bench.await_count(2)
    bench.fetcher.want(R0, [1])
    bench.await_count(3)
    assert bench.of(R0) == [(1, b"1"), (2, b"2"), (1, b"1")]


def test_what_retention_took_is_told_once_and_the_rest_is_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "PATIENCE", 1_000_000)
    bench.shop.fill(R0, numbers(10))
    bench.shop.cluster.delete_records(R0, 4)
    bench.fetcher.want(R0, [1, 3, 6, 9])
    bench.await_count(4)
    assert sorted(bench.missing) == [(R0, 1), (R0, 3)]
    assert bench.of(R0) == [(6, b"6"), (9, b"9")]
    bench.fetcher.want(R0, [1, 5])
    bench.await_count(5)
    assert bench.of(R0)[-1] == (5, b"5")


def test_a_place_that_holds_a_marker_is_missing(bench: Bench) -> None:
    transactions = bench.shop.transactions()
    transactions.begin_session(WAIT_S)
    for value in (b"a", b"b"):
        transactions.run(batch(value), bench.shop.membership)
    bench.fetcher.want(R0, [0, 1, 2, 3])
    bench.await_count(4)
    assert bench.of(R0) == [(0, b"a"), (2, b"b")]
    assert bench.missing == [(R0, 1), (R0, 3)]


def test_what_is_not_readable_yet_is_waited_for_and_holds_up_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payloads, "PATIENCE", 1_000_000)
    bench.shop.leave_open(b"open")
    bench.shop.fill(R0, [b"behind it"])
    bench.shop.fill(R1, numbers(2 * GAP))
    bench.fetcher.want(R0, [1])
    bench.fetcher.want(R1, [0])
    bench.await_count(1)
    bench.fetcher.want(R1, [1, 2 * GAP - 1])
    bench.await_count(3)
    assert bench.of(R0) == []
    bench.shop.transactions().begin_session(WAIT_S)
    bench.await_count(4)
    assert bench.of(R0) == [(1, b"behind it")]
    assert bench.missing == []


def test_of_what_is_forgotten_nothing_comes_any_more(bench: Bench) -> None:
    bench.shop.fill(R0, numbers(5))
    bench.shop.fill(R1, numbers(5))
    bench.shop.cluster.away()
    bench.fetcher.want(R0, [1, 2])
    bench.fetcher.want(R1, [3])
    bench.fetcher.forget(R0)
    bench.shop.cluster.back()
    bench.await_count(1)
    assert bench.found == [(R1, 3, b"3")]
    bench.fetcher.want(R0, [2])
    bench.await_count(2)
    assert bench.of(R0) == [(2, b"2")]


def test_what_was_read_and_is_forgotten_is_not_taken(threaded: Bench) -> None:
    threaded.shop.fill(R0, numbers(5))
    threaded.shop.fill(R1, numbers(5))
    arrived = threading.Event()
    fetcher = PayloadFetcher(threaded.shop.cluster.reader, "it", arrived.set)
    fetcher.want(R0, [1])
    assert arrived.wait(WAIT_S)
    fetcher.forget(R0)
    assert list(fetcher.take()) == []
    fetcher.close(WAIT_S)


def test_reading_pauses_while_much_is_not_taken(threaded: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "MOST_BYTES", 1_000)
    monkeypatch.setattr(payloads, "MOST_RECORDS", 10)
    threaded.shop.fill(R0, [b"x" * 100] * 100)
    threaded.fetcher.want(R0, range(100))
    until(lambda: bool(threaded.readers) and threaded.readers[0].polls == 1, "the first is read")
    SystemClock().sleep(0.05)
    assert threaded.readers[0].polls == 1, "more than may be held"
    assert threaded.look()
    assert len(threaded.found) == 10
    threaded.await_count(100)


def test_nothing_is_polled_or_held_ready_while_nothing_is_wanted(threaded: Bench) -> None:
    threaded.shop.fill(R0, numbers(5))
    threaded.fetcher.want(R0, [1])
    threaded.await_count(1)
    until(lambda: threaded.readers[0].assigned == {}, "nothing is read ahead")
    polls = threaded.readers[0].polls
    threaded.shop.fill(R0, numbers(5))
    SystemClock().sleep(0.05)
    assert threaded.readers[0].polls == polls


def test_without_the_right_to_read_the_owner_is_told(bench: Bench) -> None:
    bench.shop.fill(R0, numbers(5))
    bench.fetcher.want(R0, [1])
    bench.await_count(1)
    bench.readers[0].error = FatalBrokerError("no right to read", code="TOPIC_AUTHORIZATION_FAILED")
    bench.fetcher.want(R0, [2])
    with pytest.raises(FatalBrokerError):
        bench.await_count(2)


def test_to_close_ends_what_waits_for_brokers(threaded: Bench) -> None:
    threaded.shop.fill(R0, numbers(5))
    threaded.shop.cluster.away()
    threaded.fetcher.want(R0, [1])
    until(lambda: bool(threaded.readers) and threaded.readers[0].polls > 0, "the thread is at work")
    threaded.fetcher.close(WAIT_S)
    threaded.fetcher.close(WAIT_S)
    assert "it-payloads" not in {thread.name for thread in threading.enumerate()}
