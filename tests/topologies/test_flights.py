"""Flights: the books are those of a plain loop over the same flights, also with a process killed midway."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

import streamq as sq
from tests.topologies.kafka_runs import connected, reasons, wait_until, wait_until_settled, wait_until_shared, worker
from topologies.flights import app, flights, pipeline, source
from topologies.flights.aircraft import Aircraft
from topologies.flights.audit import KILLS, audit
from topologies.flights.records import Flight


@cache
def some_flights() -> tuple[Flight, ...]:
    """The flights of four weeks: some 25,000."""
    return tuple(flight for flight in source.load() if flight.month == 2)


def expected(records: Sequence[Flight]) -> list[Aircraft]:
    """The books as a plain loop keeps them."""
    books: dict[str, Aircraft] = {}
    for flight in records:
        if flight.tailnum is not None:
            books[flight.tailnum] = books.get(flight.tailnum, Aircraft(flight.tailnum)).after(flight)
    return sorted(books.values())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A database and a ledger of this test's own."""
    monkeypatch.setenv(pipeline.DATABASE, str(tmp_path / "flights.sqlite"))
    monkeypatch.setenv(pipeline.LEDGER, str(tmp_path / "ledger"))
    pipeline.ledger.cache_clear()
    yield tmp_path
    pipeline.store(pipeline.database()).close()


def test_on_the_harness(folder: Path) -> None:
    records = some_flights()[:2_000]
    nameless = sum(flight.tailnum is None for flight in records)
    assert nameless > 0
    with sq.testing.harness(app) as h:
        for flight in records:
            h.publish(flights, flight, key=flight.tailnum)
        h.run_until_idle()
        letters = h.dead_letters("legs")
    assert {letter.error_message for letter in letters} == {
        "no tail number: the flight cannot be attributed to an aircraft"
    }
    assert len(letters) == nameless
    assert pipeline.store(pipeline.database()).all_aircraft() == expected(records)
    findings = audit(folder / "ledger")
    assert findings.clean
    assert (findings.records, findings.rejected) == (len(records), nameless)


@pytest.mark.kafka
def test_on_kafka_with_a_process_killed_midway(kafka_bootstrap: str, folder: Path) -> None:
    records = some_flights()
    log, ledger = folder / "worker.log", folder / "ledger"
    with connected(app, kafka_bootstrap):
        with worker("topologies.flights:app", kafka_bootstrap, log, "--processes", "2", "--static-members") as process:
            wait_until_shared(app, "legs", 2, process, log)
            publications = [app.publish(flights, flight, key=flight.tailnum) for flight in records]
            victim = kill_one(ledger, process, log)
            places = [(d.partition, d.offset) for d in (publication.result(30) for publication in publications)]
            wait_until_settled(app, ["legs"], process, log)
        nameless = sum(flight.tailnum is None for flight in records)
        assert reasons(app, "legs") == {"rejected": nameless}
    findings = audit(ledger, places)
    assert findings.clean, findings
    assert findings.processes == 3
    assert findings.unfinished > 0, f"process {victim} had nothing in flight when it was killed"
    assert pipeline.store(pipeline.database()).all_aircraft() == expected(records)


def kill_one(ledger: Path, process: subprocess.Popen[bytes], log: Path) -> int:
    """Kill the busier of the two processes as soon as both are at work, and note the moment."""
    sizes: dict[Path, int] = {}

    def both_work() -> bool:
        sizes.update((path, path.stat().st_size) for path in ledger.glob("*.ledger"))
        return len(sizes) == 2 and min(sizes.values()) > 10_000

    wait_until(both_work, "not both processes work", process, log)
    pid = int(max(sizes, key=lambda path: sizes[path]).stem)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), f"process {pid} is not gone", process, log)
    (ledger / KILLS).write_text(f"{pid} {time.monotonic_ns()}\n")
    return pid


def alive(pid: int) -> bool:
    """Whether a process runs or was not yet waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
