"""What a commit's answer comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from streamq.kafka.commits import commit
from streamq.model.errors import BrokerError, FencedError, OutcomeUnknownError, StaleMemberError
from streamq.model.records import CommitPoint, NextOffset, TopicPartition

if TYPE_CHECKING:
    from confluent_kafka import Consumer

PLACE = TopicPartition("orders", 0)


class Refusing:
    """A consumer whose commits are refused as a whole."""

    def __init__(self, error: KafkaError) -> None:
        self._error = error

    def commit(self, offsets: list[KafkaPartition], asynchronous: bool) -> list[KafkaPartition]:
        """Not taken."""
        raise KafkaException(self._error)


@pytest.mark.parametrize(
    ("error", "typed"),
    [
        (KafkaError(KafkaError._FATAL, "Commit failed: Local: Fatal error"), FencedError),
        (KafkaError(KafkaError.FENCED_INSTANCE_ID), FencedError),
        (KafkaError(KafkaError.ILLEGAL_GENERATION), StaleMemberError),
        (KafkaError(KafkaError.REQUEST_TIMED_OUT), OutcomeUnknownError),
    ],
)
def test_a_refusal_is_typed_by_what_to_do(error: KafkaError, typed: type[BrokerError]) -> None:
    """Of a member that was fenced, the client says that it cannot go on, and not always why."""
    [answer] = commit(cast("Consumer", Refusing(error)), {PLACE: CommitPoint(NextOffset(1))}).values()
    assert type(answer) is typed
