"""The operator's commands as a user runs them, on a real Kafka: what they do, what they print, and what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
    assert (after.returncode, after.stdout) == (0, "all 3 topics are as the app needs them\n")
    listed = json.loads(run("topics", "list", APP, "--json").stdout)
    assert {row["topic"]: row["partitions"] for row in listed} == {
        scene.name: 2,
        f"{scene.name}.wait.dlq": 2,
        f"{scene.name}.block.dlq": 2,
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
        (("publish", APP, "TOPIC"), "use either --value for one record or --file for many"),
        (("publish", APP, "TOPIC", "--file", "/nowhere.jsonl"), "--file /nowhere.jsonl cannot be read"),
        (("publish", APP, "TOPIC", "--value", "{}", "--header", "x"), "--header is 'x': use NAME=VALUE"),
        (("lag", "nowhere:app"), "module 'nowhere' was not found"),
        (("lag", "tests.chaos.checker:app"), "app"),
        (("lag", APP, "--processor", "nobody"), "processor 'nobody' is not one of app"),
        (("dlq", "show", APP, "wait", "here"), "place is 'here': use PARTITION:OFFSET"),
        (("replay", APP, "wait", "--from", "2026-11-20T08:00"), "a time without a zone: add one"),
        (("replay", APP, "wait", "--from", "yesterday"), "--from is 'yesterday': use ISO 8601 with a zone"),
        (("replay", APP, "wait", "--from", "2026-11-21T08:00Z", "--to", "2026-11-20T08:00Z"), "is not before --to"),
        (("replay", APP, "wait", "--from-offset", "0:9", "--to-offset", "0:3"), "is not below --to-offset 0:3"),
        (("replay", APP, "wait", "--from-offset", "7:0"), "--from-offset names partition 7: the topic has 0 to 1"),
        (("replay", APP, "wait", "--from-offset", "zero"), "--from-offset is 'zero': use PARTITION:OFFSET"),
        (("replay", APP, "wait", "--key", "k", "--name", "a b"), "--name is 'a b': use 1 to 60 letters"),
        (("replay", APP, "wait", "--key", "k"), "the range holds no record of topic"),
        (("lag", APP, "--bootstrap-servers", "nowhere"), "'nowhere'"),
    ],
)
def test_bad_input_names_field_value_and_remedy(
    scene: Scene, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    run("topics", "create", APP)
    answer = run(*(scene.name if argument == "TOPIC" else argument for argument in arguments))
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
    assert f"there are {place} to {place}" in missing.stderr
    before = len(scene.notes)
    replayed = run("replay", APP, "wait", "--key", "good", "--name", "again", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["done"] == 2
    assert [note.split()[:2] for note in scene.notes[before:]] == [["start", "good"], ["end", "good"]] * 2
    resumed = run("replay", APP, "wait", "--key", "good", "--name", "again", "--json")
    assert json.loads(resumed.stdout)["done"] == 0, "what a replay has done it does not do again under its name"


def test_help_is_there_for_every_command(run: Run) -> None:
    text = run("--help").stdout
    for command in ("broker", "worker", "publish", "topics", "lag", "replay", "dlq", "workers", "demo"):
        assert command in text
        assert run(command, "--help").returncode == 0
    assert run("nonsense").returncode == 2
    assert run("--version").stdout.startswith("streamq ")
