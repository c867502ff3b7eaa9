"""What a group has committed, asked by a consumer of that group which never joins it.

Not by the admin client: in librdkafka 2.16.0 that crashes the process when the coordinator answers that it is loading
or has moved (`rd_kafka_handle_OffsetFetch` then looks for the consumer's group state, which an admin client lacks).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Final

from confluent_kafka import Consumer, KafkaException

from streamq.kafka import records
from streamq.kafka.answers import settle
from streamq.kafka.errors import from_exception, to_error
from streamq.kafka.reader import make_consumer
from streamq.kafka.settings import Settings
from streamq.kafka.troubles import Troubles
from streamq.model.clock import Deadline, SystemClock
from streamq.model.errors import BrokerError, RetriableError
from streamq.model.ports import Isolation
from streamq.model.records import CommitPoint, NextOffset, TopicPartition

Committed = Mapping[TopicPartition, CommitPoint | None]

_CLOSE_S: Final = 1.0
_TOGETHER_S: Final = 0.5
"""For all at once: answered within a millisecond or two, the first time a hundred."""
_ALONE_S: Final = 0.2
_SHORTEST_S: Final = 0.01
_UNANSWERED: Final = frozenset({"_TIMED_OUT", "UNSTABLE_OFFSET_COMMIT"})


class GroupOffsets:
    """Any thread may ask. Each question waits on a daemon thread of its own, so that a process can end without the
    answer; those about one group wait for each other. `read_committed` makes librdkafka ask for stable offsets only
    (KIP-447): while a partition has offsets in an open transaction, all that are asked for with it wait with it. So
    what is unanswered together is asked one by one (0.3 ms each), and what is unanswered then, while the coordinator
    answers a question that does not ask for stable ones, is undecided."""

    def __init__(self, settings: Settings, description: str, timeout_s: float) -> None:
        self._settings = settings
        self._description = description
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._consumers: dict[tuple[str, Isolation], Consumer] = {}

    def ask(self, group: str, partitions: Sequence[TopicPartition]) -> Future[Committed]:
        """The group's committed offsets with their metadata; None where there is none."""
        answer: Future[Committed] = Future()
        asking = threading.Thread(
            target=self._answer, args=(group, list(partitions), answer), name="streamq-offsets", daemon=True
        )
        asking.start()
        return answer

    def close(self) -> None:
        """Release the connections. Idempotent. Blocks for a second at most: a question that is still open keeps its
        connection until it is answered or times out."""
        with self._lock:
            consumers, self._consumers = self._consumers, {}
        closing = [
            threading.Thread(target=consumer.close, name="streamq-close", daemon=True)
            for consumer in consumers.values()
        ]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(_CLOSE_S)

    def _answer(self, group: str, partitions: Sequence[TopicPartition], answer: Future[Committed]) -> None:
        try:
            settle(answer, self._ask(group, partitions))
        except BrokerError as error:
            settle(answer, error=error)

    def _ask(self, group: str, partitions: Sequence[TopicPartition]) -> Committed:
        deadline = Deadline(SystemClock(), self._timeout_s)
        found = self._answered(group, partitions, _TOGETHER_S)
        if found is not None:
            return found
        self._committed(group, partitions, "read_uncommitted", deadline.remaining_s())
        committed: dict[TopicPartition, CommitPoint | None] = {}
        for one in partitions:
            committed |= self._answered(group, [one], min(_ALONE_S, deadline.remaining_s())) or {}
        return committed

    def _answered(self, group: str, partitions: Sequence[TopicPartition], timeout_s: float) -> Committed | None:
        """None: not within this time."""
        try:
            return self._committed(group, partitions, "read_committed", timeout_s)
        except RetriableError as error:
            if error.code not in _UNANSWERED:
                raise
            return None

    def _committed(
        self, group: str, partitions: Sequence[TopicPartition], isolation: Isolation, timeout_s: float
    ) -> Committed:
        what = f"reading the offsets of group {group} at {self._description}"
        try:
            consumer = self._consumer(group, isolation)
            consumer.poll(0)  # takes out what librdkafka has said since the last question; there are no records
            found = consumer.committed(records.kafka_partitions(partitions), timeout=max(_SHORTEST_S, timeout_s))
        except KafkaException as error:
            raise from_exception(error, what) from error
        except RuntimeError as error:  # closed meanwhile
            raise RetriableError(f"{what}: {error}") from error
        committed: dict[TopicPartition, CommitPoint | None] = {}
        for each in found:
            if each.error is not None:
                raise to_error(each.error, what)
            point = None if each.offset < 0 else CommitPoint(NextOffset(each.offset), each.metadata or "")
            committed[records.partition(each)] = point
        return committed

    def _consumer(self, group: str, isolation: Isolation) -> Consumer:
        with self._lock:
            if (group, isolation) not in self._consumers:
                settings = {**self._settings, "group.id": group, "isolation.level": isolation}
                self._consumers[group, isolation] = make_consumer(settings, Troubles(self._description))
            return self._consumers[group, isolation]
