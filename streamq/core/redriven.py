"""A dead letter on its way back: the record that was given up, as a journal entry."""

from __future__ import annotations

from streamq.core.journal_records import Entry
from streamq.model import headers as names
from streamq.model.records import Headers, Record


class UnusableLetterError(ValueError):
    """The letter cannot go back here; the message says why."""


def own_headers(headers: Headers) -> Headers:
    """The headers that the record had before it was given up: a letter's context stands behind them and begins with
    the group that gave it up."""
    for at in range(len(headers) - 1, -1, -1):
        name = headers[at][0]
        if name == names.GROUP:
            return headers[:at]
        if not name.startswith(names.PREFIX):
            break
    return names.without_own(headers)


def source_offset(letter: Record, group: str) -> int:
    """Which record of its partition a letter of `group` is.

    Raises:
        UnusableLetterError: another group gave it up, or it does not say where it came from.
    """
    headers = letter.headers
    offset, partition = names.number(headers, names.SOURCE_OFFSET), names.number(headers, names.SOURCE_PARTITION)
    if names.text(headers, names.GROUP) != group:
        raise UnusableLetterError(f"group {names.text(headers, names.GROUP) or 'unknown'} gave it up, not {group}")
    if offset is None or partition is None:
        raise UnusableLetterError("it does not say which record it was")
    if partition != letter.partition:
        raise UnusableLetterError(f"it is a record of partition {partition} and stands in partition {letter.partition}")
    return offset


def entry_of(letter: Record, group: str, topic_id: bytes, incarnation: int) -> Entry:
    """The record as it was, attempted anew.

    Raises:
        UnusableLetterError: it cannot go back into this group's journal.
    """
    offset = source_offset(letter, group)
    return Entry(
        letter.key, letter.value, own_headers(letter.headers), letter.timestamp_ms, topic_id, incarnation, offset
    )
