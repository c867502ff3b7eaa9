"""`make bench`: interleaved runs, medians, and each target beside what was measured."""

from __future__ import annotations

import fcntl
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import raw, workloads
from streamq.kafka import KafkaClients, ping
from streamq.local.broker import LocalBroker
from streamq.model.records import TopicSpec

ROUNDS = 3
NO_OP_RECORDS = 300_000
WAIT_RECORDS = 20_000
LOCK = Path(tempfile.gettempdir()) / "streamq-bench.lock"


def pairs(ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Run the two in turn."""
    measured: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        measured[1].append(theirs())
        measured[0].append(ours())
    return measured


def row(table: Table, name: str, target: float, measured: tuple[list[float], list[float]]) -> None:
    """One workload: rates as medians, the ratio's median and spread."""
    ratios = [ours / theirs for ours, theirs in zip(*measured, strict=True)]
    ratio = statistics.median(ratios)
    table.add_row(
        name,
        f"{statistics.median(measured[0]):,.0f}/s",
        f"{statistics.median(measured[1]):,.0f}/s",
        f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{target:.2f}",
        "met" if ratio >= target else "[bold red]missed[/]",
    )


def main() -> int:
    """Measure under one lock, so that no two measurements run at once."""
    console = Console()
    with LOCK.open("w") as lock, tempfile.TemporaryDirectory() as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with LocalBroker(Path(folder), port=0, probe=ping) as broker:
            console.print(measure(console, broker.bootstrap_servers))
    return 0


def measure(console: Console, bootstrap: str) -> Table:
    """All workloads on one broker."""
    admin = KafkaClients(bootstrap).admin()
    fast, slow = f"no-op-{time.time_ns()}", f"wait-{time.time_ns()}"
    with console.status("filling the topics"):
        for topic, partitions, records in ((fast, 6, NO_OP_RECORDS), (slow, 1, WAIT_RECORDS)):
            admin.create_topic(TopicSpec(topic, partitions), 30)
            raw.fill(bootstrap, topic, records, 1000, workloads.ORDER)
    table = Table(title=f"Python {platform.python_version()}, medians of {ROUNDS} interleaved rounds")
    for column in ("workload", "streamq", "beside it", "ratio (spread)", "target", ""):
        table.add_column(column)

    def no_op(kind: str) -> Callable[[], float]:
        return lambda: workloads.run(bootstrap, fast, NO_OP_RECORDS, kind=kind)

    def waiting(kind: str) -> Callable[[], float]:
        return lambda: workloads.run(bootstrap, slow, WAIT_RECORDS, kind=kind, wait_s=0.01, concurrency=100)

    def raw_loop() -> float:
        return raw.consume_all(bootstrap, fast, 6, NO_OP_RECORDS)

    def bare() -> float:
        return workloads.bare_asyncio(WAIT_RECORDS, 100, 0.01)

    for name, target, ours, theirs in (
        ("no-op async def, beside a raw consume(500) loop", 0.15, no_op("async"), raw_loop),
        ("no-op def, beside a raw consume(500) loop", 0.15, no_op("def"), raw_loop),
        ("async def of 10 ms, 100 at once, beside 100 bare tasks", 0.85, waiting("async"), bare),
        ("def of 10 ms, 100 at once, beside 100 bare tasks", 0.85, waiting("def"), bare),
    ):
        with console.status(name):
            row(table, name, target, pairs(ours, theirs))
    return table


if __name__ == "__main__":
    sys.exit(main())
