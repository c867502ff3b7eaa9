"""A worker as a user starts it: the command line, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import streamq as sq

ROOT = Path(__file__).resolve().parents[2]


def await_that(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Look at a condition until it holds.

    Raises:
        AssertionError: it did not in time.
    """
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.01)


@dataclass
class Scene:
    """One test's topic, app name and notes."""

    folder: Path
    bootstrap: str
    name: str = field(default_factory=lambda: f"w-{uuid.uuid4().hex[:10]}")

    @property
    def notes(self) -> list[str]:
        """What the handlers noted so far."""
        path = self.folder / "notes.txt"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def environment(self) -> Mapping[str, str]:
        """What the application reads."""
        return {
            "WORKER_APP": self.name,
            "WORKER_TOPIC": self.name,
            "WORKER_NOTES": str(self.folder / "notes.txt"),
            "STREAMQ_BOOTSTRAP_SERVERS": self.bootstrap,
            "PYTHONPATH": str(ROOT),
        }

    def publish(self, *tasks: tuple[str, dict[str, float]]) -> None:
        """Publish tasks by key and wait for their confirmation."""
        app = sq.App(f"{self.name}-producer", bootstrap_servers=self.bootstrap)
        topic = app.topic(self.name, value=dict[str, float], partitions=2)
        for publication in [app.publish(topic, value, key=key) for key, value in tasks]:
            publication.result(30)
        app.close()

    def await_notes(self, start: str, count: int = 1, timeout_s: float = 30) -> None:
        """Wait for so many notes that begin so."""
        await_that(lambda: sum(note.startswith(start) for note in self.notes) >= count, timeout_s, f"notes {start!r}")


class WorkerProcess:
    """`streamq worker` with a log that can be read while it runs."""

    def __init__(self, scene: Scene, *arguments: str, app: str = "tests.integration.worker_app:app") -> None:
        self.log_file = scene.folder / f"worker-{uuid.uuid4().hex[:6]}.log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamq", "worker", app] + ["--log-format", "json", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | scene.environment,
                cwd=ROOT,
            )

    @property
    def log(self) -> list[dict[str, object]]:
        """The log's lines that are JSON."""
        lines = self.log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def text(self) -> str:
        """All it has said."""
        return self.log_file.read_text()

    def events(self, event: str) -> list[dict[str, object]]:
        """The log's lines of one event."""
        return [line for line in self.log if line.get("event") == event]

    def await_event(self, event: str, count: int = 1, timeout_s: float = 30) -> None:
        """Wait until it has logged an event so many times."""
        await_that(lambda: len(self.events(event)) >= count, timeout_s, f"event {event!r} in {self.log_file}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 40) -> int:
        """SIGTERM, then its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def wait(self, timeout_s: float = 40) -> int:
        """Its exit code, when it ends by itself."""
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """Nothing is left behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
