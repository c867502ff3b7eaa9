"""The app: one topic of flights, one processor that keeps the books of each aircraft."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import streamq as sq
from topologies.flights.group_commit import GroupCommitter
from topologies.flights.ledger import Effect, FileLedger, Ledger, NoLedger
from topologies.flights.records import Flight
from topologies.flights.store import FlightStore

DATABASE = "FLIGHTS_DB"
LEDGER = "FLIGHTS_LEDGER"
DEFAULT_DATABASE = ".streamq/flights.sqlite"

app = sq.App("flights", version="1")
flights = app.topic("flights", value=Flight, key=str, partitions=6)


@app.processor(flights, name="legs", concurrency=512, retry=sq.RetryPolicy(max_attempts=5, backoff_s=0.5))
async def track(flight: Flight, ctx: sq.Context) -> None:
    """Add a leg to its aircraft's chain.

    Flights that never departed are legs, too, as cancelled ones; what names no aircraft goes to the dead letters.
    """
    with Effect(ledger(), ctx):
        if flight.tailnum is None:
            raise sq.Reject("no tail number: the flight cannot be attributed to an aircraft")
        await books(database()).add(flight)


def database() -> str:
    """Where the aircraft are kept: `FLIGHTS_DB`, else a file below the current folder."""
    return os.environ.get(DATABASE) or DEFAULT_DATABASE


@cache
def store(path: str) -> FlightStore:
    """The file, opened once in a process."""
    return FlightStore(Path(path))


@cache
def books(path: str) -> GroupCommitter[Flight]:
    """The way into the file that all handlers of a process share."""
    return GroupCommitter(store(path).add)


@cache
def ledger() -> Ledger:
    """The effect ledger of this process: a file below `FLIGHTS_LEDGER` where that is set."""
    folder = os.environ.get(LEDGER)
    return FileLedger(Path(folder)) if folder else NoLedger()
