"""N worker processes under one that restarts those that die.

Children are started anew (`exec`, never forked), so that no client, lock or thread of the parent is theirs. Each is a
member of the group. The supervisor runs no handler and talks to no broker: it outlives what its children do.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamq.model.clock import Clock, Deadline

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A child that ran for so long starts again at once when it dies."""
GRACE_S = 5.0
"""What a child has beyond its drain time-out to leave its group and end."""
USAGE = 2
"""Exit code of a child that cannot start at all (wrong usage or configuration): starting it again does not help."""


@dataclass(slots=True)
class Child:
    """One place for a process."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    signals: int = 0


class Supervisor:
    """Keeps `count` children running until it is asked to stop. `command(number)` is the command line of one."""

    def __init__(
        self, count: int, command: Callable[[int], Sequence[str]], *, drain_timeout_s: float, clock: Clock
    ) -> None:
        self._children = [Child(number) for number in range(count)]
        self._command = command
        self._drain_timeout_s = drain_timeout_s
        self._clock = clock
        self._stop = threading.Event()
        self._signals = 0
        self._exit_code = 0

    @property
    def pids(self) -> Sequence[int]:
        """The running children's."""
        return [child.process.pid for child in self._children if child.process is not None]

    def run(self) -> int:
        """Block until stopped. Returns an exit code: 0, or a child's when none of it could start."""
        while not self._stop.is_set():
            for child in self._children:
                self._watch(child)
            self._stop.wait(0.05)
        self._end_all()
        return self._exit_code

    def request_stop(self) -> None:
        """Pass the wish on to the children and end when they have; the second time they abort their drain. Any thread,
        also a signal handler."""
        self._signals += 1
        self._stop.set()

    def _watch(self, child: Child) -> None:
        now = self._clock.monotonic()
        if child.process is None:
            if now >= child.start_at:
                self._start(child, now)
            return
        code = child.process.poll()
        if code is None:
            return
        child.process = None
        if code == USAGE:
            self._exit_code = code
            self._stop.set()
            return
        child.failures = 0 if now - child.started_at > STEADY_S else child.failures + 1
        # The first death in a while is answered at once; a child that keeps dying is not started in a tight loop.
        pause_s = 0.0 if child.failures <= 1 else min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (child.failures - 2))
        child.start_at = now + pause_s
        logger.error(
            "A worker process ended: it is started again, what it had not committed is repeated",
            extra={"event": "child_ended", "child": child.number, "exit": _describe(code), "pause_s": pause_s},
        )

    def _start(self, child: Child, now: float) -> None:
        child.process = subprocess.Popen(list(self._command(child.number)), start_new_session=True)
        child.started_at = now
        logger.info(
            "A worker process is started",
            extra={"event": "child_started", "child": child.number, "pid": child.process.pid},
        )

    def _end_all(self) -> None:
        self._signals = max(1, self._signals)
        deadline = Deadline(self._clock, self._drain_timeout_s + GRACE_S)
        while any(self._end(child, deadline) for child in self._children):
            self._clock.sleep(0.02)

    def _end(self, child: Child, deadline: Deadline) -> bool:
        """Pass on the signals it has not had yet. Whether it still runs."""
        process = child.process
        if process is None:
            return False
        code = process.poll()
        if code is None and deadline.expired():
            logger.error(
                "A worker process did not end in time and is killed: what it had not committed is repeated",
                extra={"event": "child_killed", "child": child.number, "pid": process.pid},
            )
            process.kill()
            code = process.wait()
        if code is None:
            while child.signals < self._signals:
                child.signals += 1
                process.send_signal(signal.SIGTERM)
            return True
        child.process = None
        # A child that had not yet got so far as to drain ends by the signal itself: that is a clean end, too.
        clean = code in {0, -signal.SIGTERM}
        self._exit_code = self._exit_code or (0 if clean else 1)
        return False


def _describe(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
