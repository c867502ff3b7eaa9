"""What is parked, read from the journals: entries, when they are due, key states, requests, and what is not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from streamq.core.journal_records import KeyState, Request, Settled, Wait, Waits
from streamq.model.errors import RetriableError
from streamq.model.ports import Polled
from streamq.model.records import NextOffset, OutgoingRecord, TopicPartition
from streamq.model.transactions import Batch, Membership, TransactionStep
from streamq.ops.parked import STANDS_S, ParkedSummary, ParkedView, view_of

from .journal import RETRY, entry, write
from .shop import Shop

P0 = TopicPartition(RETRY, 0)


def view(shop: Shop) -> ParkedView:
    return view_of(shop.admin, shop.reader, shop.charge, shop.clock)


def look(shop: Shop) -> ParkedSummary:
    return view(shop).look()[0]


def test_without_a_retry_topic_nothing_is_parked(shop: Shop) -> None:
    assert view(shop).look() == {}


def test_an_empty_journal_is_not_read(shop: Shop) -> None:
    shop.create(RETRY)
    found = ParkedView(shop.admin, NoReader(), RETRY, shop.clock).look()
    assert found == {0: ParkedSummary(0), 1: ParkedSummary(1)}
    write(shop, entry(1))
    shop.cluster.delete_records(P0, 1)
    assert ParkedView(shop.admin, NoReader(), RETRY, shop.clock).look()[0].empty, "start and end are the same"


def test_live_entries_are_counted_with_the_oldest_and_the_first_that_is_due(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(7, b"a", next_at_ms=9_000), entry(4, b"b", next_at_ms=5_000), entry(9, b"a"), entry(6, None))
    write(shop, Settled((3,)))
    found = look(shop)
    assert (found.entries, found.oldest_offset, found.journal) == (3, 4, 5)
    assert found.next_at_ms == 5_000, "what stands behind a head that waits is not due, whatever it says"
    write(shop, Waits((Wait(1, 3, 20_000),)))
    assert look(shop).next_at_ms == 9_000
    write(shop, entry(1, b"c"))
    assert look(shop).next_at_ms == 0, "at once"
    write(shop, Settled((0, 1, 2, 6)))
    found = look(shop)
    assert (found.entries, found.oldest_offset, found.next_at_ms, found.empty) == (0, None, None, True)


def test_an_entry_that_is_appended_anew_counts_once(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(3, b"a"), entry(3, b"a", attempts=4), Settled((0,)))
    assert (look(shop).entries, look(shop).oldest_offset) == (1, 3)


def test_keys_that_chain_or_hold_are_counted_and_have_nothing_due(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, KeyState(b"c", "chained"), KeyState(b"h", "held"), KeyState(b"g", "held"), entry(5, b"h"))
    write(shop, KeyState(b"r", "redriving", b"id"), KeyState(b"x", "chained"), KeyState(b"x", "cleared"))
    found = look(shop)
    assert (found.chained, found.held, found.redriving) == (1, 2, 1)
    assert (found.chained_keys, found.held_keys) == (("c",), ("g", "h"))
    assert (found.entries, found.next_at_ms, found.empty) == (1, None, False)


def test_open_requests_are_counted_once_each(shop: Shop) -> None:
    shop.create(RETRY)
    places = write(shop, Request(b"1", "redrive"), Request(b"2", "purge"), Request(b"1", "redrive", letters_end=4))
    assert look(shop).requests == 2
    write(shop, Settled((places[0], places[2])))
    assert look(shop).requests == 1


def test_partitions_are_told_apart(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(1), partition=1)
    found = view(shop).look()
    assert (found[0].entries, found[1].entries) == (0, 1)


def test_a_later_look_reads_only_what_has_come_since(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(1, b"a"), entry(2, b"b"), KeyState(b"h", "held"))
    read: list[int] = []
    again = view(shop)
    assert again.look(progress=read.append)[0].entries == 2
    assert sum(read) == 3
    write(shop, Settled((0,)), entry(5, b"c"))
    found = again.look(progress=read.append)[0]
    assert (found.entries, found.oldest_offset, found.held) == (2, 2, 1)
    assert sum(read) == 5


def test_what_the_owner_has_deleted_is_over(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(1, b"a"), KeyState(b"h", "held"), Request(b"1", "redrive"), entry(2, b"b"))
    again = view(shop)
    assert again.look()[0].entries == 2
    write(shop, Settled((0,)), KeyState(b"h", "cleared"), Settled((2,)))
    shop.cluster.delete_records(P0, 7)
    write(shop, entry(9, b"z"))
    found = again.look()[0]
    assert (found.entries, found.oldest_offset, found.held, found.requests, found.journal) == (1, 9, 0, 0, 1)


def test_a_journal_that_is_shortened_while_it_is_read_is_read_again_from_its_new_start(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(1, b"a"), entry(1, b"a", attempts=3), Settled((0,)), entry(2, b"b"))
    reader = Interrupted(shop, lambda: shop.cluster.delete_records(P0, 1))
    found = ParkedView(shop.admin, reader, RETRY, shop.clock).look()[0]
    assert (found.entries, found.oldest_offset, found.trouble) == (2, 1, None)


def test_a_topic_made_anew_is_read_anew(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(1), KeyState(b"h", "held"))
    again = view(shop)
    assert again.look()[0].entries == 1
    shop.admin.delete_topics([RETRY], 1.0)
    shop.create(RETRY)
    assert again.look()[0] == ParkedSummary(0)
    write(shop, entry(8))
    assert again.look()[0].oldest_offset == 8


def test_what_cannot_be_read_is_a_trouble_of_its_partition_only(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(1))
    shop.cluster.append(P0, b"nonsense")
    write(shop, entry(2), partition=1)
    found = view(shop).look()
    assert found[0].trouble == (
        "offset 1: a record of the retry topic without a streamq.journal header: something else writes there"
    )
    assert not found[0].empty
    assert (found[1].entries, found[1].trouble) == (1, None)


def test_a_look_ends_in_time_and_the_next_goes_on(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, *(entry(number, None) for number in range(1, 2_001)))
    again = ParkedView(shop.admin, Slow(shop), RETRY, shop.clock)
    first = again.look(most_s=0.5)[0]
    assert first.trouble is not None
    assert first.trouble.endswith(" offsets are not read yet")
    assert not first.empty
    assert again.look(most_s=60.0)[0].entries == 2_000


def test_a_transaction_that_stands_open_is_told_and_not_counted(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(1))
    leave_open(shop)
    began = shop.clock.monotonic()
    found = look(shop)
    assert (found.entries, found.trouble) == (1, None)
    assert found.undecided_s >= STANDS_S
    assert shop.clock.monotonic() - began < 2 * STANDS_S
    assert not found.empty


def test_brokers_that_are_silent_are_an_error(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(1))
    shop.cluster.away()
    with pytest.raises(RetriableError):
        look(shop)


class Died(Exception):
    """The process is gone."""


def leave_open(shop: Shop) -> None:
    """A producer dies in a transaction that has written to the journal."""

    def die(step: TransactionStep) -> None:
        if step == "before_commit":
            raise Died

    port = shop.cluster.transactions("shop.charge.1", die)
    port.begin_session(5.0)
    with pytest.raises(Died):
        port.run(Batch([OutgoingRecord(RETRY, b"k", b"{}", (), 0)]), Membership(object()))


class NoReader:
    """Reads nothing."""

    def assign(self, positions: Mapping[TopicPartition, NextOffset]) -> None:
        raise AssertionError(f"{positions} are read")

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        raise AssertionError("something is read")

    def close(self) -> None: ...


class Interrupted:
    """Something happens between its first `assign` and the first poll."""

    def __init__(self, shop: Shop, happens: Callable[[], None]) -> None:
        self._reader = shop.cluster.reader()
        self._happens: Sequence[Callable[[], None]] = [happens]

    def assign(self, positions: Mapping[TopicPartition, NextOffset]) -> None:
        self._reader.assign(positions)

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        for happens in self._happens:
            happens()
        self._happens = ()
        return self._reader.poll(timeout_s, max_records)

    def close(self) -> None:
        self._reader.close()


class Slow:
    """Takes 0.2 s for each poll."""

    def __init__(self, shop: Shop) -> None:
        self._reader = shop.cluster.reader()
        self._clock = shop.clock

    def assign(self, positions: Mapping[TopicPartition, NextOffset]) -> None:
        self._reader.assign(positions)

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        self._clock.advance(0.2)
        return self._reader.poll(timeout_s, max_records)

    def close(self) -> None:
        self._reader.close()
