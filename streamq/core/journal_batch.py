"""What one transaction says of a partition: journal records, dead letters, marks, and the source's offset and map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from streamq.core.journal_records import Entry, JournalRecord, KeyState
from streamq.core.lanes import Lane, LaneKey
from streamq.core.marks import LetterMark
from streamq.core.offset_map import OffsetMap
from streamq.model.outcomes import Dead
from streamq.model.records import Record


@dataclass(frozen=True, slots=True)
class ParkPolicy:
    """When a lane parks, and the bounds of what the owner holds."""

    park_after_s: float = 5.0
    """A wait longer than this does not stay in place."""
    backlog: int = 100
    """Nor does one with more records in its lane."""
    span: int = 10_000
    """Nor does any, once the offsets from the lowest unsettled one to the last received are so many."""
    few: int = 16
    """A parked key with at most so many entries left keeps new records in its lane: so a busy key gets out."""
    keep: int = 64
    """How many of them."""
    window_records: int = 2_000
    window_bytes: int = 16_000_000
    """Payloads of entries in memory."""
    ahead: int = 8
    """How many entries of a lane are read at once."""
    batch_records: int = 1_000
    batch_bytes: int = 900_000
    """One transaction's share."""
    slack: int = 1_000
    """The journal is shortened when it is longer than twice what is live, and so many places more."""


class Letter(NamedTuple):
    """A dead letter to be written. `dead=None`: the record did not fail, it follows its chained key."""

    record: Record
    attempts: int
    dead: Dead | None


class OpenLetter(NamedTuple):
    """A dead letter that a request takes: where it stands, and the record as it becomes an entry; None if it is purged
    and only gets its mark."""

    letter_offset: int
    entry: Entry | None


class Taken(NamedTuple):
    """The first `records` records of a lane are settled in the source with the batch."""

    lane: Lane
    records: int


@dataclass(frozen=True, slots=True, eq=False)
class JournalBatch:
    """One partition's share of a transaction, all of one moment. Sent unchanged, or not at all.

    `records` are appended to the retry partition in this order; `offsets` is the source's offset and map in which
    everything else of the batch counts as settled. The rest is for whoever made it.
    """

    records: tuple[JournalRecord, ...]
    letters: tuple[Letter, ...]
    marks: tuple[LetterMark, ...]
    offsets: OffsetMap
    size_bytes: int
    taken: tuple[Taken, ...] = ()
    gone: tuple[int, ...] = ()
    """Places that it settles and that were live when it was made."""
    written: int = 0
    """How many of the settlements that waited to be written are in it: the first ones."""
    given_up: tuple[LaneKey, ...] = ()
    """The lanes whose heads are dead letters in it."""
    moved: tuple[LaneKey, ...] = ()
    """The lanes of which entries are appended anew: nothing of them starts meanwhile."""
    redriven: tuple[tuple[bytes, int], ...] = ()
    """By request: how many of its letters are in it."""
    finished: tuple[bytes, ...] = ()
    """The requests of which it is the last."""
    held: tuple[bytes, ...] = ()
    """The keys that requests hold from it on."""

    @property
    def keys(self) -> frozenset[LaneKey]:
        """The lanes of which something moves."""
        states = [record.key for record in self.records if isinstance(record, KeyState)]
        return frozenset((*self.moved, *self.given_up, *states, *(taken.lane.key for taken in self.taken)))
