"""`streamq broker` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamq.kafka import ping
from tests.integration.worker_process import ROOT, await_that

pytestmark = pytest.mark.kafka


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "streamq", "broker", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=ROOT,
        check=False,
    )


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
    pid = int((tmp_path / "data" / "broker.pid").read_text())
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
    command = subprocess.Popen(
        [sys.executable, "-m", "streamq", "broker", "--port", "0", "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert command.stdout is not None
        assert "Kafka runs on 127.0.0.1:" in command.stdout.readline()
        pid = int((tmp_path / "broker.pid").read_text())
        assert alive(pid)
        command.send_signal(number)
        command.wait(30)
        await_that(lambda: not alive(pid), 30, "the broker's end")
    finally:
        command.kill()
        command.wait()
        if command.stdout is not None:
            command.stdout.close()


def test_a_broker_that_cannot_start_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\ncluster.id=someone-elses\nnode.id=7\n")
    answer = run("--port", "0", "--data-dir", str(tmp_path))
    assert answer.returncode == 1
    assert f"its log is {tmp_path / 'broker.log'} and ends with:" in answer.stderr
    assert "Traceback" not in answer.stderr
