"""One partition's log: records by offset, and what lies between them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from streamq.model.ports import Isolation
from streamq.model.records import NextOffset, Offset, Record


class Read(NamedTuple):
    """What a read gave, and where the next one begins."""

    records: Sequence[Record]
    next_offset: NextOffset


class PartitionLog:
    """Offsets from `start` up to `end`. Not every one of them holds a record: transaction markers and what compaction
    took leave holes, which a reader passes without noticing. Under the cluster's lock."""

    def __init__(self) -> None:
        self.start = NextOffset(0)
        self.end = NextOffset(0)
        self._offsets: list[int] = []
        self._records: list[Record] = []
        self._aborted: set[int] = set()
        self._open: dict[int, list[Offset]] = {}

    def append(self, record: Record, *, aborted: bool = False, transaction: int | None = None) -> None:
        """Add a record, whose offset is the log's end. An aborted one, and one of an open transaction, is seen by
        `read_uncommitted` only."""
        self._offsets.append(record.offset)
        self._records.append(record)
        if aborted:
            self._aborted.add(record.offset)
        if transaction is not None:
            self._open.setdefault(transaction, []).append(record.offset)
        self.end = NextOffset(self.end + 1)

    def decide(self, transaction: int, *, commit: bool) -> None:
        """Write the marker that ends a transaction. It takes an offset."""
        written = self._open.pop(transaction, [])
        if not commit:
            self._aborted.update(written)
        self.skip(1)

    @property
    def stable_end(self) -> NextOffset:
        """Below it everything is decided: where the first open transaction begins (the last stable offset)."""
        first = min((written[0] for written in self._open.values()), default=self.end)
        return NextOffset(max(first, self.start))

    def end_for(self, isolation: Isolation) -> NextOffset:
        """How far a reader gets."""
        return self.stable_end if isolation == "read_committed" else self.end

    def skip(self, count: int) -> None:
        """Add `count` offsets that hold no record."""
        self.end = NextOffset(self.end + count)

    def delete_before(self, offset: int) -> None:
        """Retention or DeleteRecords: the log starts here now."""
        self.start = NextOffset(max(self.start, min(offset, self.end)))
        gone = bisect_left(self._offsets, self.start)
        del self._offsets[:gone]
        del self._records[:gone]

    def compact(self) -> None:
        """Keep only the last record of each key, and no tombstone, of what is decided: what goes leaves a hole."""
        stable_end = self.stable_end
        last = {record.key: record.offset for record in self.records}
        kept = [
            record
            for record in self._records
            if record.offset >= stable_end or (last.get(record.key) == record.offset and record.value is not None)
        ]
        self._records = kept
        self._offsets = [record.offset for record in kept]

    def holds(self, offset: int) -> bool:
        """Whether a reader may stand here."""
        return self.start <= offset <= self.end

    def read(self, start: int, most: int, isolation: Isolation) -> Read:
        """At most `most` records from `start` on. With nothing more to come, the next offset is the end."""
        end = self.end_for(isolation)
        first = bisect_left(self._offsets, start)
        behind = max(first, bisect_left(self._offsets, end))
        found = self._records[first : min(first + most, behind)]
        next_offset = NextOffset(max(end, start)) if first + most >= behind else NextOffset(found[-1].offset + 1)
        if isolation == "read_committed" and self._aborted:
            found = [record for record in found if record.offset not in self._aborted]
        return Read(found, next_offset)

    def first_at(self, timestamp_ms: int) -> NextOffset:
        """The first record at or after a time; the end if there is none."""
        for record in self._records:
            if record.timestamp_ms >= timestamp_ms:
                return NextOffset(record.offset)
        return self.end

    @property
    def decided(self) -> Sequence[Record]:
        """What is committed, also where a reader does not get yet because an open transaction stands before it."""
        undecided = self._aborted.union(*self._open.values())
        return [record for record in self._records if record.offset not in undecided]

    @property
    def records(self) -> Sequence[Record]:
        """What a consumer would read."""
        end = self.stable_end
        return [record for record in self._records if record.offset < end and record.offset not in self._aborted]

    def next_record_offset(self) -> Offset:
        """The offset that the next record gets."""
        return Offset(self.end)
