"""100,000 records over 1,000 keys, handlers of 1 to 20 ms: workers are killed, join and leave; the ledger is judged.

The sessions are short (3 s), so that a dead member's partitions move while there is still work to do.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.driver import Fleet
from tests.chaos.run import COMMIT_INTERVAL_S, DUE_S, Plan, Report, under_fire

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

KILLS, VISITS = (0.1, 0.3, 0.6), ((0.15, 0.25), (0.4, 0.5))
SESSION_S = 3.0
SESSIONS = ("--session-timeout", "3")


def judged(report: Report, record_property: Callable[[str, object], None]) -> None:
    """What must hold of every run."""
    verdict = report.verdict
    record_property("report", report.text())
    assert verdict.lost == []
    assert verdict.out_of_order == []
    assert verdict.overlapped == []
    assert verdict.last_out_of_order == []
    assert verdict.repeats == verdict.repeats_of_killed, "who joins, leaves or is stopped cleanly repeats nothing"
    *_, last = verdict.costs.values()
    for cost in verdict.costs.values():
        assert len(cost.repeated) <= cost.bound, f"more than since the last commit was due: {report.text()}"
        assert cost.oldest_s <= DUE_S + SESSION_S, (
            f"no commit for longer than a dead member holds it up: {report.text()}"
        )
    assert last.oldest_s < 2 * COMMIT_INTERVAL_S, (
        f"a kill that meets no rebalance repeats what ran since the last commit was due: {report.text()}"
    )
    assert report.starts_after_restart == 0, "after a clean stop nothing is repeated"
    assert all(kill.in_flight >= report.least_in_flight for kill in report.fleet.kills)


@pytest.mark.parametrize(
    ("processor", "arguments", "workers"),
    [
        ("coroutine", SESSIONS, 2),
        ("thread", SESSIONS, 2),
        ("coroutine", (*SESSIONS, "--processes", "2"), 1),
    ],
    ids=["async-def", "def", "processes"],
)
def test_three_kills_under_load(
    kafka_bootstrap: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    processor: str,
    arguments: tuple[str, ...],
    workers: int,
) -> None:
    fleet = Fleet(tmp_path, kafka_bootstrap, f"chaos-{uuid.uuid4().hex[:8]}", processor, arguments)
    plan = Plan(100_000, 1_000, KILLS, VISITS, workers=workers)
    try:
        judged(under_fire(fleet, plan, seed=1), record_property)
    finally:
        fleet.close()
