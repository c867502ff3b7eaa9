"""Looks at and ends processes, by pid: what a pid file is worth when its writer is gone."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from streamq.model.clock import Clock, Deadline
from streamq.model.errors import FatalBrokerError

TERM_TIMEOUT_S: Final = 15.0
"""Between SIGTERM and SIGKILL. A single node without load needs about one second."""
KILL_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.02


def has_argument(pid: int, argument: str) -> bool:
    """Whether a process was started with this argument. False if there is no such process, or only a zombie is left of
    it, or it is another user's and not to be seen."""
    if not Path("/proc/self/cmdline").exists():
        return _has_argument_by_ps(pid, argument)
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(argument) in arguments


def _has_argument_by_ps(pid: int, argument: str) -> bool:
    """Where there is no /proc. Arguments that hold blanks cannot be told apart there."""
    answer = subprocess.run(
        ["/bin/ps", "-ww", "-p", str(pid), "-o", "stat=,command="], capture_output=True, text=True, check=False
    )
    state, _, command = answer.stdout.strip().partition(" ")
    return not state.startswith("Z") and f" {argument} " in f"{command} "


def pid_in(pid_file: Path, argument: str) -> int | None:
    """The pid in the file, if that process has this argument. None otherwise: also when there is no such process any
    more, or the pid went to another one (the machine was started anew, pids wrapped)."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    return pid if has_argument(pid, argument) else None


def end_process(pid: int, clock: Clock, ended: Callable[[], bool]) -> None:
    """SIGTERM, then SIGKILL when it takes too long; returns when `ended` says so. Blocks 20 s at most.

    Raises:
        FatalBrokerError: it does not end, or belongs to another user. The operator ends it.
    """
    for number, timeout_s in ((signal.SIGTERM, TERM_TIMEOUT_S), (signal.SIGKILL, KILL_TIMEOUT_S)):
        _signal(pid, number)
        deadline = Deadline(clock, timeout_s)
        while not deadline.expired():
            if ended():
                return
            clock.sleep(_POLL_S)
    raise FatalBrokerError(f"the broker with pid {pid} does not end, not even by SIGKILL: look at it with ps -p {pid}")


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise FatalBrokerError(
            f"the broker with pid {pid} belongs to another user: stop it as that one, or as root"
        ) from error
