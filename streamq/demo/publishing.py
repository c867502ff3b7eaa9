"""Publishes the flights, with a progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streamq.model.clock import SystemClock
from topologies.flights.pipeline import app, flights
from topologies.flights.records import Flight

STEP = 2_000
CONFIRM_TIMEOUT_S = 30.0


class Published(NamedTuple):
    """Where each record stands now, as confirmed by the broker, and how long it took."""

    places: tuple[tuple[int, int], ...]
    seconds: float


def bar(console: Console) -> Progress:
    """A progress bar as all steps show it."""
    return Progress(
        TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def publish_all(records: Sequence[Flight], console: Console) -> Published:
    """Publish every flight, keyed by its aircraft, and wait until the broker has all of them.

    Raises:
        PublishError: a record was not confirmed.
    """
    clock = SystemClock()
    begun = clock.monotonic()
    publications = []
    with bar(console) as progress:
        task = progress.add_task("flights published", total=len(records))
        for start in range(0, len(records), STEP):
            batch = records[start : start + STEP]
            publications += [app.publish(flights, flight, key=flight.tailnum) for flight in batch]
            progress.advance(task, len(batch))
    deliveries = [publication.result(CONFIRM_TIMEOUT_S) for publication in publications]
    return Published(tuple((d.partition, d.offset) for d in deliveries), clock.monotonic() - begun)
