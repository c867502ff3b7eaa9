"""The workers at work: how far they are, the one that is killed, and the wait until all is done and committed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rich.console import Console

from streamq.demo.commands import DemoError
from streamq.demo.publishing import bar
from streamq.model.clock import SystemClock
from streamq.model.errors import RetriableError
from streamq.model.ports import AdminPort
from streamq.model.records import Latest, TopicPartition
from topologies.flights.audit import KILLS

STALL_S = 60.0
"""Without any progress for so long, the demo gives up."""
LOOK_S = 0.1
ANSWER_S = 10.0
PART_BYTES = 256 * 1024
CLOCK = SystemClock()


class Kill(NamedTuple):
    """Which process was killed when, and how far the work was."""

    pid: int
    finished: int


class LedgerTail:
    """Counts the attempts that ended, by the lines that came since the last look."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self.finished = 0

    def look(self) -> int:
        """Read what is new and return how many attempts have ended, repeats included."""
        for path in self._folder.glob("*.ledger"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                new = _written(file)
            whole = new.rfind(b"\n") + 1
            self._read[path] = self._read.get(path, 0) + whole
            lines = b"\n" + new[:whole]
            self.finished += lines.count(b"\nD ") + lines.count(b"\nR ")
        return self.finished

    def pids(self) -> list[int]:
        """The processes that wrote, the one that wrote most first."""
        return [int(path.stem) for path, _ in sorted(self._read.items(), key=lambda item: -item[1])]


def _written(file: BinaryIO) -> bytes:
    """What stands there from the file's position on. A ledger ends in zeros, many of them: they are not read."""
    parts = []
    while part := file.read(PART_BYTES):
        parts.append(part.partition(b"\0")[0])
        if len(parts[-1]) < len(part):
            break
    return b"".join(parts)


def work_through(worker: subprocess.Popen[bytes], ledger: Path, total: int, kill_at: int, console: Console) -> Kill:
    """Show the progress until `total` attempts have ended; kill the busiest process when `kill_at` have.

    Raises:
        DemoError: the worker ended, or nothing moved for `STALL_S`.
    """
    tail = LedgerTail(ledger)
    killed: Kill | None = None
    moved = CLOCK.monotonic()
    with bar(console) as progress:
        task = progress.add_task("flights processed", total=total)
        while tail.finished < total or killed is None:
            before = tail.finished
            progress.update(task, completed=min(total, tail.look()))
            moved = CLOCK.monotonic() if tail.finished > before else moved
            _check_alive(worker, moved)
            if killed is None and tail.finished >= kill_at:
                killed = Kill(tail.pids()[0], tail.finished)
                _kill(killed.pid, ledger)
                progress.console.print(f"  [bold red]kill -9 {killed.pid}[/] after {killed.finished:,} flights")
            CLOCK.sleep(LOOK_S)
    return killed


def wait_until_committed(
    worker: subprocess.Popen[bytes], admin: AdminPort, group: str, partitions: list[TopicPartition]
) -> None:
    """Wait until the group's committed offsets are the ends of all partitions: lag 0.

    Raises:
        DemoError: the worker ended, or it took longer than `STALL_S`.
    """
    begun = CLOCK.monotonic()
    while not _committed(admin, group, partitions):
        _check_alive(worker, begun)
        CLOCK.sleep(LOOK_S)


def _committed(admin: AdminPort, group: str, partitions: list[TopicPartition]) -> bool:
    try:
        ends = admin.list_offsets(dict.fromkeys(partitions, Latest())).result(ANSWER_S)
        points = admin.group_offsets(group, partitions).result(ANSWER_S)
    except RetriableError:
        return False
    committed = {partition: point.next_offset for partition, point in points.items() if point is not None}
    return committed == dict(ends)


def _check_alive(worker: subprocess.Popen[bytes], moved: float) -> None:
    code = worker.poll()
    if code is not None:
        raise DemoError(f"the worker ended by itself with code {code}; see its log")
    if CLOCK.monotonic() - moved > STALL_S:
        raise DemoError(f"nothing moved for {STALL_S:g} s; see the worker's log")


def _kill(pid: int, ledger: Path) -> None:
    """Kill a process and note when it was gone: until then it may have worked."""
    os.kill(pid, signal.SIGKILL)
    while _exists(pid):
        CLOCK.sleep(0.001)
    with (ledger / KILLS).open("a") as kills:
        kills.write(f"{pid} {round(CLOCK.monotonic() * 1e9)}\n")


def _exists(pid: int) -> bool:
    """Whether it still runs or was not yet waited for by its parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
