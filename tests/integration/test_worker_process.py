"""The worker as a process: signals, drains, stuck handlers, a broker that goes away, status pages, bad input."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamq.kafka import KafkaClients, ping
from streamq.local.broker import LocalBroker
from streamq.model.records import TopicSpec
from tests.integration.worker_process import Scene, WorkerProcess, await_that

pytestmark = pytest.mark.kafka
Start = Callable[..., WorkerProcess]


@pytest.fixture
def scene(kafka_bootstrap: str, tmp_path: Path) -> Scene:
    """A topic of the test's own."""
    return Scene(tmp_path, kafka_bootstrap)


@pytest.fixture
def start(scene: Scene) -> Iterator[Start]:
    """Start workers; all are gone afterwards."""
    workers: list[WorkerProcess] = []

    def make(*arguments: str, of: Scene | None = None) -> WorkerProcess:
        workers.append(WorkerProcess(of or scene, *arguments))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def test_sigterm_lets_the_running_handler_finish_and_repeats_nothing(scene: Scene, start: Start) -> None:
    scene.publish(("slow", {"seconds": 1.0}), ("slow", {}))
    worker = start("--processor", "wait")
    scene.await_notes("start slow")
    assert worker.stop() == 0
    assert [note.split()[0] for note in scene.notes] == ["start", "end"], "the second record must not start any more"
    again = start("--processor", "wait")
    scene.await_notes("end", 2)
    assert again.stop() == 0
    assert len(scene.notes) == 4, "each record ran once"


def test_ctrl_c_drains_as_sigterm_does(scene: Scene, start: Start) -> None:
    scene.publish(("slow", {"seconds": 0.5}))
    worker = start("--processor", "wait")
    scene.await_notes("start slow")
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0
    assert scene.notes[-1].startswith("end slow")


def test_a_second_signal_waits_for_no_handler(scene: Scene, start: Start) -> None:
    scene.publish(("slow", {"seconds": 60.0}))
    worker = start("--processor", "wait")
    scene.await_notes("start slow")
    worker.signal(signal.SIGTERM)
    began = time.monotonic()
    await_that(lambda: worker.process.poll() is not None or time.monotonic() - began > 0.3, 5, "a moment")
    assert worker.process.poll() is None, "the first signal waits for the handler"
    worker.signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    [named] = worker.events("handler_running")
    assert named["key"] == "slow"


def test_a_stuck_handler_is_named_and_does_not_keep_the_worker_from_leaving(scene: Scene, start: Start) -> None:
    scene.publish(("stuck", {"seconds": 120.0}))
    worker = start("--processor", "block", "--drain-timeout", "1")
    scene.await_notes("start stuck")
    worker.await_event("handler_running")  # beyond its timeout_s, and it cannot be ended
    began = time.monotonic()
    assert worker.stop(20) == 0
    assert time.monotonic() - began < 8
    assert all(line["key"] == "stuck" and line["offset"] == 0 for line in worker.events("handler_running"))
    successor = start("--processor", "block")
    scene.await_notes("start stuck", 2, timeout_s=8)  # it left its group: nobody waits for its session to end
    successor.close()


def test_what_fails_is_retried_and_then_in_the_dead_letter_topic(scene: Scene, start: Start) -> None:
    scene.publish(("bad", {"fail": 1}), ("good", {}), ("bad", {}))
    worker = start("--processor", "wait")
    worker.await_event("dead_letter")
    scene.await_notes("end", 2)
    assert worker.stop() == 0
    bad = [note for note in scene.notes if " bad " in note]
    assert [note.split()[0] for note in bad] == ["start", "start", "start", "end"], "the later record of the key waited"
    [dead] = worker.events("dead_letter")
    assert (dead["reason"], dead["attempts"], dead["error_type"]) == ("attempts", 2, "ValueError")


def test_status_pages(scene: Scene, start: Start) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    scene.publish(("a", {}), ("b", {}))
    worker = start("--processor", "wait", "--http", str(port))
    scene.await_notes("end", 2)

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    await_that(lambda: get("/ready")[0] == 200, 10, "/ready")
    assert get("/live")[0] == 200
    assert get("/nothing")[0] == 404
    await_that(
        lambda: f'streamq_partitions_assigned{{group="{scene.name}.wait"}} 2.0' in get("/metrics")[1], 10, "gauge"
    )
    settled = f'streamq_records_settled_total{{group="{scene.name}.wait",outcome="done"}} 2.0'
    await_that(lambda: settled in get("/metrics")[1], 10, settled)
    metrics = get("/metrics")[1]
    lag = f'streamq_lag_records{{group="{scene.name}.wait",partition="0"}} 0.0'
    await_that(lambda: lag in get("/metrics")[1], 25, lag)
    assert f'streamq_handler_seconds_count{{group="{scene.name}.wait"}} 2.0' in metrics
    assert worker.stop() == 0


