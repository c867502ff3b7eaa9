"""What a group has committed, asked by a consumer of that group which never joins it.

Not by the admin client: in librdkafka 2.16.0 that crashes the process when the coordinator answers that it is loading
or has moved (`rd_kafka_handle_OffsetFetch` then looks for the consumer's group state, which an admin client lacks).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from confluent_kafka import Consumer, KafkaException

from streamq.kafka import records
from streamq.kafka.errors import from_exception, to_error
from streamq.kafka.reader import make_consumer
from streamq.kafka.settings import Settings
from streamq.kafka.troubles import Troubles
from streamq.model.records import CommitPoint, NextOffset, TopicPartition

Committed = Mapping[TopicPartition, CommitPoint | None]


class GroupOffsets:
    """Any thread may ask; each question waits on a thread of its own. `read_committed` makes librdkafka ask for stable
    offsets only (KIP-447)."""

    def __init__(self, settings: Settings, description: str, timeout_s: float) -> None:
        self._settings = settings
        self._description = description
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="streamq-offsets")
        self._lock = threading.Lock()
        self._consumers: dict[str, Consumer] = {}

    def ask(self, group: str, partitions: Sequence[TopicPartition]) -> Future[Committed]:
        """The group's committed offsets with their metadata; None where there is none."""
        return self._pool.submit(self._ask, group, list(partitions))

    def close(self) -> None:
        """Release the connections. Idempotent."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            consumers, self._consumers = self._consumers, {}
        for consumer in consumers.values():
            consumer.close()

    def _ask(self, group: str, partitions: Sequence[TopicPartition]) -> Committed:
        what = f"reading the offsets of group {group} at {self._description}"
        try:
            found = self._consumer(group).committed(records.kafka_partitions(partitions), timeout=self._timeout_s)
        except KafkaException as error:
            raise from_exception(error, what) from error
        committed: dict[TopicPartition, CommitPoint | None] = {}
        for each in found:
            if each.error is not None:
                raise to_error(each.error, what)
            point = None if each.offset < 0 else CommitPoint(NextOffset(each.offset), each.metadata or "")
            committed[records.partition(each)] = point
        return committed

    def _consumer(self, group: str) -> Consumer:
        with self._lock:
            if group not in self._consumers:
                settings = {**self._settings, "group.id": group, "isolation.level": "read_committed"}
                self._consumers[group] = make_consumer(settings, Troubles(self._description))
            return self._consumers[group]
