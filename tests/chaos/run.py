"""One run under fire, and its report."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import streamq as sq
from tests.chaos.calm import Calm
from tests.chaos.checker import Place, Verdict, judge, read
from tests.chaos.driver import Fleet, await_that

COMMIT_INTERVAL_S = 1.0
DUE_S = COMMIT_INTERVAL_S + 0.3
"""A commit is due after the interval, and answered a little later."""


@dataclass(frozen=True)
class Plan:
    """What is done to the workers, at which share of the work: kills, and the stays of one that joins and leaves. The
    last kill waits until no rebalance was under way for a commit interval: it shows what a kill by itself costs."""

    records: int
    keys: int
    kills: tuple[float, ...]
    visits: tuple[tuple[float, float], ...]
    least_in_flight: int = 50
    workers: int = 2


@dataclass
class Report:
    """What came of a run."""

    verdict: Verdict
    fleet: Fleet
    seconds: float
    starts_after_restart: int
    least_in_flight: int

    def text(self) -> str:
        """For people."""
        kills = ", ".join(f"{kill.in_flight} in flight" for kill in self.fleet.kills)
        return (
            f"{self.verdict.summary()}; kills: {kills}; {self.seconds:.0f} s, "
            f"{self.verdict.records / self.seconds:.0f} records/s; "
            f"starts after a clean restart: {self.starts_after_restart}"
        )


def publish(bootstrap: str, topic: str, plan: Plan) -> Mapping[Place, str]:
    """Publish the run's tasks, spread over its keys. Where each went, and its key."""
    app = sq.App(f"{topic}-producer", bootstrap_servers=bootstrap)
    tasks = app.topic(topic, value=dict[str, int], partitions=6)
    keys = [f"key-{number % plan.keys}" for number in range(plan.records)]
    publications = [app.publish(tasks, {"number": number}, key=key) for number, key in enumerate(keys)]
    deliveries = [publication.result(60) for publication in publications]
    app.close()
    return {(delivery.partition, int(delivery.offset)): key for delivery, key in zip(deliveries, keys, strict=True)}


def under_fire(fleet: Fleet, plan: Plan, seed: int) -> Report:
    """Publish, work, kill, join, leave; wait until all is done; stop cleanly; see that nothing starts again."""
    expected = publish(fleet.bootstrap, fleet.topic, plan)
    began = time.monotonic()
    with Calm(fleet.bootstrap, fleet.group) as calm:
        _fire(fleet, plan, random.Random(seed), calm)
        await_that(lambda: _done(fleet.ledgers, expected), timeout_s=180)
    seconds = time.monotonic() - began
    for worker in list(fleet.workers):
        assert fleet.stop(worker) == 0
    before = fleet.starts()
    again = fleet.start()
    await_that(lambda: "begins at their committed offsets" in _log(fleet), timeout_s=30)
    assert fleet.stop(again) == 0
    # While a member's request to join waits for the others, the classic protocol lets no commit of it through.
    kills = [kill._replace(uncommitted_since=calm.since(kill.at, DUE_S)) for kill in fleet.kills]
    verdict = judge(read(fleet.ledgers), expected, kills)
    return Report(verdict, fleet, seconds, fleet.starts() - before, plan.least_in_flight)


def _fire(fleet: Fleet, plan: Plan, rnd: random.Random, calm: Calm) -> None:
    for _ in range(plan.workers):
        fleet.start()
    visitor = None
    for share, what in _moments(plan):
        _await_ends(fleet, int(share * plan.records))
        if what == "kill":
            last = share == plan.kills[-1]
            fleet.kill(rnd, plan.least_in_flight, (lambda: calm.has_lasted(DUE_S)) if last else (lambda: True))
        elif what == "join":
            visitor = fleet.start()
        elif visitor is not None:
            fleet.await_work(visitor)
            assert fleet.stop(visitor) == 0


def _await_ends(fleet: Fleet, ends: int) -> None:
    await_that(lambda: fleet.ends() >= ends, timeout_s=120)


def _moments(plan: Plan) -> list[tuple[float, str]]:
    moments = [(share, "kill") for share in plan.kills]
    for joins, leaves in plan.visits:
        moments += [(joins, "join"), (leaves, "leave")]
    return sorted(moments)


def _done(folder: Path, expected: Mapping[Place, str]) -> bool:
    lines = sum(path.read_bytes().count(b"E ") for path in folder.glob("*.ledger"))
    if lines < len(expected):
        return False
    ended = {line.place for line in read(folder) if line.what == "E"}
    return len(ended) >= len(expected)


def _log(fleet: Fleet) -> str:
    return max(fleet.folder.glob("worker-*.log"), key=lambda path: int(path.stem.split("-")[1])).read_text()