def test_a_killed_child_is_back_in_a_moment_with_static_members(scene: Scene, start: Start) -> None:
    worker = start("--processor", "wait", "--processes", "2", "--static-members")
    worker.await_event("rebalance", 2)
    scene.publish(*((f"k{number}", {}) for number in range(20)))
    scene.await_notes("end", 20)
    pids = [int(str(line["pid"])) for line in worker.events("child_started")]
    began = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    scene.publish(*((f"k{number}", {}) for number in range(20)))
    scene.await_notes("end", 40)
    assert time.monotonic() - began < 9, "the dead one's session (10 s) was not waited for"
    assert worker.stop() == 0


def test_a_worker_that_stood_still_commits_nothing_and_starts_nothing_before_it_is_a_member(
    scene: Scene, start: Start
) -> None:
    first = start("--processor", "wait", "--session-timeout", "2")
    first.await_event("rebalance")
    scene.publish(("slow", {"seconds": 1.0}))
    scene.await_notes("start slow")
    first.signal(signal.SIGSTOP)
    second = start("--processor", "wait", "--session-timeout", "2")
    scene.await_notes("end slow", 1)  # the record ran elsewhere
    first.signal(signal.SIGCONT)
    first.await_event("lost")
    scene.publish(("fast", {}), ("other", {}))
    scene.await_notes("end fast")
    scene.await_notes("end other")
    assert first.stop() == 0
    assert second.stop() == 0
    after = start("--processor", "wait")
    after.await_event("rebalance")
    assert after.stop() == 0
    assert sum(note.startswith("start fast") for note in scene.notes) == 1


def test_a_broker_that_goes_away_is_waited_for(tmp_path: Path, start: Start) -> None:
    broker = LocalBroker(tmp_path / "broker", port=0, probe=ping)
    broker.start()
    try:
        scene = Scene(tmp_path, broker.bootstrap_servers)
        scene.publish(("before", {}))
        worker = start("--processor", "wait", of=scene)
        scene.await_notes("end before")
        broker.stop()
        worker.await_event("broker_away")
        broker.start()
        scene.publish(("after", {}))
        scene.await_notes("end after", timeout_s=60)
        assert len(worker.events("broker_away")) == 1, "one sentence, not one a second"
        assert worker.stop() == 0
    finally:
        broker.stop()


def test_a_missing_topic_is_named_with_the_command_where_creating_is_forbidden(scene: Scene, start: Start) -> None:
    worker = start("--processor", "wait", "--no-create-topics")
    assert worker.wait() == 2
    assert f"topic {scene.name} does not exist" in worker.text
    assert f"--create --topic {scene.name} --partitions 2" in worker.text


def test_a_dead_letter_topic_with_too_few_partitions(scene: Scene, start: Start) -> None:
    admin = KafkaClients(scene.bootstrap).admin()
    admin.create_topic(TopicSpec(scene.name, 2), 20)
    dead = f"{scene.name}.wait.dlq"
    admin.create_topic(TopicSpec(dead, 1), 20)
    forbidden = start("--processor", "wait", "--no-create-topics")
    assert forbidden.wait() == 2
    assert f"dead-letter topic {dead} has 1 partitions" in forbidden.text
    assert f"--alter --topic {dead} --partitions 2" in forbidden.text
    allowed = start("--processor", "wait")
    allowed.await_event("rebalance")
    found = admin.describe_topics([dead], 10)[dead]
    assert found is not None
    assert found.partitions == 2
    assert allowed.stop() == 0


def test_a_source_that_grows_takes_its_derived_topics_along(scene: Scene, start: Start) -> None:
    admin = KafkaClients(scene.bootstrap).admin()
    worker = start("--processor", "wait")
    worker.await_event("rebalance")
    admin.add_partitions(scene.name, 3, 20)
    # No new partition is read before both reach as far.
    worker.await_event("topic_extended", count=2, timeout_s=40)
    for topic in (f"{scene.name}.wait.dlq", f"{scene.name}.wait.retry"):
        found = admin.describe_topics([topic], 10)[topic]
        assert found is not None
        assert found.partitions == 3
    assert worker.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--processor", "nobody"), "--processor 'nobody' is not one of app"),
        (("--concurrency", "-1"), "concurrency is -1: use a whole number of at least 1"),
        (("--drain-timeout", "-2"), "drain_timeout_s is -2.0: use a number above 0"),
        (("--commit-interval", "0"), "commit_interval_s is 0.0: use a number above 0"),
        (("--processes", "0"), "--processes is 0: use a whole number of at least 1"),
        (("--static-members",), "--static-members goes with --processes"),
        (("--http", "99999999"), "--http is 99999999: use a port"),
        (("--bootstrap-servers", "nowhere"), "'nowhere'"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    scene: Scene, start: Start, arguments: tuple[str, ...], message: str
) -> None:
    worker = start(*arguments)
    assert worker.wait() == 2
    assert message in worker.text
    assert "Traceback" not in worker.text


def test_an_unreachable_broker_is_an_error_that_names_the_address(scene: Scene, start: Start) -> None:
    worker = start("--bootstrap-servers", "127.0.0.1:1")
    assert worker.wait(40) == 1
    assert "127.0.0.1:1" in worker.text
    assert "Traceback" not in worker.text
