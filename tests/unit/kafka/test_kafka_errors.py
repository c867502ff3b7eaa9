"""Kafka's error codes become errors by the reaction they need."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamq.kafka.errors import from_exception, to_error
from streamq.kafka.troubles import Troubles
from streamq.model.errors import (
    BrokerError,
    FatalBrokerError,
    FencedError,
    OutcomeUnknownError,
    RecordTooLargeError,
    RetriableError,
    StaleMemberError,
)
from streamq.model.ports import Trouble

STALE = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.NON_EMPTY_GROUP,
)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, StaleMemberError) for code in STALE),
        (KafkaError.FENCED_INSTANCE_ID, FencedError),
        (KafkaError.INVALID_PRODUCER_EPOCH, FencedError),
        (KafkaError.OFFSET_METADATA_TOO_LARGE, FatalBrokerError),
        (KafkaError.MSG_SIZE_TOO_LARGE, RecordTooLargeError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, FatalBrokerError),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, FatalBrokerError),
        (KafkaError.INVALID_REPLICATION_FACTOR, FatalBrokerError),
        (KafkaError.NOT_COORDINATOR, RetriableError),
        (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, RetriableError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, RetriableError),
        (KafkaError._ALL_BROKERS_DOWN, RetriableError),
        (KafkaError._WAIT_COORD, RetriableError),
        (KafkaError._TIMED_OUT, RetriableError),
        (KafkaError.UNSUPPORTED_VERSION, FatalBrokerError),
    ],
)
def test_a_code_has_its_reaction(code: int, kind: type[BrokerError]) -> None:
    error = to_error(KafkaError(code), "trying")
    assert type(error) is kind
    assert error.code == KafkaError(code).name()
    assert str(error).startswith("trying: ")


@pytest.mark.parametrize(
    "code",
    [KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT, KafkaError.REQUEST_TIMED_OUT, KafkaError._TRANSPORT,
     KafkaError.NETWORK_EXCEPTION, KafkaError._PURGE_INFLIGHT, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND],
)  # fmt: skip
def test_without_an_answer_a_write_may_have_happened_and_a_question_has_not(code: int) -> None:
    assert type(to_error(KafkaError(code), "writing", may_have_happened=True)) is OutcomeUnknownError
    assert type(to_error(KafkaError(code), "asking")) is RetriableError


@pytest.mark.parametrize("code", [KafkaError._WAIT_COORD, KafkaError._PURGE_QUEUE, KafkaError._TIMED_OUT_QUEUE])
def test_what_was_never_sent_has_not_happened(code: int) -> None:
    assert type(to_error(KafkaError(code), "writing", may_have_happened=True)) is RetriableError


def test_what_ends_a_client_is_not_tried_again() -> None:
    assert type(to_error(KafkaError(KafkaError._STATE, "gone", True), "polling")) is FatalBrokerError


def test_a_consumers_fatal_error_tells_its_cause_in_words() -> None:
    words = "Fatal error: Broker: Static consumer fenced by other consumer with same group.instance.id: OffsetCommit"
    error = to_error(KafkaError(KafkaError._FATAL, words), "polling")
    assert type(error) is FencedError
    assert error.code == "FENCED_INSTANCE_ID"
    assert type(to_error(KafkaError(KafkaError._FATAL, "Fatal error: no idea"), "polling")) is FatalBrokerError


def test_the_message_says_what_to_do() -> None:
    error = from_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), "reading orders[3]")
    assert "orders[3]" in str(error)
    assert "TOPIC_AUTHORIZATION_FAILED" in str(error)
    assert "grant" in str(error)


def test_a_lost_connection_is_one_trouble_until_something_came_through() -> None:
    troubles = Troubles("one:9092")
    for code in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
        troubles.note(KafkaError(code))
    (event,) = troubles.take()
    assert isinstance(event, Trouble)
    assert isinstance(event.error, RetriableError)
    assert "one:9092" in str(event.error)
    troubles.note(KafkaError(KafkaError._TRANSPORT))
    assert not troubles.take()
    troubles.healthy()
    troubles.note(KafkaError(KafkaError._TRANSPORT))
    assert len(troubles.take()) == 1


def test_wrong_credentials_of_a_running_client_are_waited_out() -> None:
    troubles = Troubles("one:9092")
    troubles.note(KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error"))
    (event,) = troubles.take()
    assert isinstance(event, Trouble)
    assert isinstance(event.error, RetriableError)
    assert "sasl" in str(event.error)


@pytest.mark.parametrize("code", [KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_a_missing_right_ends_it(code: int) -> None:
    troubles = Troubles("one:9092")
    troubles.note(KafkaError(code))
    with pytest.raises(FatalBrokerError, match="grant"):
        troubles.take()
