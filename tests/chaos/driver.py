"""Runs workers as processes of their own and kills them at moments drawn by a seed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.checker import Kill, in_flight

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Fleet:
    """The workers of one run."""

    folder: Path
    bootstrap: str
    topic: str
    processor: str
    arguments: tuple[str, ...] = ()
    kills: list[Kill] = field(default_factory=list)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def group(self) -> str:
        """The workers' group."""
        return f"{self.topic}-app.{self.processor}"

    @property
    def ledgers(self) -> Path:
        """Where the processes write."""
        return self.folder / "ledgers"

    def start(self) -> subprocess.Popen[bytes]:
        """One more worker; its log is a file in the folder."""
        environment = os.environ | {
            "LEDGER_FOLDER": str(self.ledgers),
            "LEDGER_TOPIC": self.topic,
            "STREAMQ_BOOTSTRAP_SERVERS": self.bootstrap,
            "PYTHONPATH": str(ROOT),
        }
        with (self.folder / f"worker-{len(list(self.folder.glob('worker-*')))}.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "streamq", "worker", "tests.chaos.app:app"]
                + ["--processor", self.processor, "--log-format", "json", *self.arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=ROOT,
            )
        self.workers.append(worker)
        return worker

    def stop(self, worker: subprocess.Popen[bytes]) -> int:
        """SIGTERM, and wait for its end. Its exit code."""
        self.workers.remove(worker)
        worker.send_signal(signal.SIGTERM)
        return worker.wait(60)

    def handling(self, worker: subprocess.Popen[bytes]) -> list[int]:
        """The processes of a worker that run handlers: itself, or its children."""
        children = subprocess.run(["pgrep", "-P", str(worker.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in children.stdout.split()] or [worker.pid]

    def kill(self, rnd: random.Random, least: int, may: Callable[[], bool] = lambda: True) -> None:
        """SIGKILL a process of a random worker at a moment when it may be done and at least `least` handlers run in it;
        a worker that was killed itself is started anew (a supervisor starts its children by itself)."""
        for _ in range(10):
            worker = rnd.choice(self.workers)
            pid = rnd.choice(self.handling(worker))
            if self._busy(pid, least, may):
                break
        else:
            raise TimeoutError(f"no process had {least} handlers running: the run is too short for its kills")
        os.kill(pid, signal.SIGKILL)
        if pid == worker.pid:
            worker.wait()
            self.workers.remove(worker)
        self.kills.append(Kill(pid, time.monotonic_ns(), in_flight(self.ledgers, pid)))
        if pid == worker.pid:
            self.start()

    def await_work(self, worker: subprocess.Popen[bytes]) -> None:
        """Wait until a worker takes part: it, or one of its children, has run a handler."""
        await_that(
            lambda: any((self.ledgers / f"{pid}.ledger").exists() for pid in self.handling(worker)), timeout_s=60
        )

    def _busy(self, pid: int, least: int, may: Callable[[], bool]) -> bool:
        try:
            await_that(lambda: may() and in_flight(self.ledgers, pid) >= least, timeout_s=6)
        except TimeoutError:
            return False
        return True

    def starts(self) -> int:
        """How many handlers have started so far, in all processes."""
        return self._count(b"S ")

    def ends(self) -> int:
        """How many have ended."""
        return self._count(b"E ")

    def _count(self, what: bytes) -> int:
        return sum(path.read_bytes().count(what) for path in self.ledgers.glob("*.ledger"))

    def close(self) -> None:
        """No process is left behind."""
        for worker in self.workers:
            for pid in self.handling(worker):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            worker.kill()
            worker.wait()


def await_that(condition: Callable[[], bool], timeout_s: float) -> None:
    """Look at a condition until it holds.

    Raises:
        TimeoutError: it did not.
    """
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(0.01)
