"""Operators' requests, as the owner of a partition carries them out: dead letters go back, are purged, keys go on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from streamq.core.journal_records import Request
from streamq.core.parking import ParkedLanes
from streamq.core.request_parameters import Parameters, Release, decode
from streamq.model.errors import BrokerError, JournalError
from streamq.model.ports import AdminPort
from streamq.model.records import TopicPartition
from streamq.runtime.letter_reader import LetterReader
from streamq.runtime.serving import Serving
from streamq.runtime.stable_end import StableEnd

logger = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0


@dataclass(slots=True)
class Current:
    """The request of a partition that takes letters at this time, and since when it fails."""

    serving: Serving
    failures: int = 0
    again_at: float = 0.0


class RequestServer:
    """Of one owner, for all of its partitions. Owner thread only; nothing blocks but `close`.

    Letters are read by a reader of its own on a thread of its own, as many as are being moved: never all of them.
    """

    def __init__(self, *, admin: AdminPort, reader: LetterReader, dead_letter_topic: str, group: str) -> None:
        self._admin = admin
        self._reader = reader
        self._topic = dead_letter_topic
        self._group = group
        self._current: dict[TopicPartition, Current] = {}

    def advance(self, parked: ParkedLanes, partition: TopicPartition, now: float) -> bool:
        """Go on with what operators ask of a source partition whose journal is known. Call it each tick, before a
        transaction is planned. Whether there was anything to do."""
        current = self._current.get(partition)
        if current is not None and (current.serving.parked is not parked or not _open(current.serving, parked)):
            self._drop(partition)
        if not len(parked.requests):
            return False
        busy = self._answer_at_once(parked)
        if partition not in self._current and not parked.requests.taking:
            self._take_next(parked, partition)
        return self._serve(partition, now) or busy

    def forget(self, partition: TopicPartition) -> None:
        """The partition is gone: who owns it next carries its requests on."""
        self._drop(partition)

    def close(self) -> None:
        """End thread and connection. Blocks for what is being read, a second at most."""
        self._reader.close()

    def _drop(self, partition: TopicPartition) -> None:
        if self._current.pop(partition, None) is not None and not self._current:
            self._reader.rest()

    # Which is next

    def _answer_at_once(self, parked: ParkedLanes) -> bool:
        """Releases, and what cannot be understood, wait for nothing."""
        busy = False
        for request in [one for one in parked.requests if one.request_id not in parked.requests.jobs]:
            asked = self._understood(parked, request)
            if asked is None or isinstance(asked, Release):
                parked.requests.release(request.request_id, () if asked is None else asked.keys)
                busy = True
        return busy

    def _understood(self, parked: ParkedLanes, request: Request) -> Parameters | None:
        try:
            return decode(request.kind, request.parameters)
        except ValueError as error:
            logger.error(
                "An operator's request is not understood: it is closed without effect, ask with this release's command",
                extra={
                    "event": "request_unknown",
                    "partition": parked.state.partition.partition,
                    "request": request.request_id.hex(),
                    "error": str(error),
                },
            )
            return None

    def _take_next(self, parked: ParkedLanes, partition: TopicPartition) -> None:
        """In the order in which they came; but what a former owner has begun with comes first, since it holds keys."""
        holders = {standing.state.request_id for standing in parked.standing.values()}
        waiting = [one for one in parked.requests if one.request_id not in parked.requests.jobs]
        for request in sorted(waiting, key=lambda one: one.request_id not in holders):
            asked = decode(request.kind, request.parameters)
            if not isinstance(asked, Release):
                place = TopicPartition(self._topic, partition.partition)
                serving = Serving(parked, request, asked, place=place, group=self._group)
                self._current[partition] = Current(serving)
                return

    # Carrying out

    def _serve(self, partition: TopicPartition, now: float) -> bool:
        current = self._current.get(partition)
        if current is None or now < current.again_at:
            return False
        try:
            busy = current.serving.advance(self._reader, self._ends, now)
        except (BrokerError, JournalError) as error:
            self._failed(partition, current, error, now)
            return False
        if busy:
            current.failures = 0
        return busy

    def _ends(self, place: TopicPartition) -> StableEnd:
        return StableEnd(self._admin, place)

    def _failed(self, partition: TopicPartition, current: Current, error: Exception, now: float) -> None:
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(current.failures, 10))
        current.failures += 1
        current.again_at = now + pause_s
        current.serving.again()
        logger.warning(
            "An operator's request about dead letters waits: the dead-letter topic cannot be read, it is tried again",
            extra={
                "event": "request_waits",
                "partition": partition.partition,
                "request": current.serving.request_id.hex(),
                "dead_letter_topic": self._topic,
                "error": str(error),
                "pause_s": pause_s,
            },
        )


def _open(serving: Serving, parked: ParkedLanes) -> bool:
    """Whether there is anything left to be done for it."""
    return any(request.request_id == serving.request_id for request in parked.requests)
