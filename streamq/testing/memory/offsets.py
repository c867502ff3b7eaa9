"""What stands committed for one group, and what waits for the end of a transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streamq.model.records import CommitPoint, TopicPartition


class Offsets:
    """Of what is sent for a partition the last counts, plain or in a transaction, whenever that is decided. Under the
    cluster's lock."""

    def __init__(self) -> None:
        self._stored: dict[TopicPartition, tuple[int, CommitPoint]] = {}
        self._held: dict[int, dict[TopicPartition, tuple[int, CommitPoint]]] = {}
        self._sent = 0

    @property
    def points(self) -> Mapping[TopicPartition, CommitPoint]:
        """What stands."""
        return {partition: point for partition, (_, point) in self._stored.items()}

    @property
    def undecided(self) -> frozenset[TopicPartition]:
        """Those with offsets in an open transaction."""
        return frozenset(partition for held in self._held.values() for partition in held)

    def store(self, partition: TopicPartition, point: CommitPoint) -> None:
        """A plain commit."""
        self._sent += 1
        self._stored[partition] = self._sent, point

    def hold(self, transaction: int, points: Mapping[TopicPartition, CommitPoint]) -> None:
        """Keep these until the transaction is decided."""
        self._sent += 1
        held = self._held.setdefault(transaction, {})
        held.update({partition: (self._sent, point) for partition, point in points.items()})

    def decide(self, transaction: int, *, commit: bool) -> None:
        """They count, where nothing was sent since, or are forgotten."""
        for partition, (sent, point) in self._held.pop(transaction, {}).items():
            if commit and sent > self._stored.get(partition, (0, point))[0]:
                self._stored[partition] = sent, point

    def keep(self, wanted: Callable[[TopicPartition], bool]) -> None:
        """Forget what stands for others."""
        self._stored = {partition: found for partition, found in self._stored.items() if wanted(partition)}
