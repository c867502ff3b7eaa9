"""Dead letters as a test reads them."""

from __future__ import annotations

from typing import NamedTuple

from streamq.model import headers as names
from streamq.model.errors import SerdeError
from streamq.model.records import Headers, Record
from streamq.serde import Serde
from streamq.tasks.topic import AnyTopic


class DeadLetter(NamedTuple):
    """One record that was given up. `value` and `key` are decoded; where that fails they are the bytes as they came.
    `headers` are the user's own, `record` is the dead letter as it stands in its topic."""

    value: object
    key: object
    reason: str
    error_type: str
    error_message: str
    attempts: int
    headers: Headers
    record: Record


def read_letter(record: Record, source: AnyTopic) -> DeadLetter:
    """A record of a dead-letter topic, its key and value in the source's formats."""
    found = record.headers
    return DeadLetter(
        decoded(source.value_serde, record.value, source.name),
        decoded(source.key_serde, record.key, source.name),
        names.text(found, names.REASON) or "",
        names.text(found, names.ERROR_TYPE) or "",
        names.text(found, names.ERROR_MESSAGE) or "",
        names.number(found, names.ATTEMPTS) or 0,
        names.without_own(found),
        record,
    )


def decoded(serde: Serde[object], data: bytes | None, topic: str) -> object:
    """A key or value; the bytes themselves where they cannot be decoded."""
    if data is None:
        return None
    try:
        return serde.decode(data, topic=topic)
    except SerdeError:
        return data
