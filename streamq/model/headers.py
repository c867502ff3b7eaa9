"""The `streamq.*` headers, and how they are written and read. Their values are UTF-8 text; numbers are decimal."""

from __future__ import annotations

from typing import Final

from streamq.model.records import Headers

PREFIX: Final = "streamq."
GROUP: Final = "streamq.group"
SOURCE_TOPIC: Final = "streamq.source.topic"
SOURCE_PARTITION: Final = "streamq.source.partition"
SOURCE_OFFSET: Final = "streamq.source.offset"
SOURCE_TIMESTAMP_MS: Final = "streamq.source.timestamp_ms"
ATTEMPTS: Final = "streamq.attempts"
REASON: Final = "streamq.reason"
ERROR_TYPE: Final = "streamq.error.type"
ERROR_MESSAGE: Final = "streamq.error.message"
ERROR_STACK: Final = "streamq.error.stack"
PROCESSOR: Final = "streamq.processor"
APP: Final = "streamq.app"
APP_VERSION: Final = "streamq.app.version"
DEAD_AT_MS: Final = "streamq.dead_at_ms"
JOURNAL: Final = "streamq.journal"
"""Bytes, not text: what a record of the retry topic is (`core/journal_records`)."""
MARK: Final = "streamq.mark"
"""Bytes, not text: a record of the dead-letter topic that says what became of a letter there (`core/marks`)."""


def text(headers: Headers, name: str) -> str | None:
    """The last value of a header as text, None if it is not there. Damaged text is shown with replacement marks."""
    found = None
    for key, value in headers:
        if key == name:
            found = value
    return None if found is None else found.decode("utf-8", "replace")


def number(headers: Headers, name: str) -> int | None:
    """The last value of a header as a whole number, None if it is not there or is none."""
    found = text(headers, name)
    return int(found) if found is not None and found.isascii() and found.isdigit() else None


def without_own(headers: Headers) -> Headers:
    """The user's headers: all but ours."""
    return tuple(header for header in headers if not header[0].startswith(PREFIX))
