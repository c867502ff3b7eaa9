"""Questions that several commands ask of a cluster. All block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from streamq.model.clock import Clock, Deadline
from streamq.model.errors import ConfigError, RetriableError, StreamqError
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
from streamq.tasks.topic import AnyTopic

TIMEOUT_S = 10.0
UNDECIDED_S = 3.0
AGAIN_S = 0.1
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
    admin: AdminPort, group: str, partitions: Sequence[TopicPartition], clock: Clock | None = None
) -> Mapping[TopicPartition, CommitPoint | None]:
    """What a group has committed; None where it has nothing. With a clock it waits for transactions, which take
    milliseconds, to be decided.

    Raises:
        RetriableError: offsets of some partitions are in a transaction that is not decided yet: ask again.
    """
    patience = None if clock is None else Deadline(clock, UNDECIDED_S)
    while True:
        found = await_answer(admin.group_offsets(group, partitions), TIMEOUT_S + 1, f"the offsets of group {group}")
        undecided = [one for one in partitions if one not in found]
        if not undecided:
            return found
        if clock is not None and patience is not None and not patience.expired():
            clock.sleep(AGAIN_S)
            continue
        raise RetriableError(
            f"group {group} commits {', '.join(map(str, undecided))} in a transaction that is not decided yet: "
            "ask again"
        )


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


def heads(reader: ReaderPort, at: Offsets, until: Offsets, clock: Clock) -> Mapping[TopicPartition, Record | None]:
    """The first record at or after each offset; None where only transaction markers and holes stand below `until`.

    Raises:
        RetriableError: nothing was read for a while, or retention took an offset meanwhile: ask again.
    """
    found: dict[TopicPartition, Record | None] = {one: None for one, offset in at.items() if offset >= until[one]}
    if len(found) == len(at):
        return found
    reader.assign({one: offset for one, offset in at.items() if one not in found})
    patience = Deadline(clock, TIMEOUT_S)
    while len(found) < len(at):
        if patience.expired():
            unread = ", ".join(str(one) for one in sorted(at) if one not in found)
            raise RetriableError(f"nothing was read for {TIMEOUT_S:g} s of {unread}")
        polled = reader.poll(0.2, BATCH)
        for record in polled.records:
            place = TopicPartition(record.topic, record.partition)
            found.setdefault(place, record if record.offset < until[place] else None)
        for event in polled.events:
            if isinstance(event, OutOfRange):
                raise RetriableError(f"{event.partition} lost offset {event.offset} to retention meanwhile: ask again")
            if isinstance(event, ReachedEnd):
                found.setdefault(event.partition, None)
    return found


def shown_key(topic: AnyTopic, key: bytes | None) -> str | None:
    """A key as people can read it, and as `--key` takes it; None if the record has none."""
    if key is None:
        return None
    try:
        decoded = topic.key_serde.decode(key, topic=topic.name)
    except StreamqError:  # somebody else's key, or a registry that does not answer: its bytes are shown
        decoded = key
    if isinstance(decoded, bytes):
        return decoded.decode("utf-8", "backslashreplace")
    return decoded if isinstance(decoded, str) else msgspec.json.encode(decoded, enc_hook=str).decode()
