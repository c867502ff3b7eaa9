"""Legs and aircraft in SQLite.

One file for all worker processes, not one for each: after a crash another process goes on with an aircraft in the
middle of its chain and needs what the first one wrote. Two rules make it right over `kill -9`:

* A leg and what it changes in its aircraft are one transaction, and the handler returns after the COMMIT only. What
  was not committed is not settled either, so it comes again.
* A leg that is there already changes nothing. What was committed but not settled comes again, too.

WAL lets readers look on while a worker writes; the write lock is taken at once (BEGIN IMMEDIATE), so that a transaction
never fails half way because another process wrote in between, and processes take turns by a lock file (released by the
operating system when its owner is killed). `synchronous=FULL` makes a COMMIT survive a power cut: an
offset must not be further than the disk.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from topologies.flights.aircraft import Aircraft
from topologies.flights.records import Flight

BUSY_TIMEOUT_S: Final = 30.0

# The legs' key begins with the time: legs come in about that order and so fill few pages a transaction. An index by
# aircraft would touch a page for each leg.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS leg (
    date INTEGER NOT NULL, sched_dep_time INTEGER NOT NULL, carrier TEXT NOT NULL, flight INTEGER NOT NULL,
    origin TEXT NOT NULL, dest TEXT NOT NULL, tailnum TEXT NOT NULL, number INTEGER NOT NULL,
    dep_delay INTEGER, arr_delay INTEGER, cancelled INTEGER NOT NULL,
    PRIMARY KEY (date, sched_dep_time, carrier, flight, origin)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS aircraft (
    tailnum TEXT PRIMARY KEY, legs INTEGER NOT NULL, flown INTEGER NOT NULL, cancelled INTEGER NOT NULL,
    diverted INTEGER NOT NULL, distance INTEGER NOT NULL, dep_delay INTEGER NOT NULL, arr_delay INTEGER NOT NULL,
    knock_on INTEGER NOT NULL, last_arr_delay INTEGER, last_dest TEXT, chain INTEGER NOT NULL
) WITHOUT ROWID;
"""
_READ: Final = """
SELECT tailnum, legs, flown, cancelled, diverted, distance, dep_delay, arr_delay, knock_on, last_arr_delay, last_dest,
       chain FROM aircraft"""

# A group is one statement, its rows a JSON array: sqlite3 lets go of the interpreter's lock for each step, and with
# busy threads beside it every step would wait to get it back.
_READ_SOME: Final = """
SELECT json_group_array(json_array(
    tailnum, legs, flown, cancelled, diverted, distance, dep_delay, arr_delay, knock_on, last_arr_delay, last_dest,
    chain)) FROM aircraft WHERE tailnum IN (SELECT value FROM json_each(?))"""
_FIND_LEGS: Final = """
SELECT json_group_array(sent.key) FROM json_each(?) AS sent CROSS JOIN leg
    ON date = json_extract(sent.value, '$[0]') AND sched_dep_time = json_extract(sent.value, '$[1]')
    AND carrier = json_extract(sent.value, '$[2]') AND flight = json_extract(sent.value, '$[3]')
    AND origin = json_extract(sent.value, '$[4]')"""
_ADD_LEGS: Final = """
INSERT INTO leg SELECT
    json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
    json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]'),
    json_extract(value, '$[8]'), json_extract(value, '$[9]'), json_extract(value, '$[10]') FROM json_each(?)"""
_PUT_AIRCRAFT: Final = """
INSERT OR REPLACE INTO aircraft SELECT
    json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
    json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]'),
    json_extract(value, '$[8]'), json_extract(value, '$[9]'), json_extract(value, '$[10]'),
    json_extract(value, '$[11]') FROM json_each(?)"""


Identity = tuple[int, int, str, int, str]
"""What no two flights share: the key of a leg."""


class Leg(NamedTuple):
    """One leg as it is kept: `number` is its place in the chain of its aircraft, from 1."""

    date: int
    sched_dep_time: int
    carrier: str
    flight: int
    origin: str
    dest: str
    tailnum: str
    number: int
    dep_delay: int | None
    arr_delay: int | None
    cancelled: int


