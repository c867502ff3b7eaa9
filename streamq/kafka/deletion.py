"""DeleteRecords over librdkafka's admin client."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._records import DeletedRecords

from streamq.kafka import records
from streamq.kafka.answers import settle
from streamq.kafka.errors import from_exception
from streamq.kafka.handle import AdminHandle
from streamq.model.errors import BrokerError, RetriableError
from streamq.model.records import NextOffset, TopicPartition

Deleted = Mapping[TopicPartition, NextOffset | BrokerError]


def delete_records(
    handle: AdminHandle, before: Mapping[TopicPartition, NextOffset], timeout_s: float
) -> Future[Deleted]:
    """Ask, and gather what each partition answers: one that refuses says nothing of the others."""
    wanted = [KafkaPartition(place.topic, place.partition, offset) for place, offset in before.items()]
    answer: Future[Deleted] = Future()

    def ask(client: AdminClient) -> Future[Deleted]:
        asked = client.delete_records(wanted, request_timeout=timeout_s, operation_timeout=timeout_s)
        return _gathered({records.partition(place): future for place, future in asked.items()})

    def take(done: Future[Deleted]) -> None:
        error = done.exception()
        if error is not None:  # the client was ended for another question's sake
            settle(answer, dict.fromkeys(before, RetriableError("deleting records: no answer", code="_TIMED_OUT")))
        else:
            settle(answer, done.result())

    handle.ask(ask).add_done_callback(take)
    return answer


def _gathered(asked: Mapping[TopicPartition, Future[DeletedRecords]]) -> Future[Deleted]:
    answer: Future[Deleted] = Future()
    found: dict[TopicPartition, NextOffset | BrokerError] = {}

    def take(place: TopicPartition, done: Future[DeletedRecords]) -> None:
        error = done.exception()
        match error:
            case None:
                found[place] = NextOffset(done.result().low_watermark)
            case KafkaException():
                found[place] = from_exception(error, f"deleting records of {place}")
            case _:
                settle(answer, error=error)
        if len(found) == len(asked):
            settle(answer, found)

    for place, future in asked.items():
        future.add_done_callback(partial(take, place))
    return answer
