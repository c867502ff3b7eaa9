"""Which partitions there are, as far as a transactional producer has seen.

librdkafka waits for a topic that does not exist until its deliveries time out, and a transaction stands so long with
all that is in it. So topics are looked up before, once, and again after a transaction that came to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from confluent_kafka import KafkaException, Producer

from streamq.kafka.errors import to_error
from streamq.model.errors import RetriableError
from streamq.model.records import TopicPartition
from streamq.model.transactions import Aborted, Batch, Stale

_ASK_S: Final = 2.0
_AWAY: Final = frozenset({"_MSG_TIMED_OUT", "_TIMED_OUT", "UNKNOWN_TOPIC_OR_PART", "NOT_LEADER_FOR_PARTITION"})


class KnownTopics:
    """On the thread that runs the transactions."""

    def __init__(self) -> None:
        self._partitions: dict[str, int] = {}

    def refusal(self, producer: Producer, batch: Batch) -> Aborted | None:
        """Why this batch cannot be written, if one of its topics or partitions is the cause. Asks for those that it
        has not seen, which blocks."""
        for place in _places(batch):
            if place.partition < self._partitions.get(place.topic, 0):
                continue
            refused = self._look_up(producer, place)
            if refused is not None:
                return refused
        return None

    def _look_up(self, producer: Producer, place: TopicPartition) -> Aborted | None:
        what = f"looking for {place}"
        try:
            found = producer.list_topics(place.topic, timeout=_ASK_S).topics[place.topic]
        except KafkaException as error:
            return Aborted(to_error(error.args[0], what))
        if found.error is not None:
            return Aborted(to_error(found.error, what), None, place)
        self._partitions[place.topic] = len(found.partitions)
        if place.partition >= len(found.partitions):
            missing = f"{what}: the topic has {len(found.partitions)} partitions"
            return Aborted(RetriableError(missing, code="UNKNOWN_TOPIC_OR_PART"), None, place)
        return None

    def forget(self, batch: Batch) -> None:
        """What these were is to be seen anew."""
        for place in _places(batch):
            self._partitions.pop(place.topic, None)

    def explained(self, producer: Producer, batch: Batch, reason: Aborted | Stale) -> Aborted | Stale:
        """The same, with a culprit where a topic has gone meanwhile: that shows as a delivery that timed out."""
        if isinstance(reason, Stale) or reason.partition is not None or reason.error.code not in _AWAY:
            return reason
        refused = self.refusal(producer, batch)
        return refused if refused is not None and refused.partition is not None else reason


def _places(batch: Batch) -> Iterator[TopicPartition]:
    for outgoing in batch.records:
        yield TopicPartition(outgoing.topic, outgoing.partition or 0)
    yield from batch.points
