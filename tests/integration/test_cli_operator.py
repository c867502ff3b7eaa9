"""The operator's commands as a user runs them, on a real Kafka: what they do, what they print, and what they refuse."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streamq.kafka import KafkaClients
from streamq.model.records import CommitPoint, NextOffset, TopicPartition
from tests.integration.worker_process import ROOT, Scene, WorkerProcess

pytestmark = pytest.mark.kafka
Run = Callable[..., "subprocess.CompletedProcess[str]"]
APP = "tests.integration.worker_app:app"


@pytest.fixture
def scene(kafka_bootstrap: str, tmp_path: Path) -> Scene:
    """A topic of the test's own."""
    return Scene(tmp_path, kafka_bootstrap)


@pytest.fixture
def run(scene: Scene) -> Run:
    """Run one command to its end."""

    def call(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "streamq", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | scene.environment,
            cwd=ROOT,
            check=False,
        )

    return call


def work(scene: Scene, until: str, count: int) -> None:
    """Let a worker run until so many of its notes begin so, then stop it cleanly."""
    worker = WorkerProcess(scene, "--processor", "wait")
    try:
        scene.await_notes(until, count)
        worker.await_event("rebalance")
        assert worker.stop() == 0
    finally:
        worker.close()


def test_topics_are_created_checked_and_listed(scene: Scene, run: Run) -> None:
    before = run("topics", "check", APP)
    assert before.returncode == 1
    assert f"--create --topic {scene.name} --partitions 2" in before.stdout
    assert f"--topic {scene.name}.wait.dlq" in run("topics", "create", APP, "--dry-run").stdout
    assert f"created  {scene.name}" in run("topics", "create", APP).stdout
    again = run("topics", "create", APP)
    assert again.returncode == 0
    assert f"there already  {scene.name}.wait.dlq" in again.stdout
    after = run("topics", "check", APP)
    assert (after.returncode, after.stdout) == (0, "all 5 topics are as the app needs them\n")
    listed = json.loads(run("topics", "list", APP, "--json").stdout)
    assert {row["topic"]: row["partitions"] for row in listed} == {
        scene.name: 2,
        f"{scene.name}.wait.dlq": 2,
        f"{scene.name}.block.dlq": 2,
        f"{scene.name}.wait.retry": 2,
        f"{scene.name}.block.retry": 2,
    }


