"""A listener that notes what it is told."""

from __future__ import annotations

from collections.abc import Sequence

from streamq.model.ports import ConsumerPort
from streamq.model.records import TopicPartition


class Listening:
    """See `RebalanceListener`."""

    def __init__(self, consumer: ConsumerPort) -> None:
        self.consumer = consumer
        self.log: list[tuple[str, tuple[TopicPartition, ...]]] = []

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Note it."""
        self.log.append(("assigned", tuple(partitions)))

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Note it."""
        self.log.append(("revoked", tuple(partitions)))

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Note it."""
        self.log.append(("lost", tuple(partitions)))
