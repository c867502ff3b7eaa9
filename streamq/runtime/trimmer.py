"""Deletes what is settled from the front of retry partitions, so that they stay short."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final

from streamq.model.errors import BrokerError, FatalBrokerError
from streamq.model.ports import AdminPort
from streamq.model.records import NextOffset, TopicPartition

logger = logging.getLogger(__name__)

EVERY_S: Final = 10.0
MOVED: Final = 1_000
BEYOND_THE_END: Final = "OFFSET_OUT_OF_RANGE"

Deleted = Mapping[TopicPartition, NextOffset | BrokerError]


class Trimmer:
    """Asks at most every `every_s`, for the partitions whose trim point has moved by more than `moved` places. Owner
    thread only; nothing blocks.

    Without the right to delete this says so once for a topic and gives up there: the topic grows then, and nothing else
    suffers.
    """

    def __init__(self, admin: AdminPort, *, every_s: float = EVERY_S, moved: int = MOVED) -> None:
        self._admin = admin
        self._every_s = every_s
        self._moved = moved
        self._starts: dict[TopicPartition, NextOffset] = {}
        self._given_up: set[str | TopicPartition] = set()
        self._asked: Future[Deleted] | None = None
        self._asked_for: Mapping[TopicPartition, NextOffset] = {}
        self._ask_at = 0.0

    def opened(self, partition: TopicPartition, start: NextOffset) -> None:
        """A retry partition is this owner's from now on; it begins at `start`."""
        self._starts[partition] = start
        self._given_up.discard(partition)

    def closed(self, partition: TopicPartition) -> None:
        """It is no more: nothing of it is asked for. One that is not known is ignored."""
        self._starts.pop(partition, None)

    def advance(self, now: float, points: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, NextOffset]:
        """Take in an answer, or ask. `points`: below these all is settled, known to be so, and read
        (`ParkedLanes.trim_point`). Returns where partitions begin by now, as far as that is news."""
        news: Mapping[TopicPartition, NextOffset] = {}
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            news = self._take(asked)
        if self._asked is None and now >= self._ask_at:
            self._ask(now, points)
        return news

    def _ask(self, now: float, points: Mapping[TopicPartition, int]) -> None:
        before = {
            partition: NextOffset(points[partition])
            for partition, start in self._starts.items()
            if points.get(partition, start) - start > self._moved
            and partition not in self._given_up
            and partition.topic not in self._given_up
        }
        if before:
            self._ask_at = now + self._every_s
            self._asked_for = before
            self._asked = self._admin.delete_records(before)

    def _take(self, asked: Future[Deleted]) -> Mapping[TopicPartition, NextOffset]:
        try:
            answers = asked.result()
        except BrokerError as error:
            answers = dict.fromkeys(self._asked_for, error)
        news: dict[TopicPartition, NextOffset] = {}
        for partition, answer in answers.items():
            if isinstance(answer, BrokerError):
                self._refused(partition, answer)
            elif partition in self._starts and answer > self._starts[partition]:
                self._starts[partition] = news[partition] = answer
        return news

    def _refused(self, partition: TopicPartition, error: BrokerError) -> None:
        if not isinstance(error, FatalBrokerError):
            logger.debug(
                "Settled records of a retry partition could not be deleted: it is tried again",
                extra={"event": "trim_failed", "partition": str(partition), "error": str(error)},
            )
        elif error.code == BEYOND_THE_END:
            self._given_up.add(partition)
            logger.error(
                "A retry partition ends before what is settled in it: it was made anew, or its end is lost; nothing of "
                "it is deleted",
                extra={"event": "trim_refused", "partition": str(partition), "error": str(error)},
            )
        elif partition.topic not in self._given_up:
            self._given_up.add(partition.topic)
            logger.warning(
                "Settled records cannot be deleted from the retry topic: it grows until this worker has the right to "
                "(Delete on the topic) and is started again; reading it takes longer at each takeover",
                extra={"event": "trim_refused", "topic": partition.topic, "error": str(error)},
            )
