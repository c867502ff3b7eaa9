"""The payloads of entries that are in memory: what was asked for, and what came by and may be of use."""

from __future__ import annotations

from collections.abc import Container

from streamq.core.journal_records import Entry


def size_of(entry: Entry) -> int:
    """Bytes of a parked record, its headers included."""
    size_bytes = len(entry.key or b"") + len(entry.value or b"")
    for name, value in entry.headers:
        size_bytes += len(name) + len(value or b"")
    return size_bytes


class PayloadWindow:
    """Bounded by records and bytes. What was asked for is kept in any case: whoever asks keeps to `room`."""

    __slots__ = ("_held", "_most_bytes", "_most_records", "_size_bytes", "_wanted")

    def __init__(self, most_records: int, most_bytes: int) -> None:
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._held: dict[int, Entry] = {}
        self._wanted: set[int] = set()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def room(self) -> int:
        """How many more may be asked for."""
        if self._size_bytes >= self._most_bytes:
            return 0
        return max(0, self._most_records - len(self._held) - len(self._wanted))

    def get(self, place: int) -> Entry | None:
        """The payload at a place; None if it is not here."""
        return self._held.get(place)

    def want(self, place: int) -> None:
        """Ask for what is not here."""
        if place not in self._held:
            self._wanted.add(place)

    def wanted(self) -> list[int]:
        """What was asked for and has not come, ascending."""
        return sorted(self._wanted)

    def offer(self, place: int, entry: Entry, *, keep: bool = False) -> bool:
        """A payload has come by. It is kept if it was asked for, if `keep` says so, or if there is room."""
        if place in self._held:
            return True
        asked = place in self._wanted
        if not (asked or keep or self.room):
            return False
        self._wanted.discard(place)
        self._held[place] = entry
        self._size_bytes += size_of(entry)
        return True

    def forget(self, place: int) -> None:
        """It is not needed any more."""
        self._wanted.discard(place)
        entry = self._held.pop(place, None)
        if entry is not None:
            self._size_bytes -= size_of(entry)

    def make_room(self, needed: Container[int]) -> None:
        """Give up what is not `needed`, the oldest first, until there is room for one more."""
        for place in [place for place in self._held if place not in needed]:
            if self.room:
                return
            self.forget(place)
