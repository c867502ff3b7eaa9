"""Runs a topology as it is meant to be run: `streamq worker` as a process, on a real Kafka."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import streamq as sq
from streamq.model import headers
from streamq.model.errors import RetriableError
from streamq.model.ports import AdminPort, ReachedEnd
from streamq.model.records import Earliest, Latest, NextOffset, Record, TopicPartition

ANSWER_S = 10.0
SETTLED_S = 60.0


@contextmanager
def connected(app: sq.App, bootstrap_servers: str) -> Iterator[None]:
    """The app on this Kafka, with nothing of an earlier run there."""
    app.connect(bootstrap_servers=bootstrap_servers)
    try:
        _forget(app)
        yield
    finally:
        app.close()
        app.use(None)


@contextmanager
def worker(
    reference: str, bootstrap_servers: str, log: Path, *arguments: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process until the block ends; it must then end cleanly."""
    line = [sys.executable, "-m", "streamq", "worker", reference, "--bootstrap-servers", bootstrap_servers, *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(line, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def wait_until_shared(app: sq.App, processor: str, members: int, worker: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until so many processes have partitions of the processor's topic."""
    group = app.processors[processor].group
    with closing(app.clients.admin()) as admin:

        def shared() -> bool:
            try:
                info = admin.describe_group(group, ANSWER_S)
            except RetriableError:
                return False  # a new broker's coordinator still loads
            return info is not None and sum(bool(member.partitions) for member in info.members) == members

        wait_until(shared, f"{group} does not have {members} working members", worker, log)


def wait_until_settled(app: sq.App, processors: Sequence[str], worker: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until everything in the processors' topics is settled and committed, one processor after the other, so that
    what one publishes is counted for the next."""
    with closing(app.clients.admin()) as admin:
        for name in processors:
            processor = app.processors[name]
            partitions = _partitions(app, processor.topic.name)
            settled = partial(_settled, admin, processor.group, partitions)
            wait_until(settled, f"{name} is not done", worker, log)


def _settled(admin: AdminPort, group: str, partitions: Sequence[TopicPartition]) -> bool:
    try:
        group_info = admin.describe_group(group, ANSWER_S)
        if group_info is None or not group_info.members:
            return False  # the worker has not joined yet
        ends = admin.list_offsets(dict.fromkeys(partitions, Latest())).result(ANSWER_S)
        points = admin.group_offsets(group, partitions).result(ANSWER_S)
    except RetriableError:
        return False  # a new broker's coordinator still loads
    committed = {partition: point.next_offset for partition, point in points.items() if point is not None}
    return all(committed.get(partition, 0) == end for partition, end in ends.items())


def wait_until(condition: Callable[[], bool], complaint: str, worker: subprocess.Popen[bytes], log: Path) -> None:
    """Ask again and again what cannot be awaited: another process's progress."""
    deadline = time.monotonic() + SETTLED_S
    while not condition():
        assert worker.poll() is None, f"the worker ended: {log.read_text()}"
        assert time.monotonic() < deadline, f"{complaint} within {SETTLED_S:g} s: {log.read_text()}"
        time.sleep(0.05)


def records(app: sq.App, topic: str) -> list[Record]:
    """All records of a topic, whatever its partitions end in."""
    partitions = _partitions(app, topic)
    with closing(app.clients.admin()) as admin, closing(app.clients.reader()) as reader:
        starts = admin.list_offsets(dict.fromkeys(partitions, Earliest())).result(ANSWER_S)
        reader.assign({partition: NextOffset(start) for partition, start in starts.items()})
        found: list[Record] = []
        unread = set(partitions)
        deadline = time.monotonic() + ANSWER_S
        while unread:
            assert time.monotonic() < deadline, f"{topic}: not read to the end of {unread}"
            polled = reader.poll(0.5, 1000)
            found += polled.records
            unread -= {event.partition for event in polled.events if isinstance(event, ReachedEnd)}
    return found


def dead_letters(app: sq.App, processor: str) -> dict[tuple[int, int], str]:
    """The reason of each dead letter, by the source's partition and offset; each record counts once."""
    found = {}
    for record in records(app, app.processors[processor].dead_letter_topic):
        partition = headers.number(record.headers, headers.SOURCE_PARTITION)
        offset = headers.number(record.headers, headers.SOURCE_OFFSET)
        assert partition is not None
        assert offset is not None
        found[partition, offset] = headers.text(record.headers, headers.REASON) or ""
    return found


def reasons(app: sq.App, processor: str) -> Counter[str]:
    """How many dead letters there are by reason."""
    return Counter(dead_letters(app, processor).values())


def _partitions(app: sq.App, topic: str) -> list[TopicPartition]:
    with closing(app.clients.admin()) as admin:
        info = admin.describe_topics([topic], ANSWER_S)[topic]
    assert info is not None, f"topic {topic} does not exist"
    return [TopicPartition(topic, number) for number in range(info.partitions)]


def _forget(app: sq.App) -> None:
    processors = app.processors.values()
    derived = [name for one in processors for name in (one.dead_letter_topic, one.retry_topic)]
    with closing(app.clients.admin()) as admin:
        admin.delete_topics([*app.topics, *derived], ANSWER_S)
        # Only those that are there: a new broker has no coordinator yet that could be asked to forget one.
        for group in {processor.group for processor in app.processors.values()}.intersection(
            admin.list_groups(ANSWER_S)
        ):
            admin.delete_group(group, ANSWER_S)
