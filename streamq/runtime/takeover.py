"""Taking over a journal: nothing of the source runs before all of it is known (design, G4, rules 3 and 4).

    both ends ──► stable end no less than the high watermark? ──► the journal its map knew? ──► read to there ──► known

The committed offsets of the source were decided before; that no transaction is open here either is what the second
question says.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final

from streamq.core.offset_map import OffsetMap
from streamq.core.parking import ParkedLanes
from streamq.model.errors import BrokerError, JournalError
from streamq.model.ports import AdminPort
from streamq.model.records import Earliest, Latest, NextOffset, TopicPartition
from streamq.runtime.journal_follower import JournalFollower

logger = logging.getLogger(__name__)

AGAIN_S: Final = 0.5
STABLE_S: Final = 0.02
"""A stable end that lags behind is asked for again so soon: it follows its transaction within milliseconds."""
STANDS_S: Final = 5.0

Ends = Mapping[TopicPartition, NextOffset]


class Takeover:
    """Of one journal partition. Owner thread; a look a tick."""

    def __init__(
        self,
        parked: ParkedLanes,
        journal: TopicPartition,
        restored: OffsetMap | None,
        admin: AdminPort,
        follower: JournalFollower,
        now: float,
    ) -> None:
        self._parked = parked
        self._journal = journal
        self._restored = restored
        self._admin = admin
        self._follower = follower
        self._began = now
        self._start: int | None = None
        self._high: int | None = None
        self._stable: int | None = None
        self._ask_at = now
        self._asking: tuple[str, Future[Ends]] | None = None
        self._told = False
        self.done = False

    def advance(self, now: float) -> bool:
        """Go on as far as the answers allow. Whether all of the journal is known by now.

        Raises:
            JournalError: it is not the journal that the map knew, or its end is missing.
        """
        if self.done:
            return True
        if self._stable is None:
            self._ask(now)
            self._take(now)
        if self._stable is not None and self._follower.position(self._journal) >= self._stable:
            self._parked.reach(self._stable)
            self._parked.begin()
            self.done = True
        return self.done

    def _ask(self, now: float) -> None:
        if self._asking is not None or now < self._ask_at:
            return
        one = self._journal
        if self._start is None:
            self._asking = "start", self._admin.list_offsets({one: Earliest()}, "read_uncommitted")
        elif self._high is None:
            self._asking = "high", self._admin.list_offsets({one: Latest()}, "read_uncommitted")
        else:
            self._asking = "stable", self._admin.list_offsets({one: Latest()}, "read_committed")

    def _take(self, now: float) -> None:
        if self._asking is None or not self._asking[1].done():
            return
        (what, answer), self._asking = self._asking, None
        try:
            found = answer.result()[self._journal]
        except (BrokerError, KeyError) as error:
            self._wait(now, error)
            return
        if what == "start":
            self._start = found
        elif what == "high":
            self._high = found
            self._check(found)
        elif self._high is None or found < self._high:
            self._ask_at = now + STABLE_S
            self._tell_undecided(now, found)
        else:
            self._stable = found
            self._follower.follow(self._journal, NextOffset(self._start or 0))

    def _check(self, high: int) -> None:
        """Is it the journal that the source's map knew, as far as the map knew it?"""
        mark = None if self._restored is None else self._restored.journal
        if mark is None:
            return
        if mark.topic_id != self._parked.journal_id:
            raise JournalError(
                f"{self._journal.topic} was deleted and made anew: what was parked of "
                f"{self._parked.state.partition} is gone, {mark.known_end} offsets at most"
            )
        if mark.known_end > high:
            raise JournalError(
                f"{self._journal} ends at {high}, and its owner had written up to {mark.known_end}: "
                f"{mark.known_end - high} offsets of what was parked are gone"
            )

    def _wait(self, now: float, error: Exception) -> None:
        self._ask_at = now + AGAIN_S
        if not self._told:
            self._told = True
            logger.warning(
                "The ends of a retry partition could not be read: its source partition waits, it is tried again",
                extra={"event": "journal_not_read", "partition": self._journal.partition, "error": str(error)},
            )

    def _tell_undecided(self, now: float, stable: int) -> None:
        if now - self._began > STANDS_S and not self._told:
            self._told = True
            logger.warning(
                "A transaction of a former owner is not decided: its partition waits, for at most the transaction's "
                "own time-out",
                extra={
                    "event": "undecided",
                    "partition": self._journal.partition,
                    "stable": stable,
                    "high": self._high,
                },
            )
