"""Ten thousand chained dead letters go back on a real Kafka, while the command and the workers are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamq.core.marks import decode_mark
from streamq.kafka import KafkaClients
from streamq.model.clock import SystemClock
from streamq.model.errors import RetriableError
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import Record
from streamq.ops import asking
from tests.integration.worker_process import ROOT, Scene, WorkerProcess, await_that

pytestmark = pytest.mark.kafka
APP = "tests.integration.dlq_app:app"
LETTERS, KEYS = 10_000, 400


@pytest.fixture
def scene(kafka_bootstrap: str, tmp_path: Path) -> Scene:
    """A topic of the test's own."""
    return Scene(tmp_path, kafka_bootstrap)


class Letters:
    """The dead-letter topic as it stands."""

    def __init__(self, scene: Scene) -> None:
        self._clients = KafkaClients(scene.bootstrap)
        self._topic = f"{scene.name}.chained.dlq"

    def read(self) -> tuple[int, Counter[tuple[int, int]]]:
        """How many letters there are, and how often each has a mark."""
        admin, reader = self._clients.admin(), self._clients.reader()
        letters, marks = 0, Counter[tuple[int, int]]()
        try:
            for record in self._records(admin, reader):
                mark = decode_mark(record.headers)
                if mark is None:
                    letters += 1
                else:
                    marks[record.partition, mark.letter_offset] += 1
        except RetriableError:  # the topic was only just created
            return 0, Counter()
        finally:
            reader.close()
            admin.close()
        return letters, marks

    def _records(self, admin: AdminPort, reader: ReaderPort) -> Iterator[Record]:
        found = admin.describe_topics([self._topic], 10.0)[self._topic]
        if found is not None:
            places = asking.partitions_of(found)
            starts, ends = asking.earliest(admin, places), asking.ends(admin, places)
            yield from asking.read_to_ends(reader, starts, ends, SystemClock())

    def await_more_marks(self) -> None:
        """Wait until more is redriven than now."""
        seen = self.read()[1].total()
        await_that(lambda: self.read()[1].total() > seen, 60, "something is redriven")


def start(scene: Scene, *arguments: str) -> subprocess.Popen[str]:
    """One command."""
    return subprocess.Popen(
        [sys.executable, "-m", "streamq", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | scene.environment,
        cwd=ROOT,
    )


@contextmanager
def worker(scene: Scene) -> Iterator[WorkerProcess]:
    """A worker, gone afterwards."""
    found = WorkerProcess(scene, "--processor", "chained", app=APP)
    try:
        yield found
    finally:
        found.close()


def redrive(scene: Scene) -> subprocess.Popen[str]:
    """The command under test, as slow as it takes to be interrupted."""
    return start(scene, "dlq", "redrive", APP, "chained", "--yes", "--json", "--rate", "2500/s")


@pytest.mark.timeout(300)
def test_each_letter_goes_back_once_and_in_order_whoever_is_killed(scene: Scene) -> None:
    letters = Letters(scene)
    keys = [f"k{number % KEYS}" for number in range(LETTERS)]
    scene.publish(*((key, {}) for key in keys))
    with worker(scene):
        await_that(lambda: letters.read()[0] == LETTERS, 90, "all are dead letters")
    assert scene.notes == []
    (scene.folder / "mended").touch()
    for killed_worker in (True, True, False):
        command = redrive(scene)
        with worker(scene) as running:
            letters.await_more_marks()
            command.kill()
            command.communicate()
            assert letters.read()[1].total() < LETTERS, "it was in the middle"
            if not killed_worker:
                assert running.stop() == 0
    with worker(scene) as running:
        out, err = redrive(scene).communicate(timeout=120)
        figures = json.loads(out)
        assert figures["selected"] == figures["redriven"] + figures["already"], err
        await_that(lambda: len(set(scene.notes)) == LETTERS, 60, "all are done")
        assert running.stop() == 0
    total, marks = letters.read()
    assert (total, len(marks), marks.total()) == (LETTERS, LETTERS, LETTERS)
    _judge_order(scene)
    again = json.loads(redrive(scene).communicate(timeout=60)[0])
    assert again["selected"] == 0


def _judge_order(scene: Scene) -> None:
    """The last effect of each record of a key in source order."""
    last: dict[str, dict[int, int]] = defaultdict(dict)
    for at, note in enumerate(scene.notes):
        key, place = note.split(" ")
        last[key][int(place.split(":")[1])] = at
    for key, done in last.items():
        order = sorted(done, key=lambda offset: done[offset])
        assert order == sorted(order), key


def test_a_command_without_a_worker_says_so_and_is_carried_out_later(scene: Scene) -> None:
    letters = Letters(scene)
    scene.publish(("a", {}), ("b", {}))
    with worker(scene) as running:
        await_that(lambda: letters.read()[0] == 2, 60, "both are dead letters")
        assert running.stop() == 0
    (scene.folder / "mended").touch()
    out, err = start(scene, "dlq", "redrive", APP, "chained", "--yes", "--no-wait").communicate(timeout=60)
    assert "2 asked for and not done yet" in out, err
    assert f"no worker of {scene.name}.chained runs" in err
    with worker(scene) as running:
        await_that(lambda: len(scene.notes) == 2, 60, "both are done")
        assert running.stop() == 0
