"""librdkafka's consumer as both consumers use it: how it is made and polled; and the reader without a group."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from streamq.kafka import records
from streamq.kafka.errors import config_error, from_exception
from streamq.kafka.logs import LibrdkafkaLog
from streamq.kafka.settings import Settings
from streamq.kafka.troubles import Troubles
from streamq.model.ports import NOTHING_POLLED, Polled
from streamq.model.records import NextOffset, TopicPartition


def make_consumer(settings: Settings, troubles: Troubles) -> Consumer:
    """librdkafka's consumer; its callbacks run inside polls.

    Raises:
        ConfigError: a setting that librdkafka does not know or take.
    """
    try:
        return Consumer({**settings, "error_cb": troubles.note}, logger=LibrdkafkaLog())
    except (KafkaException, ValueError, TypeError) as error:
        raise config_error(error, settings) from error


def poll(consumer: Consumer, troubles: Troubles, timeout_s: float, max_records: int) -> Polled:
    """See `ConsumerPort.poll`. `consume(n, timeout)` comes back with n records or at the time-out only, so this waits
    for one and then takes what is queued.

    Raises:
        FencedError, FatalBrokerError: the client cannot go on.
    """
    try:
        messages = [first] if timeout_s and (first := consumer.poll(timeout_s)) is not None else []
        if (messages or not timeout_s) and len(messages) < max_records:
            messages += consumer.consume(max_records - len(messages), 0)
        if not messages:
            return Polled((), troubles.take()) if troubles else NOTHING_POLLED
    except KafkaException as error:
        raise from_exception(error, "polling") from error
    polled = records.take(messages)
    if polled.records:
        troubles.healthy()
    return Polled(polled.records, [*polled.events, *troubles.take()]) if troubles else polled


class KafkaReader:
    """See `ReaderPort`."""

    def __init__(self, settings: Settings, description: str) -> None:
        self._troubles = Troubles(description)
        self._consumer = make_consumer(settings, self._troubles)
        self._closed = False

    def assign(self, positions: Mapping[TopicPartition, NextOffset]) -> None:
        """Read these and no others, from there on."""
        self._consumer.assign([KafkaPartition(one.topic, one.partition, offset) for one, offset in positions.items()])

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """As the port says."""
        return poll(self._consumer, self._troubles, timeout_s, max_records)

    def close(self) -> None:
        """Release the connection. Without a group there is no goodbye to wait for."""
        if not self._closed:
            self._closed = True
            self._consumer.close()
