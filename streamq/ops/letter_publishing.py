"""`--to TOPIC`: dead letters are published to a topic instead of going back, and closed then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from streamq.core.marks import LetterMark, encode_mark
from streamq.core.payload_window import size_of
from streamq.core.redriven import own_headers
from streamq.model.clock import Clock
from streamq.model.errors import ConfigError
from streamq.model.ports import AdminPort, ProducerPort, ReaderPort
from streamq.model.records import NextOffset, OutgoingRecord, Record, TopicPartition
from streamq.ops import asking
from streamq.ops.letter_selection import Asked, Place, Selection, purges
from streamq.ops.requests import confirm
from streamq.tasks.processor import Processor

BATCH: Final = 500
BATCH_BYTES: Final = 4_000_000


def check_target(admin: AdminPort, processor: Processor, topic: str) -> None:
    """See that letters may be published to `topic`. Blocks.

    Raises:
        ConfigError: it does not exist, or is one of the processor's own derived topics.
    """
    if topic in {processor.dead_letter_topic, processor.retry_topic}:
        raise ConfigError(f"--to is {topic}, which only the processor's owner writes: name another topic")
    asking.topic_there(admin, topic)


def publish(
    reader: ReaderPort,
    producer: ProducerPort,
    processor: Processor,
    clock: Clock,
    selection: Selection,
    topic: str,
    *,
    edits: Mapping[Place, bytes | None] | None = None,
    rate: float | None = None,
    close: Callable[[Asked], None],
) -> int:
    """Publish the chosen letters as the records that they were, with the time of now; the key decides the partition.
    Returns how many. Blocks.

    Letters go in the order of their dead-letter partition. Whenever some are confirmed, `close` is given the request
    that purges them: interrupted in between, at most one batch is published again.

    Raises:
        BrokerError: the topic did not take a letter: that batch stays open.
    """
    began, published = clock.monotonic(), 0
    most = BATCH if rate is None else max(1, min(BATCH, int(rate)))  # a pause takes a second at most
    for batch in batches(reader, processor, clock, selection, most):
        if rate is not None:
            clock.sleep(max(0.0, began + published / rate - clock.monotonic()))
        confirm(producer, [_outgoing(letter, topic, edits or {}) for letter in batch], clock)
        published += len(batch)
        some: dict[Place, bytes | None] = {place_of(letter): letter.key for letter in batch}
        for asked in purges(Selection(some, selection.ends)):
            close(asked)
    return published


def _outgoing(letter: Record, topic: str, edits: Mapping[Place, bytes | None]) -> OutgoingRecord:
    value = edits.get(place_of(letter), letter.value)
    return OutgoingRecord(topic, letter.key, value, own_headers(letter.headers))


def place_of(letter: Record) -> Place:
    """Where a letter stands."""
    return Place(letter.partition, int(letter.offset))


def close_plainly(producer: ProducerPort, processor: Processor, clock: Clock, asked: Asked) -> None:
    """Mark the letters of a purge where the processor has no retry topic, and so no owner that would: nothing moves
    letters there, so nothing can be done twice. Blocks until it is confirmed."""
    topic, request_id = processor.dead_letter_topic, asked.request.request_id
    marks = [(place.partition, LetterMark(place.offset, request_id, "purged")) for place in sorted(asked.places)]
    confirm(producer, [OutgoingRecord(topic, None, None, encode_mark(mark), at) for at, mark in marks], clock)


def batches(
    reader: ReaderPort, processor: Processor, clock: Clock, selection: Selection, most: int = BATCH
) -> Iterator[list[Record]]:
    """The chosen letters whole, a bounded number at a time, each batch of one partition."""
    for partition in sorted({place.partition for place in selection.letters}):
        offsets = [place.offset for place in selection.letters if place.partition == partition]
        place = TopicPartition(processor.dead_letter_topic, partition)
        start, until = {place: NextOffset(min(offsets))}, {place: NextOffset(max(offsets) + 1)}
        batch: list[Record] = []
        size_bytes = 0
        for record in asking.read_to_ends(reader, start, until, clock):
            if place_of(record) not in selection.letters:
                continue
            batch.append(record)
            size_bytes += size_of(record)
            if len(batch) >= most or size_bytes >= BATCH_BYTES:
                yield batch
                batch, size_bytes = [], 0
        if batch:
            yield batch
