"""Futures of librdkafka's admin client in our words, without blocking."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import TypeVar, cast

from confluent_kafka import KafkaException

from streamq.kafka.errors import from_exception
from streamq.model.errors import RetriableError

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")


def gathered(asked: Mapping[K, Future[T]]) -> Future[dict[K, T]]:
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
            answer.set_exception(error)

    for key, future in asked.items():
        future.add_done_callback(partial(take, key))
    return answer


def answered(result: R) -> Future[R]:
    """Where nobody needs to be asked."""
    answer: Future[R] = Future()
    answer.set_result(result)
    return answer


def settle(answer: Future[R], result: R | None = None, error: BaseException | None = None) -> None:
    """Complete it, if nobody has: a late answer to what was given up counts for nothing."""
    with suppress(InvalidStateError):
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(cast("R", result))


def typed(error: BaseException, what: str) -> BaseException:
    """Kafka's errors by their reaction; others are bugs and stay what they are."""
    match error:
        case KafkaException():
            return from_exception(error, what)
        case TimeoutError():
            return RetriableError(f"{what}: no answer in time: check that the brokers run", code="_TIMED_OUT")
        case _:
            return error
