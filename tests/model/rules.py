"""The rules that can be switched off here, to see that each is needed. Those of the core are broken by a subclass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch

from streamq.core import journal_index, journal_plan
from streamq.core.journal_plan import Planner
from streamq.core.journal_queue import PlaceQueue, RankOf
from streamq.core.journal_records import JournalRecord
from streamq.core.lanes import Lane, LaneKey, LaneState
from streamq.core.parking import ParkedLanes

RULES: Final = {
    "one_transaction": "what is written to the journal and the source's offsets take effect together or not at all",
    "pending_first": "no plain commit while something settled in the journal is not written there",
    "decided": "a new owner waits until its predecessor's transaction is decided",
    "journal_first": "it knows all of the journal before it runs anything of the source",
    "from_head": "a lane is transferred from its head on, nothing left out",
    "follow": "a key with unsettled entries is parked: its source records do not run",
    "by_source": "entries of a key run by source offset, not by their place",
    "one_at_a_time": "one commit or transaction is under way for a partition",
    "generation": "what comes late from a generation that is over is refused",
    "stamped": "a transaction carries the group's metadata of the moment of its snapshot",
    "held": "nothing of a key runs while its dead letters are moved back",
    "chained": "later records of a chained key follow it",
}


class NotJournalFirst(ParkedLanes):
    """Runs the source at once, and learns of the journal as it reads it."""

    def _read_on(self, place: int, record: JournalRecord) -> None:
        self._learn(place, record)
        for key in [*self.index.lanes(), *self.standing]:
            lane = self.state.lanes.get(key)
            if lane is None or lane.state is not LaneState.RUNNING:
                self.reconcile(key)


class NotFollowing(ParkedLanes):
    """Lets source records of a key with entries run."""

    def parked(self, key: LaneKey) -> bool:
        return super().parked(key) and (
            key not in self.index or key in self.standing or key in self.leaving or key in self.letters
        )


class NotHeld(ParkedLanes):
    """Lets a key run while a request moves its dead letters."""

    def _redriving(self, key: LaneKey) -> bool:
        standing = self.standing.get(key)
        return key in self.requests.stopping or (standing is not None and standing.state.kind == "redriving")

    def parked(self, key: LaneKey) -> bool:
        return super().parked(key) and (not self._redriving(key) or key in self.leaving or key in self.letters)

    def runnable(self, key: LaneKey) -> bool:
        return super().runnable(key) or self._redriving(key)


class NotChained(ParkedLanes):
    """Lets later records of a chained key run."""

    def parked(self, key: LaneKey) -> bool:
        standing = self.standing.get(key)
        chained = standing is not None and standing.state.kind == "chained"
        return super().parked(key) and (not chained or key in self.index or key in self.leaving or key in self.letters)


class NotFromHead(Planner):
    """Leaves records out."""

    def _transfer(self, lane: Lane, next_at_ms: int) -> None:
        if len(lane.queue) > 1:
            lane.queue.rotate(-1)
        super()._transfer(lane, next_at_ms)


class QueueByPlace(PlaceQueue):
    """Runs entries in the order of their places."""

    def insert(self, place: int, rank: tuple[int, int], rank_of: RankOf) -> int | None:
        same = [one for one in self.first(len(self)) if rank_of(one) == rank]
        for one in same:
            super().remove(one, lambda asked: (0, asked))
        self._highest = (0, 0)
        self._places.append(place)
        return same[0] if same else None

    def remove(self, place: int, rank_of: RankOf) -> None:
        super().remove(place, lambda asked: (0, asked))


def lanes_of(off: frozenset[str]) -> type[ParkedLanes]:
    """The class that breaks the rule."""
    broken: dict[str, type[ParkedLanes]] = {
        "journal_first": NotJournalFirst,
        "follow": NotFollowing,
        "held": NotHeld,
        "chained": NotChained,
    }
    return next((found for rule, found in broken.items() if rule in off), ParkedLanes)


@contextmanager
def broken(off: frozenset[str]) -> Iterator[None]:
    """What cannot be broken by the owner's class."""
    planner = NotFromHead if "from_head" in off else Planner
    queue = QueueByPlace if "by_source" in off else PlaceQueue
    with patch.object(journal_plan, "Planner", planner), patch.object(journal_index, "PlaceQueue", queue):
        yield
