"""What operators see of retry and dead-letter topics on a real Kafka: written in transactions, read by the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streamq.core.journal_records import Entry, JournalRecord, KeyState, Request, Settled, encode
from streamq.core.marks import LetterMark, encode_mark
from streamq.kafka import KafkaClients
from streamq.model import headers as names
from streamq.model.clock import SystemClock
from streamq.model.records import TopicSpec
from streamq.ops.parked import STANDS_S, ParkedView
from tests.integration.worker_process import ROOT, Scene

pytestmark = pytest.mark.kafka
APP = "tests.integration.worker_app:app"
WAIT_S = 20.0


@pytest.fixture
def scene(kafka_bootstrap: str, tmp_path: Path) -> Scene:
    """An app whose topics are there."""
    scene = Scene(tmp_path, kafka_bootstrap)
    run(scene, "topics", "create", APP)
    return scene


@pytest.fixture
def producer(scene: Scene) -> Iterator[Producer]:
    """Writes in transactions, as an owner does."""
    producer = Producer(
        {"bootstrap.servers": scene.bootstrap, "transactional.id": scene.name, "transaction.timeout.ms": 60_000}
    )
    producer.init_transactions(WAIT_S)
    yield producer


def run(scene: Scene, *arguments: str) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "streamq", *arguments],
        capture_output=True, text=True, timeout=60, env=os.environ | scene.environment, cwd=ROOT, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def produce(producer: Producer, topic: str, records: Sequence[JournalRecord]) -> None:
    for record in records:
        payload = encode(record)
        producer.produce(topic, payload.value, payload.key, 0, headers=list(payload.headers))
    assert producer.flush(WAIT_S) == 0


def entry(offset: int, key: bytes) -> Entry:
    return Entry(key, b"{}", (("user", b"own"),), 1_000, b"s" * 16, 0, offset, 2, 9_000)


def test_lag_reads_the_journal_past_markers_and_what_was_aborted(scene: Scene, producer: Producer) -> None:
    topic = f"{scene.name}.wait.retry"
    producer.begin_transaction()
    produce(producer, topic, [entry(4, b"ada"), entry(3, b"bob"), KeyState(b"eve", "held"), Request(b"1", "release")])
    producer.commit_transaction(WAIT_S)
    producer.begin_transaction()
    produce(producer, topic, [Settled((0, 1))])
    producer.abort_transaction(WAIT_S)
    producer.begin_transaction()
    produce(producer, topic, [Settled((1,))])
    producer.commit_transaction(WAIT_S)
    [row, other] = json.loads(run(scene, "lag", APP, "--processor", "wait", "--json"))
    parked = row["parked"]
    assert (parked["entries"], parked["oldest_offset"], parked["next_at_ms"]) == (1, 4, 9_000)
    assert (parked["held_keys"], parked["requests"], parked["trouble"]) == (["eve"], 1, None)
    assert (other["parked"]["entries"], other["parked"]["journal"]) == (0, 0)
    assert "1 parked, the next attempt now" in run(scene, "lag", APP, "--processor", "wait")


def test_a_transaction_that_stands_open_is_named(scene: Scene, producer: Producer) -> None:
    topic = f"{scene.name}.wait.retry"
    producer.begin_transaction()
    produce(producer, topic, [entry(4, b"ada")])
    clients = KafkaClients(scene.bootstrap)
    with closing(clients.admin()) as admin, closing(clients.reader()) as reader:
        view = ParkedView(admin, reader, topic, SystemClock())
        found = view.look()[0]
        assert (found.entries, found.trouble) == (0, None)
        assert found.undecided_s >= STANDS_S
        producer.commit_transaction(WAIT_S)
        found = view.look()[0]
        assert (found.entries, found.undecided_s) == (1, 0.0)


def test_letters_are_open_until_a_mark_closes_them_and_filters_find_them(scene: Scene, producer: Producer) -> None:
    topic = f"{scene.name}.wait.dlq"
    producer.begin_transaction()
    for offset, amount in ((1, 50), (2, 150), (3, 250)):
        headers: list[tuple[str, str | bytes | None]] = [
            (names.SOURCE_TOPIC, scene.name.encode()),
            (names.SOURCE_PARTITION, b"0"),
            (names.SOURCE_OFFSET, str(offset).encode()),
            (names.REASON, b"attempts"),
        ]
        producer.produce(topic, b'{"amount": %d}' % amount, b"k", 0, headers=headers)
    producer.produce(topic, None, None, 0, headers=list(encode_mark(LetterMark(2, b"request"))))
    producer.commit_transaction(WAIT_S)
    listed = [json.loads(line) for line in run(scene, "dlq", "list", APP, "wait", "--json").splitlines()]
    assert [(row["offset"], row["state"]) for row in listed] == [(0, "open"), (1, "open"), (2, "redriven")]
    filtered = run(scene, "dlq", "list", APP, "wait", "--json", "--where", "value.amount > 99 and state == 'open'")
    assert [json.loads(line)["offset"] for line in filtered.splitlines()] == [1]
    [row, _] = json.loads(run(scene, "lag", APP, "--processor", "wait", "--json"))
    assert row["dead_letters"] == 2
    assert json.loads(run(scene, "dlq", "show", APP, "wait", "0:2", "--json"))["letter"]["state"] == "redriven"


def test_what_nobody_works_off_any_more_is_named(scene: Scene, producer: Producer) -> None:
    topic = f"{scene.name}.gone.retry"
    producer.begin_transaction()
    produce(producer, f"{scene.name}.wait.retry", [entry(4, b"ada")])
    producer.commit_transaction(WAIT_S)
    assert run(scene, "topics", "check", APP) == "all 5 topics are as the app needs them\n"
    with closing(KafkaClients(scene.bootstrap).admin()) as admin:
        admin.create_topic(TopicSpec(topic, 1), WAIT_S)
    producer.begin_transaction()
    produce(producer, topic, [entry(4, b"ada")])
    producer.commit_transaction(WAIT_S)
    assert f"{topic} holds 1 parked records of a processor 'gone'" in run(scene, "topics", "check", APP)
