"""From what the core plans to what a transaction takes, and back from what it was refused for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streamq.core.journal_batch import JournalBatch, Letter
from streamq.core.journal_index import lane_of
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


class Whose(NamedTuple):
    """What a record of a transaction is: of which share, and a parked record, a dead letter, or neither."""

    share: Share
    entry: Entry | None = None
    letter: Letter | None = None

    @property
    def lane(self) -> LaneKey | None:
        """The lane that it is of; None for what is of none."""
        ordering = self.share.parked.state.ordering
        if self.letter is not None:
            record = self.letter.record
            return lane_of(record.key, int(record.offset), 0, foreign=False, ordering=ordering)
        if self.entry is None:
            return None
        entry = self.entry
        foreign = entry.topic_id != self.share.parked.index.topic_id
        return lane_of(entry.key, entry.offset, entry.incarnation, foreign=foreign, ordering=ordering)


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction as it is sent, and for each of its records whose it is."""

    shares: Sequence[Share]
    batch: Batch
    whose: Sequence[Whose]

    def places(self, offsets: Sequence[Offset]) -> Iterator[tuple[Share, list[int]]]:
        """For each share where its journal records stand."""
        at = 0
        for share in self.shares:
            count = len(share.batch.records)
            yield share, [int(offset) for offset in offsets[at : at + count]]
            at += count + len(share.batch.letters) + len(share.batch.marks)


def draft(
    shares: Sequence[Share],
    retry_topic: str,
    identity: Identity,
    at_ms: int,
    trims: Callable[[TopicPartition, int], int],
) -> Draft:
    """One transaction of some partitions' shares. `trims` says how far a dead letter is to be trimmed."""
    records: list[OutgoingRecord] = []
    whose: list[Whose] = []
    for share in shares:
        partition = share.parked.state.partition
        for record in share.batch.records:
            payload = encode(record)
            records.append(
                OutgoingRecord(
                    retry_topic, payload.key, payload.value, payload.headers, partition.partition, payload.timestamp_ms
                )
            )
            whose.append(Whose(share, entry=record if isinstance(record, Entry) else None))
        for letter in share.batch.letters:
            given_up = letter.record
            trim = trims(partition, int(given_up.offset))
            records.append(dead_letter(identity, given_up, letter.attempts, letter.dead, at_ms, trim))
            whose.append(Whose(share, letter=letter))
        for mark in share.batch.marks:
            headers = encode_mark(mark)
            records.append(OutgoingRecord(identity.dead_letter_topic, None, None, headers, partition.partition))
            whose.append(Whose(share))
    points = {share.parked.state.partition: share.point for share in shares}
    return Draft(shares, Batch(records, points), whose)


def share_of(parked: ParkedLanes, batch: JournalBatch) -> Share:
    """A planned batch, with the source's offset and map as they are committed."""
    return Share(parked, batch, CommitPoint(NextOffset(batch.offsets.base), encode_map(batch.offsets)))
