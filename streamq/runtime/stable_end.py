"""How far a partition can be read so that nothing below is undecided any more."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final, NamedTuple

from streamq.model.ports import AdminPort
from streamq.model.records import Earliest, Latest, NextOffset, TopicPartition

Ends = Mapping[TopicPartition, NextOffset]
ASK_AGAIN_S: Final = 0.02


class Range(NamedTuple):
    """A partition begins at `start`, and all below `end` is decided."""

    start: int
    end: int


class StableEnd:
    """Asks for a partition's high watermark, and then for its stable end until that is no less: what was committed
    before this began stands below it. (A commit returns before every reader sees it.) Owner thread only; blocks
    nothing."""

    def __init__(self, admin: AdminPort, place: TopicPartition) -> None:
        self._admin = admin
        self._place = place
        self._start = admin.list_offsets({place: Earliest()})
        self._written = admin.list_offsets({place: Latest()}, "read_uncommitted")
        self._stable: Future[Ends] | None = None
        self._ask_at = 0.0

    def take(self, now: float) -> Range | None:
        """The answer; None as long as there is none.

        Raises:
            BrokerError: it cannot be asked: begin anew.
        """
        if not (self._start.done() and self._written.done()):
            return None
        if self._stable is None:
            if now >= self._ask_at:
                self._stable = self._admin.list_offsets({self._place: Latest()})
            return None
        if not self._stable.done():
            return None
        end = self._stable.result()[self._place]
        if end < self._written.result()[self._place]:
            self._stable, self._ask_at = None, now + ASK_AGAIN_S
            return None
        return Range(self._start.result()[self._place], end)
