"""Messages become records and events; commits go in parts; answers are gathered."""

from __future__ import annotations

import logging
from concurrent.futures import Future

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, KafkaException, Message

from streamq.kafka import records
from streamq.kafka.answers import gathered, settle, typed
from streamq.kafka.commits import COMMIT_BYTES, parts
from streamq.kafka.logs import LibrdkafkaLog
from streamq.model.errors import FatalBrokerError, RetriableError
from streamq.model.ports import OutOfRange, ReachedEnd, Trouble
from streamq.model.records import CommitPoint, NextOffset, Offset, Record, TopicPartition

PLACE = TopicPartition("orders", 2)


def message(offset: int, **more: object) -> Message:
    return Message(topic="orders", partition=2, offset=offset, timestamp=(TIMESTAMP_CREATE_TIME, 1234), **more)  # type: ignore[arg-type]


def failed(code: int, offset: int) -> Message:
    return Message(topic="orders", partition=2, offset=offset, error=KafkaError(code))


def test_a_message_becomes_a_record() -> None:
    headers = [("a", b"1"), ("none", None)]
    polled = records.take([message(7, key=b"k", value=b"v", headers=headers), message(8, key=None, value=None)])
    assert polled.records == [
        Record("orders", 2, Offset(7), b"k", b"v", (("a", b"1"), ("none", None)), 1234),
        Record("orders", 2, Offset(8), None, None, (), 1234),
    ]
    assert polled.events == []


def test_ends_positions_and_troubles_become_events_in_their_order() -> None:
    polled = records.take(
        [
            message(7),
            failed(KafkaError._PARTITION_EOF, 8),
            failed(KafkaError._AUTO_OFFSET_RESET, 3),
            failed(KafkaError.OFFSET_OUT_OF_RANGE, 4),
            failed(KafkaError.UNKNOWN_TOPIC_OR_PART, -1001),
        ]
    )
    assert len(polled.records) == 1
    assert polled.events[:3] == [
        ReachedEnd(PLACE, NextOffset(8)),
        OutOfRange(PLACE, Offset(3)),
        OutOfRange(PLACE, Offset(4)),
    ]
    trouble = polled.events[3]
    assert isinstance(trouble, Trouble)
    assert "orders[2]" in str(trouble.error)


def test_a_right_that_is_missing_is_raised() -> None:
    with pytest.raises(FatalBrokerError, match=r"orders\[2\].*grant"):
        records.take([failed(KafkaError.TOPIC_AUTHORIZATION_FAILED, 0)])


def test_a_commit_goes_in_parts_below_the_limit_of_a_coordinators_batch() -> None:
    points = {TopicPartition("orders", number): CommitPoint(NextOffset(number), "m" * 4095) for number in range(200)}
    found = parts(points)
    assert len(found) > 1
    assert [partition for part in found for partition in part] == list(points)
    for part in found:
        assert sum(len(point.metadata) + 70 for point in part.values()) <= COMMIT_BYTES
    assert parts({}) == []
    alone = {PLACE: CommitPoint(NextOffset(1), "m" * 2 * COMMIT_BYTES)}
    assert parts(alone) == [alone]


def test_answers_are_gathered_or_the_first_error_is() -> None:
    one: Future[int] = Future()
    two: Future[int] = Future()
    both = gathered({"one": one, "two": two})
    two.set_result(2)
    assert not both.done()
    one.set_result(1)
    assert both.result(0) == {"one": 1, "two": 2}
    good: Future[int] = Future()
    bad: Future[int] = Future()
    worse: Future[int] = Future()
    all_three = gathered({"good": good, "bad": bad, "worse": worse})
    bad.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
    worse.set_exception(KafkaException(KafkaError(KafkaError._FAIL)))
    good.set_result(1)
    error = all_three.exception(0)
    assert error is not None
    assert isinstance(typed(error, "asking"), RetriableError)
    assert isinstance(typed(TimeoutError(), "asking"), RetriableError)


def test_a_late_answer_counts_for_nothing() -> None:
    answer: Future[int] = Future()
    settle(answer, error=TimeoutError())
    settle(answer, 3)
    assert isinstance(answer.exception(0), TimeoutError)


def test_librdkafkas_lines_are_below_an_error_and_connection_attempts_are_for_debugging(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="streamq.kafka")
    log = LibrdkafkaLog()
    log.log(logging.CRITICAL, "%s [%s] %s", "FATAL", "producer-1", "something")
    log.log(logging.ERROR, "%s [%s] %s", "FAIL", "producer-1", "Connect to one:9092 failed")
    assert [(line.name, line.levelno) for line in caplog.records] == [
        ("streamq.kafka", logging.WARNING),
        ("streamq.kafka", logging.DEBUG),
    ]
    assert caplog.records[0].getMessage() == "FATAL [producer-1] something"
