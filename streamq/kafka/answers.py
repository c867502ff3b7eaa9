"""Futures of librdkafka's admin client in our words, without blocking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from confluent_kafka import KafkaException

from streamq.kafka.errors import from_exception
from streamq.model.errors import BrokerError

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")


def mapped(asked: Future[T], read: Callable[[T], R], what: str) -> Future[R]:
    """What `read` makes of the answer. It runs on the client's thread, and may raise BrokerError."""
    answer: Future[R] = Future()

    def take(done: Future[T]) -> None:
        error = done.exception()
        if error is not None:
            answer.set_exception(typed(error, what))
            return
        try:
            answer.set_result(read(done.result()))
        except BrokerError as refused:
            answer.set_exception(refused)

    asked.add_done_callback(take)
    return answer


def gathered(asked: Mapping[K, Future[T]], what: str) -> Future[dict[K, T]]:
    """All answers in one, or the first error. The client's one thread completes them one after the other."""
    answer: Future[dict[K, T]] = Future()
    found: dict[K, T] = {}

    def take(key: K, done: Future[T]) -> None:
        error = done.exception()
        if error is None:
            found[key] = done.result()
            if len(found) == len(asked):
                answer.set_result(found)
        elif not answer.done():
            answer.set_exception(typed(error, what))

    for key, future in asked.items():
        future.add_done_callback(partial(take, key))
    return answer


def answered(result: R) -> Future[R]:
    """Where nobody needs to be asked."""
    answer: Future[R] = Future()
    answer.set_result(result)
    return answer


def typed(error: BaseException, what: str) -> BaseException:
    """Kafka's errors by their reaction; others are bugs and stay what they are."""
    return from_exception(error, what) if isinstance(error, KafkaException) else error
