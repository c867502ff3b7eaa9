"""Cleanup: what has expired is gone batch by batch, what has not stays, and each batch is reported."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

import streamq as sq
from tests.topologies.kafka_runs import connected, reasons, records, wait_until_settled, worker
from topologies.cleanup import app, pipeline, reports, sweeps
from topologies.cleanup.records import Report, Sweep

CUT_OFF = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own: 25 expired files in `a`, 5 in `b`, and one in each that is too young."""
    root = tmp_path / "uploads"
    monkeypatch.setenv(pipeline.FOLDER, str(root))
    for folder, count in (("a", 25), ("b", 5)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            _write(root / folder / f"old-{number}", CUT_OFF.timestamp() - 1)
        _write(root / folder / "young", CUT_OFF.timestamp() + 1)
    return root


def _write(path: Path, changed_at: float) -> None:
    path.write_bytes(b"0123456789")
    os.utime(path, (changed_at, changed_at))


def left(root: Path) -> list[str]:
    """What lies below the folder."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_on_the_harness(root: Path) -> None:
    with sq.testing.harness(app) as h:
        h.publish(sweeps, Sweep("a", CUT_OFF, batch=10), key="a")
        h.run_until_idle()
        batches = h.records(reports)
        assert h.dead_letters("clean") == []
    assert [(batch.deleted, batch.freed_bytes, batch.more) for batch in batches] == [
        (10, 100, True), (10, 100, True), (5, 50, False),
    ]  # fmt: skip
    assert left(root) == ["a/young", *(f"b/old-{number}" for number in range(5)), "b/young"]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Sweep("../..", CUT_OFF), "folder '../..' is not below the folder that is cleaned"),
        (Sweep("c", CUT_OFF), "folder 'c': there is no 'c'"),
        (Sweep("a", CUT_OFF, batch=0), "batch is 0: use a whole number from 1 up"),
        (Sweep("a", CUT_OFF.replace(tzinfo=None)), "changed_before is 2026-01-01T00:00:00, a time without a zone"),
    ],
)
def test_what_cannot_be_cleaned_is_a_dead_letter(root: Path, task: Sweep, message: str) -> None:
    before = left(root)
    with sq.testing.harness(app) as h:
        h.publish(sweeps, task, key="a")
        h.run_until_idle()
        (letter,) = h.dead_letters("clean")
    assert letter.reason == "rejected"
    assert message in letter.error_message
    assert left(root) == before


@pytest.mark.kafka
def test_on_kafka(kafka_bootstrap: str, root: Path, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with connected(app, kafka_bootstrap):
        for task in (Sweep("a", CUT_OFF, batch=10), Sweep("b", CUT_OFF), Sweep("../outside", CUT_OFF)):
            app.publish(sweeps, task, key=task.folder).result(30)
        with worker("topologies.cleanup:app", kafka_bootstrap, log) as process:
            wait_until_settled(app, ["clean"], process, log)
        assert reasons(app, "clean") == {"rejected": 1}
        batches = [msgspec.json.decode(record.value or b"", type=Report) for record in records(app, reports.name)]
        assert sum(batch.deleted for batch in batches) == 30
    assert left(root) == ["a/young", "b/young"]
