"""The payloads of entries that are in memory: what is needed now, and what may be needed soon."""

from __future__ import annotations

from streamq.core.journal_records import Entry
from streamq.model.records import Record


def size_of(entry: Entry | Record) -> int:
    """Bytes of a parked record, its headers included."""
    size_bytes = len(entry.key or b"") + len(entry.value or b"")
    for name, value in entry.headers:
        size_bytes += len(name) + len(value or b"")
    return size_bytes


class PayloadWindow:
    """Bounded by records and bytes. What is spare makes way, the oldest first; what is needed is kept in any case, and
    whoever needs more keeps to `room`."""

    __slots__ = ("_most_bytes", "_most_records", "_needed", "_needed_bytes", "_spare", "_spare_bytes", "_wanted")

    def __init__(self, most_records: int, most_bytes: int) -> None:
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._needed: dict[int, Entry] = {}
        self._needed_bytes = 0
        self._spare: dict[int, Entry] = {}
        self._spare_bytes = 0
        self._wanted: set[int] = set()

    def __len__(self) -> int:
        return len(self._needed) + len(self._spare)

    @property
    def room(self) -> int:
        """How many more may be asked for."""
        if self._needed_bytes >= self._most_bytes:
            return 0
        return max(0, self._most_records - len(self._needed) - len(self._wanted))

    def get(self, place: int) -> Entry | None:
        """The payload at a place; None if it is not here."""
        return self._spare.get(place) or self._needed.get(place)

    def want(self, place: int) -> None:
        """Ask for what is not here, as long as there is room."""
        if place not in self._spare and place not in self._needed and self.room:
            self._wanted.add(place)

    def demand(self, place: int) -> Entry | None:
        """The payload at a place, needed from here on; None if it has to come first: it is asked for in any case."""
        entry = self._spare.pop(place, None)
        if entry is None:
            entry = self._needed.get(place)
            if entry is None:
                self._wanted.add(place)
            return entry
        self._spare_bytes -= size_of(entry)
        self._put_needed(place, entry)
        return entry

    def wanted(self) -> list[int]:
        """What was asked for and has not come, ascending."""
        return sorted(self._wanted)

    def offer(self, place: int, entry: Entry, *, needed: bool) -> None:
        """A payload has come by. It is kept if it is needed, if it was asked for, or if there is space."""
        asked = place in self._wanted
        self._wanted.discard(place)
        if place in self._needed:
            return
        if needed:
            self._drop_spare(place)
            self._put_needed(place, entry)
        elif place not in self._spare and (asked or not self._full(entry)):
            self._spare[place] = entry
            self._spare_bytes += size_of(entry)
            self._make_way()

    def release(self, place: int) -> None:
        """It is not needed now, and may be soon."""
        entry = self._needed.pop(place, None)
        if entry is not None:
            self._needed_bytes -= size_of(entry)
            self.offer(place, entry, needed=False)

    def forget(self, place: int) -> None:
        """It is not needed any more."""
        self._wanted.discard(place)
        self._drop_spare(place)
        entry = self._needed.pop(place, None)
        if entry is not None:
            self._needed_bytes -= size_of(entry)

    def _put_needed(self, place: int, entry: Entry) -> None:
        self._needed[place] = entry
        self._needed_bytes += size_of(entry)
        self._make_way()

    def _drop_spare(self, place: int) -> None:
        entry = self._spare.pop(place, None)
        if entry is not None:
            self._spare_bytes -= size_of(entry)

    def _full(self, entry: Entry) -> bool:
        held_bytes = self._needed_bytes + self._spare_bytes + size_of(entry)
        return len(self) >= self._most_records or held_bytes > self._most_bytes

    def _make_way(self) -> None:
        while self._spare and (
            len(self) > self._most_records or self._needed_bytes + self._spare_bytes > self._most_bytes
        ):
            self._drop_spare(next(iter(self._spare)))
