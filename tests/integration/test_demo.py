"""`streamq demo` as a process: the whole story in an empty folder, and that Ctrl-C leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORY = ("336,776 flights", "kill -9", "the same figures as before: yes", "Nothing lost, nothing out of order.")
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


def start_demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command, in a folder of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "streamq", "demo", *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def processes_of(folder: Path) -> Sequence[str]:
    """Command lines of the processes that work in or below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            inside = (process / "cwd").readlink().is_relative_to(folder)
        except OSError:
            continue  # it ended meanwhile, or it is not ours to look at
        if inside or str(folder) in line:
            found.append(line)
    return found


def test_the_whole_story_in_an_empty_folder(tmp_path: Path) -> None:
    demo = start_demo(tmp_path)
    output, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, output
    for said in (
        "336,776 flights",
        "kill -9",
        "Nothing lost, nothing out of order.",
        "the same figures as before: yes",
    ):
        assert said in output
    assert [entry.name for entry in tmp_path.iterdir()] == [".streamq"]
    assert not (tmp_path / ".streamq" / "demo" / "kafka").exists()
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process_and_no_broker_data(tmp_path: Path, number: signal.Signals) -> None:
    demo = start_demo(tmp_path)
    ledger = tmp_path / ".streamq" / "demo" / "ledger"
    deadline = time.monotonic() + 120
    while not any(ledger.glob("*.ledger")):  # until the workers work
        assert demo.poll() is None, demo.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, output
    assert "Traceback" not in output
    assert processes_of(tmp_path) == []
    assert not (tmp_path / ".streamq" / "demo" / "kafka").exists()
