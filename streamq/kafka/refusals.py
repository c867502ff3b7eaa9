"""Partitions that a transaction's coordinator refuses. librdkafka (2.16) names them in its log only, and what it raises
may be no more than "erroneous state"."""

from __future__ import annotations

import re
from typing import Final

from confluent_kafka import KafkaError

from streamq.kafka.errors import to_error
from streamq.kafka.logs import LibrdkafkaLog
from streamq.model.records import TopicPartition
from streamq.model.transactions import Aborted

_FACILITY: Final = "ADDPARTS"
_NAMED: Final = re.compile(r'Failed to add partition "([^"]+)" \[(\d+)\] to transaction: (.+)')
_CAUSES: Final = {
    KafkaError(code).str(): code
    for code in (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_EXCEPTION,
    )
}


class Refusals(LibrdkafkaLog):
    """The client's log, which the binding gives out inside its calls; it keeps what names a culprit."""

    def __init__(self) -> None:
        self._found: Aborted | None = None

    def log(self, level: int, message: str, *details: object) -> None:
        """One line."""
        super().log(level, message, *details)
        named = _NAMED.search(str(details[-1])) if details and details[0] == _FACILITY else None
        if named is not None and named[3] in _CAUSES and self._found is None:
            place = TopicPartition(named[1], int(named[2]))
            error = to_error(KafkaError(_CAUSES[named[3]]), f"adding {place} to a transaction")
            self._found = Aborted(error, None, place)

    def take(self) -> Aborted | None:
        """What was refused since the last call."""
        found, self._found = self._found, None
        return found
