"""The aircraft's books: the figures of a chain, and that a repeat of any suffix leaves them as they are."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from topologies.flights.aircraft import Aircraft
from topologies.flights.group_commit import GroupCommitter
from topologies.flights.records import Flight
from topologies.flights.store import FlightStore


def leg(day: int, *, dep_delay: int | None = 0, arr_delay: int | None = 0, tailnum: str | None = "N1") -> Flight:
    """One flight of January; `dep_delay=None` never departed."""
    departed = dep_delay is not None
    return Flight(
        year=2013, month=1, day=day, carrier="UA", flight=day, origin="EWR", dest="IAH", sched_dep_time=600,
        sched_arr_time=900, distance=1400, tailnum=tailnum, dep_time=600 if departed else None, dep_delay=dep_delay,
        arr_delay=arr_delay if departed else None,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FlightStore]:
    """A new file."""
    with closing(FlightStore(tmp_path / "below" / "flights.sqlite")) as store:
        yield store


def test_figures_of_a_chain_with_a_cancelled_and_a_diverted_leg(store: FlightStore) -> None:
    chain = [leg(1, dep_delay=5, arr_delay=-3), leg(2, dep_delay=None), leg(3, dep_delay=2, arr_delay=None)]
    assert store.add(chain) == 3
    books = store.aircraft("N1")
    assert books is not None
    assert (books.legs, books.flown, books.cancelled, books.diverted) == (3, 2, 1, 1)
    assert (books.distance, books.dep_delay, books.arr_delay) == (2800, 7, -3)
    assert [kept.number for kept in store.legs("N1")] == [1, 2, 3]


def test_a_late_departure_after_a_late_arrival_is_knock_on(store: FlightStore) -> None:
    store.add([leg(1, dep_delay=15, arr_delay=15), leg(2, dep_delay=15, arr_delay=15), leg(3, dep_delay=None)])
    store.add([leg(4, dep_delay=20, arr_delay=0), leg(5, dep_delay=15, arr_delay=15)])
    books = store.aircraft("N1")
    assert books is not None
    # Days 2 and 4 (the cancelled leg between does not count as an arrival); not day 5, which followed a timely one.
    assert books.knock_on == 2


def test_the_checksum_tells_the_order() -> None:
    one, two = leg(1), leg(2)
    assert Aircraft("N1").after(one).after(two).chain != Aircraft("N1").after(two).after(one).chain


@pytest.mark.parametrize("repeated_from", range(5))
def test_a_repeated_suffix_changes_nothing(store: FlightStore, repeated_from: int) -> None:
    chain = [leg(day, dep_delay=day * 10, arr_delay=day * 10) for day in range(1, 6)]
    store.add(chain)
    before = store.all_aircraft()
    assert store.add(chain[repeated_from:]) == 0
    assert store.all_aircraft() == before
    assert store.count_legs() == 5


def test_a_leg_that_comes_twice_in_one_group_counts_once(store: FlightStore) -> None:
    assert store.add([leg(1), leg(1), leg(2)]) == 2
    assert [kept.number for kept in store.legs("N1")] == [1, 2]


def test_two_processes_share_the_file(store: FlightStore, tmp_path: Path) -> None:
    with closing(FlightStore(tmp_path / "below" / "flights.sqlite")) as other:
        store.add([leg(1)])
        other.add([leg(2)])
    books = store.aircraft("N1")
    assert books is not None
    assert books.legs == 2


def test_a_group_with_a_flight_of_no_aircraft_adds_nothing(store: FlightStore) -> None:
    with pytest.raises(ValueError, match="no tail number"):
        store.add([leg(1), leg(2, tailnum=None)])
    assert store.count_legs() == 0
    assert store.all_aircraft() == []


def test_forgetting_an_aircraft_leaves_the_others(store: FlightStore) -> None:
    store.add([leg(1), leg(2), leg(3, tailnum="N2")])
    assert store.forget("N1") == 2
    assert store.aircraft("N1") is None
    assert [aircraft.tailnum for aircraft in store.all_aircraft()] == ["N2"]


def test_group_commit_takes_all_that_wait_in_one_go_and_in_order() -> None:
    groups: list[list[int]] = []

    async def add_all() -> None:
        committer = GroupCommitter[int](lambda items: groups.append(list(items)))
        await asyncio.gather(*(committer.add(number) for number in range(100)))

    asyncio.run(add_all())
    assert [number for group in groups for number in group] == list(range(100))
    assert len(groups) <= 2


def test_group_commit_tells_every_waiter_of_a_failure_and_goes_on() -> None:
    answers = [sqlite3.OperationalError("database is locked"), None]

    def write(_: Sequence[int]) -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    async def add_all() -> list[BaseException | None]:
        committer = GroupCommitter[int](write)
        failed = await asyncio.gather(committer.add(1), committer.add(2), return_exceptions=True)
        await committer.add(3)
        return list(failed)

    failed = asyncio.run(add_all())
    assert [type(error) for error in failed] == [sqlite3.OperationalError] * 2


def test_group_commit_outlives_a_waiter_that_is_cancelled() -> None:
    written: list[int] = []

    async def add_all() -> None:
        committer = GroupCommitter[int](written.extend)
        waiter = asyncio.create_task(committer.add(1))
        await asyncio.sleep(0)
        waiter.cancel()
        await committer.add(2)

    asyncio.run(add_all())
    assert written == [1, 2]
