"""The thread that acts for a consumer's owner: what it does first, and what it does once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from confluent_kafka import TopicPartition as KafkaPartition

from streamq.kafka.errands import Errands
from streamq.model.records import CommitPoint, NextOffset, TopicPartition

if TYPE_CHECKING:
    from confluent_kafka import Consumer

WAIT_S = 10.0


class Slow:
    """A consumer whose leaders answer the first question when they are told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.asked, self.answer, self.all_asked = threading.Event(), threading.Event(), threading.Event()

    def get_watermark_offsets(self, place: KafkaPartition, timeout: float) -> None:
        """Waits for the word."""
        self.calls.append(f"ask {place.partition}")
        self.asked.set()
        assert self.answer.wait(WAIT_S)
        if len(self.calls) == 4:
            self.all_asked.set()

    def commit(self, offsets: list[KafkaPartition], asynchronous: bool) -> list[KafkaPartition]:
        """Taken."""
        self.calls.append("commit")
        return offsets

    def close(self) -> None:
        """Noted."""
        self.calls.append("close")


def place(number: int) -> KafkaPartition:
    return KafkaPartition("orders", number)


def test_a_commit_waits_for_one_question_at_most_and_each_partition_is_asked_about_once() -> None:
    """A question waits on the broker for the fetch that is under way, for 100 ms, say; who pauses and resumes often has
    many to ask."""
    consumer = Slow()
    errands = Errands(cast("Consumer", consumer))
    errands.wake([place(0)])
    assert consumer.asked.wait(WAIT_S)
    for _ in range(50):
        errands.wake([place(1), place(2)])
    answer = errands.commit({TopicPartition("orders", 0): CommitPoint(NextOffset(1))})
    consumer.answer.set()
    assert answer.result(WAIT_S) == {TopicPartition("orders", 0): None}
    assert consumer.all_asked.wait(WAIT_S)
    errands.close().join(WAIT_S)
    assert consumer.calls[:2] == ["ask 0", "commit"]
    assert sorted(consumer.calls[2:4]) == ["ask 1", "ask 2"]
    assert consumer.calls[4:] == ["close"]


def test_a_goodbye_waits_for_one_question_at_most() -> None:
    consumer = Slow()
    errands = Errands(cast("Consumer", consumer))
    errands.wake([place(0)])
    assert consumer.asked.wait(WAIT_S)
    errands.wake([place(1), place(2)])
    ending = errands.close()
    consumer.answer.set()
    ending.join(WAIT_S)
    assert consumer.calls == ["ask 0", "close"]
