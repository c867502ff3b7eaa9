"""Questions that several commands ask of a cluster. All block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from streamq.model.clock import Clock, Deadline
from streamq.model.errors import ConfigError, RetriableError
from streamq.model.ports import AdminPort, OutOfRange, ReachedEnd, ReaderPort
from streamq.model.records import (
    CommitPoint,
    Earliest,
    Latest,
    NextOffset,
    Record,
    TopicInfo,
    TopicPartition,
)
from streamq.runtime.start import await_answer

TIMEOUT_S = 10.0
BATCH = 500
Offsets = Mapping[TopicPartition, NextOffset]


def partitions_of(topic: TopicInfo) -> list[TopicPartition]:
    """All partitions of a topic."""
    return [TopicPartition(topic.name, number) for number in range(topic.partitions)]


def topic_there(admin: AdminPort, name: str) -> TopicInfo:
    """A topic that has to exist.

    Raises:
        ConfigError: it does not.
    """
    found = admin.describe_topics([name], TIMEOUT_S)[name]
    if found is None:
        raise ConfigError(f"topic {name} does not exist: create it with `streamq topics create`, or start a worker")
    return found


def committed(
    admin: AdminPort, group: str, partitions: Sequence[TopicPartition]
) -> Mapping[TopicPartition, CommitPoint | None]:
    """What a group has committed."""
    return await_answer(admin.group_offsets(group, partitions), TIMEOUT_S + 1, f"the offsets of group {group}")


def earliest(admin: AdminPort, partitions: Sequence[TopicPartition]) -> Offsets:
    """Where what is retained begins."""
    return await_answer(
        admin.list_offsets(dict.fromkeys(partitions, Earliest())), TIMEOUT_S + 1, "the earliest offsets"
    )


def ends(admin: AdminPort, partitions: Sequence[TopicPartition]) -> Offsets:
    """The last stable offsets."""
    return await_answer(admin.list_offsets(dict.fromkeys(partitions, Latest())), TIMEOUT_S + 1, "the end offsets")


def read_to_ends(
    reader: ReaderPort,
    starts: Offsets,
    until: Offsets,
    clock: Clock,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Record]:
    """All records from `starts` to below `until`, partitions interleaved as they come. `progress` is called with how
    many were read since its last call.

    Raises:
        RetriableError: nothing came for a while.
    """
    left = {partition for partition, start in starts.items() if start < until[partition]}
    if not left:
        return
    reader.assign({partition: starts[partition] for partition in left})
    patience = Deadline(clock, TIMEOUT_S)
    while left:
        polled = reader.poll(0.2, BATCH)
        if polled.records or polled.events:
            patience = Deadline(clock, TIMEOUT_S)
        elif patience.expired():
            raise RetriableError(f"nothing was read for {TIMEOUT_S:g} s of {', '.join(map(str, sorted(left)))}")
        yield from _wanted(polled.records, until, left)
        left -= {event.partition for event in polled.events if isinstance(event, ReachedEnd | OutOfRange)}
        if progress is not None:
            progress(len(polled.records))


def _wanted(records: Sequence[Record], until: Offsets, left: set[TopicPartition]) -> Iterator[Record]:
    for record in records:
        place = TopicPartition(record.topic, record.partition)
        if place in left and record.offset < until[place]:
            yield record
        if record.offset + 1 >= until[place]:
            left.discard(place)


def heads(reader: ReaderPort, at: Offsets, until: Offsets, clock: Clock) -> Mapping[TopicPartition, Record]:
    """The first record at or after each offset, where there is one below `until`."""
    found: dict[TopicPartition, Record] = {}
    left = {partition: offset for partition, offset in at.items() if offset < until[partition]}
    if not left:
        return found
    reader.assign(left)
    patience = Deadline(clock, TIMEOUT_S)
    while left and not patience.expired():
        polled = reader.poll(0.2, BATCH)
        for record in polled.records:
            place = TopicPartition(record.topic, record.partition)
            if left.pop(place, None) is not None:
                found[place] = record
        for event in polled.events:
            if isinstance(event, ReachedEnd | OutOfRange):
                left.pop(event.partition, None)
    return found


def shown(key: bytes | None) -> str | None:
    """A key as people can read it; None if the record has none."""
    return None if key is None else key.decode("utf-8", "backslashreplace")