class FlightStore:
    """The file. Used by one thread at a time; other processes may have it open as well."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, its folder included. Waits up to `BUSY_TIMEOUT_S` for another process.

        Raises:
            sqlite3.OperationalError: the folder cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._turn = path.with_name(f"{path.name}.lock").open("wb")
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA cache_size=-65536")
        self._db.executescript(_SCHEMA)

    def add(self, flights: Sequence[Flight]) -> int:
        """Add the legs in their order, in one transaction, and return how many were new. Blocks until they are on disk.

        Raises:
            sqlite3.Error: nothing was added.
            ValueError: a flight without a tail number belongs to no aircraft.
        """
        nameless = next((flight for flight in flights if flight.tailnum is None), None)
        if nameless is not None:
            raise ValueError(f"flight {nameless.carrier}{nameless.flight} of {nameless.date} has no tail number")
        with self._transaction():
            books = self._books_of(flights)
            known = self._known(flights)
            legs = []
            for flight in flights:
                identity = _identity(flight)
                if identity not in known:
                    known.add(identity)
                    after = books.get(tailnum := flight.tailnum or "", Aircraft(tailnum)).after(flight)
                    books[tailnum] = after
                    legs.append(_leg(flight, tailnum, after.legs))
            self._db.execute(_ADD_LEGS, (_json(legs),))
            self._db.execute(_PUT_AIRCRAFT, (_json(list(books.values())),))
            return len(legs)

    def forget(self, tailnum: str) -> int:
        """Delete all that is known of an aircraft and return how many legs that were."""
        with self._transaction():
            self._db.execute("DELETE FROM aircraft WHERE tailnum = ?", (tailnum,))
            return self._db.execute("DELETE FROM leg WHERE tailnum = ?", (tailnum,)).rowcount

    def aircraft(self, tailnum: str) -> Aircraft | None:
        """What is known of one aircraft."""
        row = self._db.execute(_READ + " WHERE tailnum = ?", (tailnum,)).fetchone()
        return None if row is None else Aircraft(*row)

    def all_aircraft(self) -> list[Aircraft]:
        """What is known of every aircraft, by tail number."""
        return [Aircraft(*row) for row in self._db.execute(_READ + " ORDER BY tailnum")]

    def legs(self, tailnum: str) -> list[Leg]:
        """An aircraft's chain. Reads through all legs: some 50 ms for a year."""
        rows = self._db.execute("SELECT * FROM leg WHERE tailnum = ? ORDER BY number", (tailnum,))
        return [Leg(*row) for row in rows]

    def count_legs(self) -> int:
        """How many legs are there."""
        count: int = self._db.execute("SELECT count(*) FROM leg").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file."""
        self._db.close()
        self._turn.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # SQLite's own wait for another writer is to look again after up to 100 ms; this one ends with the other's turn.
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def _books_of(self, flights: Sequence[Flight]) -> dict[str, Aircraft]:
        text = self._db.execute(_READ_SOME, (_json([flight.tailnum for flight in flights]),)).fetchone()[0]
        return {aircraft.tailnum: aircraft for aircraft in msgspec.json.decode(text, type=list[Aircraft])}

    def _known(self, flights: Sequence[Flight]) -> set[Identity]:
        """Those of the legs that are there already."""
        sent = [_identity(flight) for flight in flights]
        places = msgspec.json.decode(self._db.execute(_FIND_LEGS, (_json(sent),)).fetchone()[0], type=list[int])
        return {sent[place] for place in places}


def _identity(flight: Flight) -> Identity:
    return flight.date, flight.sched_dep_time, flight.carrier, flight.flight, flight.origin


def _leg(flight: Flight, tailnum: str, number: int) -> Leg:
    return Leg(
        flight.date, flight.sched_dep_time, flight.carrier, flight.flight, flight.origin, flight.dest, tailnum, number,
        flight.dep_delay, flight.arr_delay, int(flight.cancelled),
    )  # fmt: skip


def _json(rows: Sequence[object]) -> str:
    return msgspec.json.encode(rows).decode()
