"""From what the core plans to what a transaction takes, and back from what it was refused for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streamq.core.journal_batch import JournalBatch
from streamq.core.journal_records import Entry, encode
from streamq.core.lanes import LaneKey
from streamq.core.marks import encode_mark
from streamq.core.offset_map import encode_map
from streamq.core.parking import ParkedLanes
from streamq.model.records import CommitPoint, NextOffset, Offset, OutgoingRecord, TopicPartition
from streamq.model.transactions import Batch
from streamq.runtime.letters import Identity, dead_letter


class Share(NamedTuple):
    """One partition's part of a transaction."""

    parked: ParkedLanes
    batch: JournalBatch
    point: CommitPoint


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction as it is sent, and which record of it is whose."""

    shares: Sequence[Share]
    batch: Batch
    whose: Sequence[tuple[Share, LaneKey | None, bool]]
    """For each record: the share, the lane that it is of, and whether it is a dead letter."""

    def places(self, offsets: Sequence[Offset]) -> Iterator[tuple[Share, list[int]]]:
        """For each share where its journal records stand."""
        at = 0
        for share in self.shares:
            count = len(share.batch.records)
            yield share, [int(offset) for offset in offsets[at : at + count]]
            at += count + len(share.batch.letters) + len(share.batch.marks)

    def entry(self, record: int) -> Entry | None:
        """The parked record that stands at a number of the batch; None if something else does."""
        for share in self.shares:
            count = len(share.batch.records)
            if record < count:
                found = share.batch.records[record]
                return found if isinstance(found, Entry) else None
            record -= count + len(share.batch.letters) + len(share.batch.marks)
            if record < 0:
                return None
        return None


def draft(
    shares: Sequence[Share],
    retry_topic: str,
    identity: Identity,
    at_ms: int,
    trims: Callable[[TopicPartition, int], int],
) -> Draft:
    """One transaction of some partitions' shares. `trims` says how far a dead letter is to be trimmed."""
    records: list[OutgoingRecord] = []
    whose: list[tuple[Share, LaneKey | None, bool]] = []
    for share in shares:
        partition = share.parked.state.partition
        for record in share.batch.records:
            payload = encode(record)
            records.append(
                OutgoingRecord(
                    retry_topic, payload.key, payload.value, payload.headers, partition.partition, payload.timestamp_ms
                )
            )
            whose.append((share, record.key if isinstance(record, Entry) else None, False))
        for letter in share.batch.letters:
            given_up = letter.record
            trim = trims(partition, int(given_up.offset))
            records.append(dead_letter(identity, given_up, letter.attempts, letter.dead, at_ms, trim))
            whose.append((share, given_up.key, True))
        for mark in share.batch.marks:
            headers = encode_mark(mark)
            records.append(OutgoingRecord(identity.dead_letter_topic, None, None, headers, partition.partition))
            whose.append((share, None, False))
    points = {share.parked.state.partition: share.point for share in shares}
    return Draft(shares, Batch(records, points), whose)


def share_of(parked: ParkedLanes, batch: JournalBatch) -> Share:
    """A planned batch, with the source's offset and map as they are committed."""
    return Share(parked, batch, CommitPoint(NextOffset(batch.offsets.base), encode_map(batch.offsets)))
