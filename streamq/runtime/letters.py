"""Dead letters as they go to their topic, and the sentence that says so."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from streamq.model import headers as names
from streamq.model.outcomes import Dead
from streamq.model.records import Headers, OutgoingRecord, Record

logger = logging.getLogger(__name__)

TRIMS: Final = 2
"""How often a dead letter that is too large is made smaller: first its stack goes, then message and user headers."""
CHAINED: Final = "chained"
"""Why a record became a dead letter that did not fail itself: an earlier one of its key did."""


class Identity(NamedTuple):
    """Who gives a record up: goes into its dead letter's headers."""

    app: str
    app_version: str
    processor: str
    group: str
    dead_letter_topic: str


def dead_letter(
    identity: Identity, record: Record, attempts: int, dead: Dead | None, at_ms: int, trims: int = 0
) -> OutgoingRecord:
    """The record as it goes to the dead-letter topic: key, value, headers and timestamp as they were, and its context.

    The partition is the source's. `dead=None`: it follows its chained key. A letter that was too large loses first its
    stack, then message and user's headers.
    """
    context: list[tuple[str, str]] = [
        (names.GROUP, identity.group),
        (names.APP, identity.app),
        (names.APP_VERSION, identity.app_version),
        (names.PROCESSOR, identity.processor),
        (names.SOURCE_TOPIC, record.topic),
        (names.SOURCE_PARTITION, str(record.partition)),
        (names.SOURCE_OFFSET, str(record.offset)),
        (names.SOURCE_TIMESTAMP_MS, str(record.timestamp_ms)),
        (names.ATTEMPTS, str(attempts)),
        (names.REASON, CHAINED if dead is None else dead.reason),
        (names.DEAD_AT_MS, str(at_ms)),
    ]
    if dead is not None:
        context.append((names.ERROR_TYPE, dead.failure.error_type))
        if trims < TRIMS:
            context.append((names.ERROR_MESSAGE, dead.failure.message))
        if trims < 1 and dead.failure.stack:
            context.append((names.ERROR_STACK, dead.failure.stack))
    kept: Headers = record.headers if trims < TRIMS else ()
    return OutgoingRecord(
        identity.dead_letter_topic,
        record.key,
        record.value,
        kept + tuple((name, value.encode()) for name, value in context),
        record.partition,
        record.timestamp_ms,
    )


_WHAT_FOLLOWS: Final = {
    "skip": "A record was given up: it stands in the dead-letter topic, later records of its key go on",
    "chain": "A record was given up: it stands in the dead-letter topic, later records of its key follow it there",
    "hold": "A record was given up: it stands in the dead-letter topic, its key stops until an operator releases it",
}


def tell_dead(identity: Identity, record: Record, attempts: int, dead: Dead, on_dead: str = "skip") -> None:
    """That a record is given up for good, and what that means for its key."""
    logger.error(
        _WHAT_FOLLOWS[on_dead],
        extra={
            "event": "dead_letter",
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "reason": dead.reason,
            "attempts": attempts,
            "error_type": dead.failure.error_type,
            "dead_letter_topic": identity.dead_letter_topic,
        },
    )
