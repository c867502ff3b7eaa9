"""`streamq broker` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streamq.kafka import ping
from streamq.local.broker import LocalBroker
from tests.integration.worker_process import ROOT, await_that

pytestmark = pytest.mark.kafka


def run(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "streamq", "broker", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        check=False,
    )


@contextmanager
def foreground(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A broker in the foreground, from the moment on that it answers."""
    with subprocess.Popen(
        [sys.executable, "-m", "streamq", "broker", "--port", "0", "--data-dir", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as command:
        try:
            assert command.stdout is not None
            assert "Kafka runs on 127.0.0.1:" in command.stdout.readline()
            yield command
        finally:
            command.kill()


def pid_on(folder: Path) -> int:
    """The pid of the broker on a folder."""
    return int((folder / "broker.pid").read_text())


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_in_the_background_and_stopped(tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    started = run("--background", "--port", "0", "--data-dir", folder, "--json")
    assert started.returncode == 0, started.stderr
    facts = json.loads(started.stdout)
    pid = pid_on(tmp_path / "data")
    try:
        assert ping(facts["bootstrap_servers"], 5.0)
        again = run("--background", "--port", "0", "--data-dir", folder)
        assert again.returncode == 2
        assert f"is in use by the broker with pid {pid}" in again.stderr
    finally:
        stopped = run("--stop", "--data-dir", folder, "--json")
    assert json.loads(stopped.stdout)["stopped"] == pid
    assert not alive(pid)
    nothing = run("--stop", "--data-dir", folder)
    assert nothing.returncode == 1
    assert "nothing to stop" in nothing.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_in_the_foreground_it_ends_with_its_command_however_that_ends(tmp_path: Path, number: signal.Signals) -> None:
    with foreground(tmp_path) as command:
        pid = pid_on(tmp_path)
        assert alive(pid)
        command.send_signal(number)
        command.wait(30)
        await_that(lambda: not alive(pid), 30, "the broker's end")
        assert command.returncode == (-signal.SIGKILL if number is signal.SIGKILL else 0)


def test_one_in_the_foreground_can_be_stopped_from_elsewhere(tmp_path: Path) -> None:
    with foreground(tmp_path) as command:
        pid = pid_on(tmp_path)
        assert run("--stop", "--data-dir", str(tmp_path)).returncode == 0
        assert not alive(pid)
        assert command.wait(30) == 0, "it was asked to end"


def test_one_that_ends_by_itself_is_an_error_with_its_log(tmp_path: Path) -> None:
    with foreground(tmp_path) as command:
        os.kill(pid_on(tmp_path), signal.SIGKILL)
        _, said = command.communicate(timeout=30)
    assert command.returncode == 1
    assert f"ended by itself with code -9; its log is {tmp_path / 'broker.log'} and says:" in said
    assert "Kafka Server started" in said, "Kafka itself had said nothing more"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_a_start_in_the_background_that_was_interrupted(
    tmp_path: Path, number: signal.Signals
) -> None:
    arguments = ["--background", "--port", "0", "--data-dir", str(tmp_path)]
    with subprocess.Popen([sys.executable, "-m", "streamq", "broker", *arguments], cwd=ROOT) as command:
        await_that((tmp_path / "broker.pid").exists, 60, "the start of the broker's process")
        await_that(lambda: (tmp_path / "broker.pid").read_text() != "", 10, "its pid")
        pid = pid_on(tmp_path)
        command.send_signal(number)
        command.wait(30)
    await_that(lambda: not alive(pid), 30, "the broker's end")
    assert not (tmp_path / "broker.pid").exists()


def test_it_comes_back_with_its_data_from_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    folder = tmp_path / "a, é = #: ü"
    topics: list[int] = []
    for _ in range(2):
        with LocalBroker(folder, port=0, probe=ping) as broker:
            admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
            if not topics:
                admin.create_topics([NewTopic("kept", 3)])["kept"].result(10)
            topics.append(len(admin.list_topics(timeout=10).topics["kept"].partitions))
    assert topics == [3, 3]


def test_a_download_that_fails_says_what_and_what_to_do(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    answer = run(
        *("--port", "0", "--data-dir", str(tmp_path / "data")),
        environment={
            "HTTPS_PROXY": nowhere,
            "https_proxy": nowhere,
            "NO_PROXY": "",
            "no_proxy": "",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "HOME": str(tmp_path),
        },
    )
    assert answer.returncode == 1
    assert "error: Kafka's jars (org.apache.kafka:kafka_2.13:" in answer.stderr
    assert "Check the network" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not list((tmp_path / "cache").rglob("*.json")), "it is not taken for complete"


def test_a_taken_port_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        answer = run("--port", str(port), "--data-dir", str(tmp_path))
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"error: port {port} is taken: ")
    assert len(answer.stderr.splitlines()) == 1


def test_stop_and_background_exclude_each_other(tmp_path: Path) -> None:
    answer = run("--stop", "--background", "--data-dir", str(tmp_path))
    assert (answer.returncode, answer.stderr) == (
        2,
        "error: --stop and --background exclude each other: give one of them\n",
    )


def test_a_broker_that_cannot_start_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\ncluster.id=someone-elses\nnode.id=7\n")
    answer = run("--port", "0", "--data-dir", str(tmp_path))
    assert answer.returncode == 1
    assert f"its log is {tmp_path / 'broker.log'} and says:" in answer.stderr
    assert "Stored node id 7 doesn't match previous node id 1" in answer.stderr, "Kafka's own reason"
    assert "Traceback" not in answer.stderr
