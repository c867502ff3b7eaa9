"""Where the demo writes: one folder, emptied at each start."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from streamq.model.errors import ConfigError

DEFAULT: Final = Path(".streamq") / "demo"


class DemoFolder(NamedTuple):
    """The folder of one run. All paths are absolute: child processes have another current folder."""

    path: Path

    @property
    def kafka(self) -> Path:
        """The broker's data; deleted at the end."""
        return self.path / "kafka"

    @property
    def database(self) -> Path:
        """What the processor keeps."""
        return self.path / "flights.sqlite"

    @property
    def ledger(self) -> Path:
        """The effect ledgers of the worker processes."""
        return self.path / "ledger"

    @property
    def worker_log(self) -> Path:
        """What the workers log."""
        return self.path / "worker.log"

    @property
    def log(self) -> Path:
        """What this process logs: its screen is for the story."""
        return self.path / "demo.log"

    def empty(self) -> None:
        """Delete what an earlier run left, and nothing else."""
        for folder in (self.kafka, self.ledger):
            shutil.rmtree(folder, ignore_errors=True)
        for path in (self.database, self.worker_log, self.log):
            path.unlink(missing_ok=True)
        for ending in ("-wal", "-shm", ".lock"):
            (self.path / f"{self.database.name}{ending}").unlink(missing_ok=True)
        self.ledger.mkdir()


@contextmanager
def demo_folder(wanted: Path | None) -> Iterator[DemoFolder]:
    """The folder, empty and locked until the block ends. Without a wish it is `.streamq/demo` of the current folder,
    or a temporary one where that cannot be written.

    Raises:
        ConfigError: the wanted folder cannot be written, or another demo uses it.
    """
    path = _writable(wanted)
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise ConfigError(f"another demo runs in {path}: wait for it, or give this one --data-dir") from error
    try:
        folder = DemoFolder(path)
        folder.empty()
        yield folder
    finally:
        shutil.rmtree(path / "kafka", ignore_errors=True)
        os.close(lock)


def _writable(wanted: Path | None) -> Path:
    path = (wanted or DEFAULT).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "lock").touch()
    except OSError as error:
        if wanted is not None:
            raise ConfigError(
                f"--data-dir is {str(wanted)!r}: {error.strerror}; name a folder that can be written"
            ) from error
        return Path(tempfile.mkdtemp(prefix="streamq-demo-"))
    return path


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Log into a file until the block ends."""
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
