"""The places of one lane's entries, in the order in which they run."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from streamq.model.errors import InvariantError

_FEW: Final = 64  # settled places at the front that are not worth moving the rest for

RankOf = Callable[[int], tuple[int, int]]


class PlaceQueue:
    """Places ordered by the rank of what stands there. Eight bytes each; new ones mostly come last, and go first."""

    __slots__ = ("_highest", "_places", "_start")

    def __init__(self, place: int, rank: tuple[int, int]) -> None:
        self._highest = rank  # no rank is above it: a new one that is comes last, without a search
        self._places = array("q", (place,))
        self._start = 0

    def __len__(self) -> int:
        return len(self._places) - self._start

    @property
    def head(self) -> int:
        """The place whose turn is next."""
        return self._places[self._start]

    def first(self, most: int) -> list[int]:
        """The first places, in order."""
        return self._places[self._start : self._start + max(0, most)].tolist()

    def insert(self, place: int, rank: tuple[int, int], rank_of: RankOf) -> int | None:
        """Add a place. Returns the one that it replaces because it has the same rank, or None."""
        if rank > self._highest:
            self._highest = rank
            self._places.append(place)
            return None
        at = bisect_left(self._places, rank, self._start, key=rank_of)
        if at < len(self._places) and rank_of(old := self._places[at]) == rank:
            self._places[at] = place
            return old
        self._places.insert(at, place)
        return None

    def remove(self, place: int, rank_of: RankOf) -> None:
        """Take a place out.

        Raises:
            InvariantError: it is not there.
        """
        if place == self.head:
            self._start += 1
            if self._start > _FEW and 2 * self._start > len(self._places):
                del self._places[: self._start]
                self._start = 0
            return
        at = bisect_left(self._places, rank_of(place), self._start, key=rank_of)
        if at == len(self._places) or self._places[at] != place:
            raise InvariantError(f"place {place} of the journal is not in its lane")
        del self._places[at]
