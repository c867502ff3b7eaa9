"""Which offset of one partition may be committed, and the map that goes with it.

Why track only received offsets, and not every number between the first and the last? Because Kafka leaves numbers out:
compaction, aborted transactions and transaction markers. A hole is never received, so it never holds the commit up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from streamq.core.offset_map import JournalMark, OffsetMap, admits
from streamq.model.errors import InvariantError
from streamq.model.records import NextOffset, Offset

_FEW: Final = 1_000  # settled offsets that are not worth a pass over them all


class OffsetTracker:
    """The received and the settled offsets of one partition since it was assigned.

    `base` is where reading starts (the committed offset). `restored` is the map that stood beside it: what it calls
    settled is not received again.
    """

    __slots__ = ("_expected", "_high", "_order", "_position", "_restored_end", "_unsettled")

    def __init__(self, base: NextOffset, restored: OffsetMap | None = None) -> None:
        known = restored if restored is not None and restored.base == base and restored.end > base else None
        expected = known.unsettled if known is not None else ()
        self._restored_end: int = known.end if known is not None else base
        self._expected: deque[int] = deque(expected)  # unsettled by the map, not received yet
        self._order: deque[int] = deque(expected)  # ascending; settled ones are dropped from the left when asked
        self._unsettled: set[int] = set(expected)
        self._high: int = self._restored_end  # one above the highest settled offset
        self._position: int = self._restored_end  # everything below was received, is settled, or is a hole

    def register(self, offset: Offset) -> bool:
        """Note that a record was received; offsets come in ascending order. False if it is settled already: it must not
        run again."""
        if offset < self._restored_end or self._expected:
            self._pass_by(offset)
            if self._expected and self._expected[0] == offset:
                self._expected.popleft()
            if offset < self._restored_end:
                return offset in self._unsettled
        self._order.append(offset)
        self._unsettled.add(offset)
        self._position = offset + 1
        return True

    def register_all(self, offsets: Sequence[Offset]) -> bool:
        """`register` for many at once, ascending. False, and nothing is noted, while the restored map has a say."""
        if self._expected or offsets[0] < self._restored_end:
            return False
        self._order.extend(offsets)
        self._unsettled.update(offsets)
        self._position = offsets[-1] + 1
        return True

    def _pass_by(self, offset: int) -> None:
        """Offsets below `offset` that the map expects and that were not received are gone: holes by now."""
        expected = self._expected
        while expected and expected[0] < offset:
            self._unsettled.discard(expected.popleft())

    def reach(self, next_offset: NextOffset) -> None:
        """Note that everything below `next_offset` was received or is a hole (the partition's end)."""
        self._pass_by(next_offset)
        self._position = max(self._position, next_offset)

    def settle(self, offset: Offset) -> None:
        """Note that a received record is settled.

        Raises:
            InvariantError: it was not received, or is settled already.
        """
        if offset not in self._unsettled:
            raise InvariantError(f"offset {offset} is settled, but it is not unsettled")
        self._unsettled.remove(offset)
        if offset >= self._high:
            self._high = offset + 1

    def settle_all(self, offsets: Sequence[Offset]) -> None:
        """`settle` for many at once, ascending.

        Raises:
            InvariantError: one was not received, or is settled already.
        """
        unsettled = self._unsettled
        left = len(unsettled) - len(offsets)
        unsettled.difference_update(offsets)
        if len(unsettled) != left:
            raise InvariantError(f"offsets {offsets} are settled, but not all of them are unsettled")
        if offsets[-1] >= self._high:
            self._high = offsets[-1] + 1

    def admits(self, offset: Offset) -> bool:
        """Whether the map still fits if the record at `offset`, the next one received, is worked on now.

        What the restored map names is in it already. Above it, whatever the map expects and nobody received is gone by
        now: counted as unsettled, it would hold the record for ever, since nothing of it can be settled.
        """
        if offset < self._restored_end:
            return True
        self._pass_by(offset)
        unsettled = self._unsettled
        return not unsettled or admits(self.next_offset, offset, len(unsettled))

    @property
    def unsettled(self) -> int:
        """How many offsets are unsettled, those that the map expects included."""
        return len(self._unsettled)

    @property
    def next_offset(self) -> NextOffset:
        """The lowest offset that is not safe to skip: what may be committed."""
        order, unsettled = self._order, self._unsettled
        while order and order[0] not in unsettled:
            order.popleft()
        return NextOffset(order[0] if order else self._position)

    def _forget_settled(self) -> None:
        """Drop what is settled above the lowest unsettled offset, once it is the larger part: behind a record that
        waits, a million may go by."""
        order, unsettled = self._order, self._unsettled
        if len(order) > 2 * len(unsettled) + _FEW:
            self._order = deque(offset for offset in order if offset in unsettled)

    def snapshot(
        self,
        attempts: Mapping[int, int],
        *,
        process: bytes,
        clean: bool = False,
        start_bound: int | None = None,
        alone: int | None = None,
        journal: JournalMark | None = None,
        settled_with_it: Collection[int] = (),
    ) -> OffsetMap:
        """The committable offset (`base`) and the map, of this one moment. `settled_with_it` holds received offsets
        that the same transaction settles: the map calls them settled, the tracker does not."""
        self._forget_settled()
        base, high, unsettled = int(self.next_offset), self._high, self._unsettled
        if settled_with_it:
            unsettled = unsettled.difference(settled_with_it)
            high = max(high, max(settled_with_it) + 1)
            base = next((offset for offset in self._order if offset in unsettled), self._position)
        below: list[int] = []
        for offset in self._order:
            if offset >= high:
                break
            if offset in unsettled:
                below.append(offset)
        end = high if below else base
        return OffsetMap(base, end, below, attempts, start_bound, alone, clean, process, journal)
