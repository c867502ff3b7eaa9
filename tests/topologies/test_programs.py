"""The programs beside the topologies: they say what is wrong, and end as programs should."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from topologies.emails.server import Mailroom, serving

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m topologies.<module>` in a folder of its own."""
    line = [sys.executable, "-m", f"topologies.{module}", *arguments]
    return subprocess.run(
        line, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )


def test_samples_prints_a_task_a_line(tmp_path: Path) -> None:
    done = run(tmp_path, "thumbnails.samples", "2")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == '{"key": "image-0000.jpg", "value": {"path": "image-0000.jpg"}}'
    assert len(done.stdout.splitlines()) == 6
    assert (tmp_path / ".streamq" / "thumbnails" / "images" / "image-0001.png").exists()


def test_audit_of_a_broken_ledger_fails_and_shows_where(tmp_path: Path) -> None:
    (tmp_path / "1.ledger").write_text("S 1 0 0 1 a\nS 2 0 1 1 a\nD 3 0 0 1 a\nD 4 0 1 1 a\n")
    done = run(tmp_path, "flights.audit", str(tmp_path))
    assert done.returncode == 1
    assert "overlapped 1" in done.stdout
    assert "overlapped: key a, partition 0, offset 1" in done.stdout


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("flights.audit", [], "usage: python -m topologies.flights.audit LEDGER_FOLDER"),
        ("flights.check", ["missing.sqlite"], "error: missing.sqlite does not exist: run the worker first"),
        ("emails.server", ["smtp"], "argument port: invalid int value: 'smtp'"),
        ("thumbnails.samples", ["many"], "argument count: invalid int value: 'many'"),
    ],
)
def test_wrong_usage_is_named(tmp_path: Path, module: str, arguments: list[str], message: str) -> None:
    done = run(tmp_path, module, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with serving(Mailroom()) as taken:
        done = run(tmp_path, "emails.server", str(taken.port))
    assert done.returncode == 1
    assert f"error: port {taken.port} cannot be listened on" in done.stderr


def test_the_server_ends_at_an_interrupt(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "topologies.emails.server", "0"]
    server = subprocess.Popen(line, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stdout.readline().startswith("SMTP on 127.0.0.1:")
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    server.stdout.close()
