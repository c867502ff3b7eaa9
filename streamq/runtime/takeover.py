"""Taking over a journal: nothing of the source runs before all of it is known (design, G4, rules 3 and 4).

    both ends, and until the stable one is no less ──► the journal that its map knew? ──► read to there ──► known

The committed offsets of the source were decided before; that no transaction is open here either is what the stable end
says.
"""

from __future__ import annotations

import logging
from typing import Final

from streamq.core.journal_check import check_journal
from streamq.core.offset_map import OffsetMap
from streamq.core.parking import ParkedLanes
from streamq.model.errors import BrokerError
from streamq.model.ports import AdminPort
from streamq.model.records import NextOffset, TopicPartition
from streamq.runtime.journal_follower import JournalFollower
from streamq.runtime.stable_end import Range, StableEnd

logger = logging.getLogger(__name__)

AGAIN_S: Final = 0.5
STANDS_S: Final = 5.0


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
        self._mark = None if restored is None else restored.journal
        self._admin = admin
        self._follower = follower
        self._began = now
        self._ends: StableEnd | None = None
        self._range: Range | None = None
        self._ask_at = now
        self._told = False
        self.done = False

    def advance(self, now: float) -> bool:
        """Go on as far as the answers allow. Whether all of the journal is known by now.

        Raises:
            JournalError: it is not the journal that the map knew, or its end is missing.
        """
        if self._range is None and now >= self._ask_at:
            self._ask(now)
        if not self.done and self._range is not None and self._follower.position(self._journal) >= self._range.end:
            self._parked.reach(self._range.end)
            self._parked.begin()
            self.done = True
        return self.done

    def _ask(self, now: float) -> None:
        self._ends = self._ends or StableEnd(self._admin, self._journal)
        try:
            self._range = self._ends.take(now)
        except BrokerError as error:
            self._ends, self._ask_at = None, now + AGAIN_S
            self._tell(
                "The ends of a retry partition could not be read: its source partition waits, it is tried again",
                str(error),
            )
            return
        if self._range is not None:
            check_journal(self._mark, name=str(self._journal), topic_id=self._parked.journal_id, end=self._range.end)
            self._follower.follow(self._journal, NextOffset(self._range.start))
        elif now - self._began > STANDS_S:
            self._tell(
                "A retry partition's stable end stands: its source partition waits until a former owner's transaction "
                "is decided, for at most that one's own time-out",
                "",
            )

    def _tell(self, sentence: str, error: str) -> None:
        if not self._told:
            self._told = True
            logger.warning(
                sentence, extra={"event": "journal_waits", "partition": self._journal.partition, "error": error}
            )
