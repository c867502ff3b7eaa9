"""Dead letters as they stand in their topic: open, redriven or purged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from streamq.core.marks import LetterState, decode_mark
from streamq.model import headers as names
from streamq.model.clock import Clock
from streamq.model.errors import ConfigError, JournalError, StreamqError
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import NextOffset, Offset, Record, TopicPartition
from streamq.ops import asking
from streamq.ops.letter_book import LettersView
from streamq.ops.tail import Progress
from streamq.tasks.processor import Processor
from streamq.tasks.topic import AnyTopic


class DeadLetter(msgspec.Struct, frozen=True):
    """One dead letter: where it stands, where it came from, and why it was given up."""

    partition: int
    offset: int
    key: str | None
    reason: str
    error_type: str
    message: str
    attempts: int | None
    source_topic: str
    source_partition: int | None
    source_offset: int | None
    dead_at_ms: int | None
    group: str
    state: LetterState = "open"


class Whole(msgspec.Struct, frozen=True):
    """A dead letter with all that it holds. `value` is JSON where the bytes are JSON, else what the topic's format
    makes of them, else text, else hexadecimal."""

    letter: DeadLetter
    value: object
    headers: dict[str, str | None]
    stack: str
    timestamp_ms: int


def letters(
    admin: AdminPort,
    reader: ReaderPort,
    processor: Processor,
    clock: Clock,
    *,
    key: str | None = None,
    reason: str | None = None,
    state: LetterState | None = None,
    where: Callable[[DeadLetter, Record], bool] | None = None,
    progress: Progress | None = None,
) -> Iterator[DeadLetter]:
    """The dead letters of a processor that fit the filters, one for each record that was given up. Blocks as it goes.
    The topic is read twice, since what became of a letter stands behind it; `progress` hears of both (`count` tells how
    much one of them is).

    Raises:
        JournalError: a mark that this release cannot read: which letters are open is not known.
    """
    view = LettersView(admin, reader, processor.dead_letter_topic, clock)
    trouble = next((one.trouble for one in view.look(most_s=None, progress=progress).values() if one.trouble), None)
    if trouble is not None:
        raise JournalError(f"{processor.dead_letter_topic}: {trouble}")
    starts, ends = _range(admin, processor)
    for record in asking.read_to_ends(reader, starts, view.known(ends), clock, progress):
        found = view.books[record.partition].state(record)
        if found is None or found != (state or found):
            continue
        letter = letter_of(processor.topic, record, found)
        fits = letter.key == (letter.key if key is None else key) and letter.reason == (reason or letter.reason)
        if fits and (where is None or where(letter, record)):
            yield letter


def count(admin: AdminPort, processor: Processor) -> int:
    """How many offsets there are to read, once."""
    starts, ends = _range(admin, processor)
    return sum(ends[one] - starts[one] for one in starts)


def _range(admin: AdminPort, processor: Processor) -> tuple[asking.Offsets, asking.Offsets]:
    name = processor.dead_letter_topic
    found = admin.describe_topics([name], asking.TIMEOUT_S)[name]
    if found is None:
        return {}, {}
    partitions = asking.partitions_of(found)
    return asking.earliest(admin, partitions), asking.ends(admin, partitions)


def whole(
    admin: AdminPort, reader: ReaderPort, processor: Processor, clock: Clock, partition: int, offset: int
) -> Whole:
    """One dead letter, by its place.

    Raises:
        ConfigError: no letter stands there; the message says what does.
        JournalError: a mark behind it that this release cannot read.
    """
    starts, ends = _range(admin, processor)
    place = TopicPartition(processor.dead_letter_topic, partition)
    if place not in starts or not starts[place] <= offset < ends[place]:
        there = ", ".join(
            f"{one.partition}:{starts[one]} to {one.partition}:{ends[one] - 1}"
            for one in starts
            if starts[one] < ends[one]
        )
        raise ConfigError(
            f"no dead letter stands at {partition}:{offset} of {place.topic}: there are {there or 'none at all'}"
        )
    letter: Record | None = None
    state: LetterState = "open"
    # What became of it stands behind it.
    for record in asking.read_to_ends(reader, {place: NextOffset(offset)}, {place: ends[place]}, clock):
        mark = decode_mark(record.headers)
        if mark is None and record.offset == Offset(offset):
            letter = record
        elif mark is not None and mark.letter_offset == offset:
            state = mark.kind
        if letter is None:
            break
    if letter is None:
        raise ConfigError(f"no dead letter stands at {partition}:{offset} of {place.topic}: the offset holds none")
    return _whole(processor.topic, letter, state)


def _whole(topic: AnyTopic, record: Record, state: LetterState) -> Whole:
    return Whole(
        letter_of(topic, record, state),
        shown_value(topic, record.value),
        {name: None if value is None else value.decode("utf-8", "backslashreplace") for name, value in record.headers},
        names.text(record.headers, names.ERROR_STACK) or "",
        record.timestamp_ms,
    )


def shown_value(topic: AnyTopic, value: bytes | None) -> object:
    """A value as people can read it."""
    if value is None:
        return None
    try:
        # First, since a type may leave out fields that somebody wrote.
        decoded: object = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = _decoded(topic, value)
    if not isinstance(decoded, bytes):
        return decoded
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        return decoded.hex(" ")


def _decoded(topic: AnyTopic, value: bytes) -> object:
    """What the topic's format makes of a value, in JSON's terms; the bytes themselves where that is nothing."""
    try:
        decoded = topic.value_serde.decode(value, topic=topic.name)
    except StreamqError:  # that may be why it is a dead letter
        return value
    return decoded if isinstance(decoded, bytes) else msgspec.to_builtins(decoded, enc_hook=str)


def letter_of(topic: AnyTopic, record: Record, state: LetterState = "open") -> DeadLetter:
    """What a dead letter's headers say. The topic may hold what others wrote, so nothing is taken for granted."""
    headers = record.headers
    return DeadLetter(
        record.partition,
        record.offset,
        asking.shown_key(topic, record.key),
        names.text(headers, names.REASON) or "unknown",
        names.text(headers, names.ERROR_TYPE) or "",
        names.text(headers, names.ERROR_MESSAGE) or "",
        names.number(headers, names.ATTEMPTS),
        names.text(headers, names.SOURCE_TOPIC) or "",
        names.number(headers, names.SOURCE_PARTITION),
        names.number(headers, names.SOURCE_OFFSET),
        names.number(headers, names.DEAD_AT_MS),
        names.text(headers, names.GROUP) or "",
        state,
    )
