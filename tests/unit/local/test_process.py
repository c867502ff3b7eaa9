"""Whose process a pid is, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamq.local.process import end_process, has_argument, pid_in
from streamq.model.clock import SystemClock
from streamq.model.errors import FatalBrokerError

WAITS = "import sys; print('ready', flush=True); sys.stdin.read()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"


@contextmanager
def process(*arguments: str, program: str = WAITS) -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits until it is ended."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == b"ready\n"
            yield running
        finally:
            running.kill()


class HurriedClock:
    """A clock whose every look is a second later, and that never sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        self.now += 1.0
        return self.now

    def time(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, duration_s: float) -> None:
        """Goes on at once."""
        self.now += duration_s


def test_a_pid_counts_if_its_process_has_the_argument_whole(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with process("-Dfolder=/some where/ä") as running:
        pid_file.write_text(f"{running.pid}\n")
        assert pid_in(pid_file, "-Dfolder=/some where/ä") == running.pid
        assert pid_in(pid_file, "-Dfolder=/some") is None, "a folder whose name begins alike is another folder"
    assert pid_in(pid_file, "-Dfolder=/some where/ä") is None, "it has ended"


@pytest.mark.parametrize("content", ["", "x", "999999999\n", "-1"])
def test_a_pid_file_without_a_process_counts_for_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "pid").write_text(content)
    assert pid_in(tmp_path / "pid", "-Dfolder=/") is None


def test_a_zombie_is_no_process() -> None:
    with process("marker") as running:
        assert has_argument(running.pid, "marker")
        running.kill()
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        assert not has_argument(running.pid, "marker")


def test_it_ends_a_process_that_obeys() -> None:
    with process() as running:
        end_process(running.pid, SystemClock(), lambda: running.poll() is not None)
        assert running.returncode == -signal.SIGTERM


def test_it_kills_one_that_does_not() -> None:
    clock = HurriedClock()

    def ended() -> bool:
        # Once the deadline of SIGTERM is over there is only SIGKILL, which takes the kernel no time that counts.
        return clock.now > 16 and running.wait(10) is not None

    with process(program=STUBBORN) as running:
        end_process(running.pid, clock, ended)
        assert running.returncode == -signal.SIGKILL


def test_one_that_never_ends_is_named() -> None:
    with process() as running, pytest.raises(FatalBrokerError, match=rf"pid {running.pid} does not end"):
        end_process(running.pid, HurriedClock(), lambda: False)
