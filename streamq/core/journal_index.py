"""The live entries of one journal partition: which records are parked, in which order they run, and when.

Payloads stay in Kafka. What is kept of an entry is a row of numbers, some 30 bytes: its place in the journal, its
source offset, its key. A million entries over 10,000 keys take 33 MB, a million without a key 137, a million keys 226.

Why by source offset and not by place? Because the owner appends live entries anew to free the journal's beginning, and
because a redriven record comes back behind younger ones of its key.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from streamq.core.journal_queue import PlaceQueue
from streamq.core.journal_records import Entry, Wait
from streamq.core.lanes import WHOLE_PARTITION, LaneKey, Ordering
from streamq.model.errors import InvariantError

_DEAD: Final = -1
_NO_KEY: Final = -2
_FEW: Final = 1_000  # dead rows that are not worth a pass over them all

Rank = tuple[int, int]
"""By what entries of a key are ordered: the incarnation of the source topic, then the source offset."""


class ParkedEntry(NamedTuple):
    """What the index knows of an entry."""

    place: int
    lane: LaneKey
    incarnation: int
    offset: int
    attempts: int
    next_at_ms: int


def lane_of(key: bytes | None, offset: int, incarnation: int, *, foreign: bool, ordering: Ordering = "key") -> LaneKey:
    """The lane of an entry. A record without a key is a lane of its own; one of a former topic must not meet the lane
    of a source record that has its offset by chance."""
    if ordering == "partition":
        return WHOLE_PARTITION
    if key is not None and ordering == "key":
        return key
    return -(2 + (offset << 16 | incarnation)) if foreign else offset


class JournalIndex:
    """Belongs to the owner thread. `topic_id` is the source topic's: what was parked of another one is `foreign`."""

    def __init__(self, topic_id: bytes, ordering: Ordering = "key") -> None:
        self.topic_id = topic_id
        self.ordering = ordering
        self.live = 0
        self._places = array("q")  # ascending; the other columns go with it
        self._offsets = array("q")
        self._incarnations = array("H")
        self._key_ids = array("i")
        self._first = 0  # no row before it is live
        self._keys: list[bytes] = []
        self._ids: dict[bytes, int] = {}
        self._one: dict[LaneKey, int] = {}  # lanes of a single entry: most of them, where keys are many
        self._many: dict[LaneKey, PlaceQueue] = {}
        self._waits: dict[int, tuple[int, int]] = {}
        self._ready: deque[LaneKey] = deque()
        self._timed: dict[LaneKey, int] = {}
        self._heap: list[tuple[int, int, LaneKey]] = []
        self._sequence = 0
        self._out: set[LaneKey] = set()
        self._own: int | None = None
        self._newest = -1

    # What is known

    @property
    def incarnation(self) -> int:
        """The number of the source topic as it is now, for entries to come."""
        return self._newest + 1 if self._own is None else self._own

    def know(self, place: int, entry: Entry) -> int | None:
        """An entry stands at `place`; places come ascending. Returns the place where the same record stood before,
        which is dead now, or None.

        Raises:
            InvariantError: a place at or below one that is known.
        """
        if self._places and place <= self._places[-1]:
            raise InvariantError(f"place {place} of the journal comes after place {self._places[-1]}")
        foreign = entry.topic_id != self.topic_id
        self._newest = max(self._newest, entry.incarnation)
        if not foreign:
            self._own = entry.incarnation
        lane = lane_of(entry.key, entry.offset, entry.incarnation, foreign=foreign, ordering=self.ordering)
        self._places.append(place)
        self._offsets.append(entry.offset)
        self._incarnations.append(entry.incarnation)
        self._key_ids.append(self._key_id(lane) if isinstance(lane, bytes) else _NO_KEY)
        if entry.attempts > 1 or entry.next_at_ms:
            self._waits[place] = (entry.attempts, entry.next_at_ms)
        self.live += 1
        old = self._insert(lane, place, (entry.incarnation, entry.offset))
        if old is not None:
            self._bury(self._row(old), old)
        if self.head(lane) == place and lane not in self._out:
            self._enqueue(lane)
        return old

    def _key_id(self, key: bytes) -> int:
        known = self._ids.get(key)
        if known is None:
            known = self._ids[key] = len(self._keys)
            self._keys.append(key)
        return known

    def _insert(self, lane: LaneKey, place: int, rank: Rank) -> int | None:
        queue = self._many.get(lane)
        if queue is None:
            other = self._one.get(lane)
            if other is None or self._rank(other) == rank:
                self._one[lane] = place
                return other
            del self._one[lane]
            queue = self._many[lane] = PlaceQueue(other, self._rank(other))
        return queue.insert(place, rank, self._rank)

    def settle(self, place: int) -> LaneKey | None:
        """The entry at `place` is done with. Returns its lane, None if there is no live entry."""
        row = self._row(place)
        if row is None or self._key_ids[row] == _DEAD:
            return None
        lane = self._lane(row)
        was_head = self.head(lane) == place
        queue = self._many.get(lane)
        if queue is None:
            del self._one[lane]
        else:
            queue.remove(place, self._rank)
            if len(queue) == 1:
                self._one[lane] = queue.head
                del self._many[lane]
        self._bury(row, place)
        if was_head and lane in self and lane not in self._out:
            self._enqueue(lane)
        return lane

    def _bury(self, row: int | None, place: int) -> None:
        if row is None:
            raise InvariantError(f"place {place} of the journal is not known")
        self._key_ids[row] = _DEAD
        self._waits.pop(place, None)
        self.live -= 1
        while self._first < len(self._places) and self._key_ids[self._first] == _DEAD:
            self._first += 1
        if len(self._places) > 2 * self.live + _FEW:
            self._forget_dead()

    def _forget_dead(self) -> None:
        rows = [row for row, key_id in enumerate(self._key_ids) if key_id != _DEAD]
        last = self._places[-1]
        ids: dict[int, int] = {}
        keys: list[bytes] = []
        for row in rows:
            old = self._key_ids[row]
            if old >= 0 and old not in ids:
                ids[old] = len(keys)
                keys.append(self._keys[old])
        self._key_ids = array("i", [ids.get(self._key_ids[row], _NO_KEY) for row in rows])
        self._places = array("q", [self._places[row] for row in rows])
        self._offsets = array("q", [self._offsets[row] for row in rows])
        self._incarnations = array("H", [self._incarnations[row] for row in rows])
        self._keys, self._ids, self._first = keys, {key: at for at, key in enumerate(keys)}, 0
        if not rows or self._places[-1] != last:
            self._append_dead(last)  # places still come above the last that was known

    def _append_dead(self, place: int) -> None:
        self._places.append(place)
        self._offsets.append(0)
        self._incarnations.append(0)
        self._key_ids.append(_DEAD)

    def wait(self, wait: Wait) -> None:
        """New attempts and time of the entry at a place; nothing if it is no longer live."""
        row = self._row(wait.place)
        if row is None or self._key_ids[row] == _DEAD:
            return
        self._waits[wait.place] = (wait.attempts, wait.next_at_ms)
        lane = self._lane(row)
        if lane not in self._out and self.head(lane) == wait.place:
            self._enqueue(lane)

    # Questions

    def __contains__(self, lane: LaneKey) -> bool:
        return lane in self._one or lane in self._many

    def count(self, lane: LaneKey) -> int:
        """How many live entries a lane has."""
        queue = self._many.get(lane)
        return int(lane in self._one) if queue is None else len(queue)

    def lanes(self) -> Iterator[LaneKey]:
        """All lanes with live entries."""
        yield from self._one
        yield from self._many

    @property
    def lane_count(self) -> int:
        """How many lanes have live entries."""
        return len(self._one) + len(self._many)

    def head(self, lane: LaneKey) -> int | None:
        """Where the entry stands that runs next; None without one."""
        queue = self._many.get(lane)
        return self._one.get(lane) if queue is None else queue.head

    def first(self, lane: LaneKey, most: int) -> list[int]:
        """The places of a lane's first entries, in the order in which they run."""
        queue = self._many.get(lane)
        if queue is not None:
            return queue.first(most)
        head = self._one.get(lane)
        return [] if head is None or most < 1 else [head]

    def entry(self, place: int) -> ParkedEntry | None:
        """What is known of the live entry at a place."""
        row = self._row(place)
        if row is None or self._key_ids[row] == _DEAD:
            return None
        attempts, next_at_ms = self._waits.get(place, (1, 0))
        return ParkedEntry(place, self._lane(row), self._incarnations[row], self._offsets[row], attempts, next_at_ms)

    def oldest(self, most: int) -> list[int]:
        """The lowest live places, ascending. Below the first of them the journal is not needed any more."""
        found: list[int] = []
        for row in range(self._first, len(self._places)):
            if len(found) >= most:
                break
            if self._key_ids[row] != _DEAD:
                found.append(self._places[row])
        return found

    def _row(self, place: int) -> int | None:
        row = bisect_left(self._places, place)
        return row if row < len(self._places) and self._places[row] == place else None

    def _rank(self, place: int) -> Rank:
        row = bisect_left(self._places, place)
        return self._incarnations[row], self._offsets[row]

    def _lane(self, row: int) -> LaneKey:
        key_id = self._key_ids[row]
        key = None if key_id == _NO_KEY else self._keys[key_id]
        incarnation = self._incarnations[row]
        foreign = incarnation != self._own
        return lane_of(key, self._offsets[row], incarnation, foreign=foreign, ordering=self.ordering)

    # Turns. A lane is queued, or waits for its time, or is out: then its head is not due until `put_back`.

    def due(self, now_ms: int, most: int) -> list[LaneKey]:
        """Lanes whose heads are due, each once: they are out now."""
        while self._heap and self._heap[0][0] <= now_ms:
            _, sequence, lane = heappop(self._heap)
            if self._timed.get(lane) == sequence:
                del self._timed[lane]
                self._ready.append(lane)
        found: list[LaneKey] = []
        while self._ready and len(found) < most:
            lane = self._ready.popleft()
            head = self.head(lane)
            if head is None or lane in self._out:
                continue
            if self._waits.get(head, (1, 0))[1] > now_ms:
                self._enqueue(lane)
                continue
            self._out.add(lane)
            found.append(lane)
        return found

    def next_due_ms(self) -> int | None:
        """When the next lane may be due: 0 for at once, None if none waits."""
        if self._ready:
            return 0
        while self._heap and self._timed.get(self._heap[0][2]) != self._heap[0][1]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_out(self, lane: LaneKey) -> None:
        """The lane's entries are not to run, whether it has any or not, until `put_back`."""
        self._out.add(lane)

    def put_back(self, lane: LaneKey) -> None:
        """The lane's head may be due (again). Idempotent."""
        if lane in self._out:
            self._out.discard(lane)
            if self.head(lane) is not None:
                self._enqueue(lane)

    def put_all_back(self, lanes: Iterable[LaneKey]) -> None:
        """`put_back` for many."""
        for lane in lanes:
            self.put_back(lane)

    def _enqueue(self, lane: LaneKey) -> None:
        head = self.head(lane)
        next_at_ms = 0 if head is None else self._waits.get(head, (1, 0))[1]
        if next_at_ms <= 0:
            self._timed.pop(lane, None)
            self._ready.append(lane)
            return
        self._sequence += 1
        self._timed[lane] = self._sequence
        heappush(self._heap, (next_at_ms, self._sequence, lane))