def test_publish_one_and_many(scene: Scene, run: Run) -> None:
    one = run("publish", APP, scene.name, "--key", "k", "--value", '{"seconds": 0}', "--header", "a=b", "--json")
    assert json.loads(one.stdout)["offset"] == 0
    lines = '{"key": "k", "value": {"seconds": 0}}\n\n{"value": {"seconds": "long"}}\nnonsense\n{"values": 1}\n'
    many = run("publish", APP, scene.name, "--file", "-", stdin=lines)
    assert many.returncode == 1
    assert many.stdout == "1 published, 3 refused\n"
    assert "line 3: value is not a" in many.stderr
    assert "Expected `float`, got `str` - at `$[...]`" in many.stderr
    assert "line 4: line is not usable: JSON is malformed" in many.stderr
    assert "line 5: line is not usable: Object contains unknown field `values`" in many.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("publish", APP, "typo", "--value", "{}"), "topic 'typo' is not one of app"),
        (("lag", "tests.chaos.checker:app"), "app"),
        (("replay", APP, "wait", "--from", "2026-11-20T08:00"), "a time without a zone: add one"),
        (("replay", APP, "wait", "--key", "k"), "create it with `streamq topics create`"),
        (("lag", APP, "--bootstrap-servers", "nowhere"), "'nowhere'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(run: Run, arguments: tuple[str, ...], message: str) -> None:
    answer = run(*arguments)
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.startswith("error: ")
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unreachable_broker_is_named(run: Run) -> None:
    answer = run("lag", APP, "--bootstrap-servers", "127.0.0.1:1")
    assert answer.returncode == 1
    assert "127.0.0.1:1" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_lag_dead_letters_workers_and_replay_tell_one_story(scene: Scene, run: Run) -> None:
    scene.publish(("good", {}), ("bad", {"fail": 1}), ("good", {}), ("slow", {"seconds": 600}))
    worker = WorkerProcess(scene, "--processor", "wait", "--drain-timeout", "1")
    try:
        worker.await_event("dead_letter")
        scene.await_notes("end good", 2)
        worker.await_event("rebalance")
        rows = json.loads(run("lag", APP, "--processor", "wait", "--json").stdout)
        while sum(row["lag"] for row in rows) + sum(row["dead_letters"] for row in rows) > 4:
            rows = json.loads(run("lag", APP, "--processor", "wait", "--json").stdout)
        [stuck] = [row for row in rows if row["lag"]]
        assert (stuck["head_key"], stuck["head_attempts"]) == ("slow", 1)
        members = json.loads(run("workers", APP, "--processor", "wait", "--json").stdout)
        assert [sorted(member["partitions"]) for member in members] == [[0, 1]]
        assert members[0]["oldest"]["key"] == "slow"
        worker.stop()
    finally:
        worker.close()
    [letter] = [json.loads(line) for line in run("dlq", "list", APP, "wait", "--json").stdout.splitlines()]
    assert (letter["key"], letter["reason"], letter["attempts"]) == ("bad", "attempts", 2)
    assert run("dlq", "list", APP, "wait", "--reason", "rejected", "--json").stdout == ""
    place = f"{letter['partition']}:{letter['offset']}"
    shown = json.loads(run("dlq", "show", APP, "wait", place, "--json").stdout)
    assert shown["value"] == {"fail": 1.0}
    assert "ValueError: it always fails" in shown["stack"]
    missing = run("dlq", "show", APP, "wait", "0:99")
    assert missing.returncode == 2
    assert "no dead letter stands at 0:99" in missing.stderr
    assert f"there are {place} to " in missing.stderr
    before = len(scene.notes)
    replayed = run("replay", APP, "wait", "--key", "good", "--name", "again", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["done"] == 2
    assert [note.split()[:2] for note in scene.notes[before:]] == [["start", "good"], ["end", "good"]] * 2
    resumed = run("replay", APP, "wait", "--key", "good", "--name", "again", "--json")
    assert json.loads(resumed.stdout)["done"] == 0, "what a replay has done it does not do again under its name"


def test_transaction_markers_at_the_end_are_no_lag_and_end_a_replay(scene: Scene, run: Run) -> None:
    run("topics", "create", APP)
    producer = Producer({"bootstrap.servers": scene.bootstrap, "transactional.id": scene.name})
    producer.init_transactions(20)
    for finish in (producer.commit_transaction, producer.abort_transaction):
        producer.begin_transaction()
        producer.produce(scene.name, b"{}", b"k", partition=0)
        assert producer.flush(20) == 0
        finish(20)
    # Offsets: 0 the record, 1 its marker, 2 the aborted one, 3 its marker.
    [row, _] = json.loads(run("lag", APP, "--processor", "wait", "--json").stdout)
    assert (row["end"], row["lag"], row["head_offset"]) == (4, 4, 0)
    replayed = run("replay", APP, "wait", "--key", "k", "--json")
    assert (replayed.returncode, json.loads(replayed.stdout)["done"]) == (0, 1), replayed.stderr
    admin = KafkaClients(scene.bootstrap, settings={}).admin()
    place = TopicPartition(scene.name, 0)
    admin.set_group_offsets(f"{scene.name}.wait", {place: CommitPoint(NextOffset(1))}, 20)
    admin.close()
    [row, _] = json.loads(run("lag", APP, "--processor", "wait", "--json").stdout)
    assert (row["end"], row["lag"], row["behind_s"]) == (4, 0, 0.0)


@contextmanager
def started(scene: Scene, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on by itself; nothing is left of it."""
    with subprocess.Popen(
        [sys.executable, "-m", "streamq", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | scene.environment,
        cwd=ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_an_interrupted_replay_goes_on_by_the_command_it_prints(scene: Scene, run: Run) -> None:
    scene.publish(*[(f"k{number}", {"seconds": 0.05}) for number in range(60)])
    arguments = ("replay", APP, "wait", "--from", "1970-01-01T00:00Z", "--concurrency", "1", "--name", "r")
    with started(scene, *arguments) as running:
        scene.await_notes("end", 5)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=40)
    assert running.returncode == 1, err
    assert "Traceback" not in err
    assert 5 <= sum(note.startswith("end") for note in scene.notes) < 60
    scene.publish(("later", {}))
    command = shlex.split(out.partition("it goes on with: ")[2])
    assert command[:2] == ["streamq", "replay"]
    resumed = run(*command[1:])
    assert resumed.returncode == 0, resumed.stderr
    ends = [note.split()[1] for note in scene.notes if note.startswith("end")]
    assert sorted(ends) == sorted(f"k{number}" for number in range(60)), "each once, and none that came later"
    again = run(*arguments)
    assert (again.returncode, "has been through this range already" in again.stdout) == (0, True), again.stderr
    other = run(*arguments, "--key", "k1")
    assert other.returncode == 2
    assert "replay 'r' was begun with another range or key (from 1970-01-01T00:00:00+00:00)" in other.stderr


def test_a_watch_goes_on_until_it_is_interrupted(scene: Scene, run: Run) -> None:
    run("topics", "create", APP)
    with started(scene, "lag", APP, "--watch", "--json", "--interval", "0.2") as watching:
        assert watching.stdout is not None
        looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=20)
    assert [len(rows) for rows in looks] == [4, 4], "two processors on two partitions"
    assert (watching.returncode, err) == (130, "")


def test_who_reads_the_output_may_leave(scene: Scene, run: Run) -> None:
    run("topics", "create", APP)
    with started(scene, "lag", APP, "--watch", "--json", "--interval", "0.2") as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert watching.stdout.readline()
        watching.stdout.close()
        assert watching.wait(20) == 1
        assert watching.stderr.read() == ""


def test_help_and_version_come_from_the_entry_point(run: Run) -> None:
    assert "replay" in run("--help").stdout
    assert run("nonsense").returncode == 2
    assert run("--version").stdout.startswith("streamq ")
