"""How far the partitions of an owner are behind, for the metrics page."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final

from streamq.core.partition import PartitionState
from streamq.model.errors import BrokerError
from streamq.model.ports import AdminPort
from streamq.model.records import Latest, NextOffset, TopicPartition
from streamq.runtime.assignment import Assignment
from streamq.runtime.committer import Committer
from streamq.runtime.stats import OwnerStats

logger = logging.getLogger(__name__)

EVERY_S: Final = 10.0


class LagGauge:
    """Asks for the ends now and then, without waiting for them. Owner thread only."""

    def __init__(self, admin: AdminPort, assignment: Assignment, committer: Committer, stats: OwnerStats) -> None:
        self._admin = admin
        self._assignment = assignment
        self._committer = committer
        self._stats = stats
        self._asked: Future[Mapping[TopicPartition, NextOffset]] | None = None
        self._ask_at = 0.0

    def advance(self, now: float) -> None:
        """Take in an answer, or ask."""
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            self._take(asked)
        if self._asked is None and now >= self._ask_at and self._assignment.open:
            self._ask_at = now + EVERY_S
            self._asked = self._admin.list_offsets({state.partition: Latest() for state in self._assignment})

    def _take(self, asked: Future[Mapping[TopicPartition, NextOffset]]) -> None:
        try:
            ends = asked.result()
        except BrokerError as error:
            logger.debug(
                "The ends are not known, the gauge keeps its value", extra={"event": "lag", "error": str(error)}
            )
            return
        self._stats.lag = {
            state.partition.partition: max(0, ends[state.partition] - self._begins(state))
            for state in self._assignment
            if state.partition in ends
        }

    def _begins(self, state: PartitionState) -> int:
        """The committed offset; where nothing is committed yet, the one that will be."""
        committed = self._committer.committed(state)
        return committed if committed >= 0 else state.tracker.next_offset
