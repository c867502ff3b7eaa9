"""What outlives an owner: source, journal and dead letters of some partitions, committed maps, and the effects.

The broker is modelled by what it promises: a transaction takes effect wholly or not at all, offsets are refused from a
generation that is over, what was sent before that may still take effect later.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from streamq.core.journal_batch import JournalBatch
from streamq.core.journal_records import Entry, JournalPayload, JournalRecord, Request, Settled, decode, encode
from streamq.core.offset_map import OffsetMap, decode_map, encode_map
from streamq.model.records import Offset, Record

T = TypeVar("T")
SOURCE_ID, JOURNAL_ID = b"s" * 16, b"j" * 16


class Violation(Exception):
    """A promise is broken."""


class StoredLetter(NamedTuple):
    """A dead letter: the record that was given up, or that followed its chained key."""

    record: Record
    followed: bool


class StoredMark(NamedTuple):
    """Says that the letter at an offset is no longer open."""

    letter_offset: int
    purged: bool


def parked_again(record: Record) -> Entry:
    """A dead letter's record on its way back."""
    return Entry(record.key, record.value, record.headers, record.timestamp_ms, SOURCE_ID, 0, record.offset)


@dataclass
class Partition:
    """One source partition with its journal and its dead letters."""

    number: int
    source: list[Record]
    journal: list[JournalPayload | None] = field(default_factory=list)  # None: a marker, or deleted
    journal_start: int = 0
    letters: list[StoredLetter | StoredMark] = field(default_factory=list)
    committed: str = ""
    takeovers: int = 0
    live: dict[int, int] = field(default_factory=dict)  # place and source offset of unsettled entries
    settled: set[int] = field(default_factory=set)  # offsets that are done with, as far as the broker knows, for good
    # What a reader of the effects sees
    dead: set[int] = field(default_factory=set)
    done: dict[int, int] = field(default_factory=dict)  # the last success of each offset
    successes: dict[int, int] = field(default_factory=dict)
    redrives: dict[int, int] = field(default_factory=dict)
    purged: set[int] = field(default_factory=set)  # their letters are closed for good

    @property
    def map(self) -> OffsetMap:
        """The committed offset and map."""
        return decode_map(self.committed) or OffsetMap(0, 0)

    def note_settled(self) -> None:
        """What the broker calls settled now never runs again."""
        offsets = self.map
        unsettled = {*offsets.unsettled, *self.live.values()}
        end = max(offsets.base, offsets.end)
        self.settled.update(one.offset for one in self.source if one.offset < end and one.offset not in unsettled)

    def lane(self, offset: int) -> list[Record]:
        """The records that share a lane with this one."""
        mine = self.source[offset]
        return [mine] if mine.key is None else [one for one in self.source if one.key == mine.key]

    def read(self, place: int) -> JournalRecord | None:
        """The journal record at a place; None for a marker."""
        stored = self.journal[place]
        if stored is None:
            if place < self.journal_start:
                raise Violation(f"deleted: {place} is read and was deleted")
            return None
        return decode(stored.key, stored.value, stored.headers, stored.timestamp_ms or 0)

    @property
    def marked(self) -> set[int]:
        """The letters that are no longer open."""
        return {one.letter_offset for one in self.letters if isinstance(one, StoredMark)}

    def open_letters(self, key: bytes | None, end: int) -> list[tuple[int, Record]]:
        """Letters of a key without a mark, below an end, by source offset."""
        marked = self.marked
        found: list[tuple[int, Record]] = []
        for at, one in enumerate(self.letters[:end]):
            if isinstance(one, StoredLetter) and at not in marked and one.record.key == key:
                found.append((at, one.record))
        return sorted(found, key=lambda letter: letter[1].offset)


@dataclass(eq=False)
class Transaction:
    """Of one owner, over some partitions. `outcome` is None while it is undecided."""

    parts: list[tuple[Partition, JournalBatch]]
    generation: int
    sent: bool = False
    outcome: bool | None = None
    places: dict[int, list[int]] = field(default_factory=dict)


@dataclass(eq=False)
class PlainCommit:
    """Of one partition, on its way."""

    partition: Partition
    metadata: str
    generation: int
    answer: bool | None = None


class Chance(random.Random):
    """Chooses often: `choice` asks for random bits until they fit, this asks once."""

    def pick(self, options: Sequence[T]) -> T:
        """One of these."""
        return options[int(self.random() * len(options))]


class World:
    """Partitions, the group's generation, and what is on its way to the broker. `off` names rules that do not hold."""

    def __init__(self, seed: int, off: frozenset[str]) -> None:
        self.rnd = rnd = Chance(seed)
        self.off = off
        self.generation = 0
        self.eventful = True
        self.just_committed = False
        self.partitions: list[Partition] = []
        keys: list[bytes | None] = [b"a", b"b", None][: 1 + seed % 3]
        for number in range(1 + seed % 2):
            records = [self._record(number, offset, rnd.pick(keys)) for offset in range(3 + seed % 5)]
            self.partitions.append(Partition(number, records))
        self.undecided: list[Transaction] = []
        self.commits: list[PlainCommit] = []
        self.events = 0

    @staticmethod
    def _record(number: int, offset: int, key: bytes | None) -> Record:
        return Record("t", number, Offset(offset), key, b"%d" % offset, (("h", b"x"),), 1000 + offset)

    # Effects

    def start(self, partition: Partition, record: Record) -> None:
        """A handler starts."""
        if record != partition.source[record.offset]:
            raise Violation(f"changed: {record} is not what was published")
        if record.offset in partition.settled:
            raise Violation(f"redo: {record.offset} starts again and was settled for good")
        for earlier in partition.lane(record.offset):
            if earlier.offset >= record.offset:
                return
            if earlier.offset not in partition.done and earlier.offset not in partition.dead:
                raise Violation(f"early: start of {record.offset} before {earlier.offset} is settled")

    def success(self, partition: Partition, offset: int) -> None:
        """A handler has had its effect."""
        self.events += 1
        partition.done[offset] = self.events
        count = partition.successes[offset] = partition.successes.get(offset, 0) + 1
        if count > 1 + partition.takeovers + partition.redrives.get(offset, 0):
            raise Violation(f"redo: {offset} succeeded {count} times in {partition.takeovers} takeovers")

    # The broker

    def send(self, transaction: Transaction, generation: int) -> bool:
        """Offsets are sent to the transaction: refused from a generation that is over."""
        if generation != self.generation:
            return False
        transaction.sent = True
        self.undecided.append(transaction)
        return True

    def decide(self, transaction: Transaction, outcome: bool) -> None:
        """The transaction ends, once."""
        if transaction.outcome is None:
            transaction.outcome = outcome
            self.undecided.remove(transaction)
            if outcome:
                for partition, batch in transaction.parts:
                    transaction.places[partition.number] = self._apply(partition, batch)

    def decide_all(self, partition: Partition) -> None:
        """Wait until nothing of a partition is undecided."""
        for transaction in list(self.undecided):
            if any(part is partition for part, _ in transaction.parts):
                self.decide(transaction, self.rnd.random() < 0.5)

    def _apply(self, partition: Partition, batch: JournalBatch) -> list[int]:
        half = self.rnd.pick(("both", "both", "records", "offsets")) if "one_transaction" in self.off else "both"
        if half != "offsets":
            places = self._append(partition, batch)
        else:
            places = list(range(len(partition.journal), len(partition.journal) + len(batch.records)))
            partition.journal.extend([None] * len(batch.records))
        if half != "records":
            partition.committed = encode_map(batch.offsets)
        partition.journal.append(None)  # the marker
        partition.note_settled()
        return places

    def _append(self, partition: Partition, batch: JournalBatch) -> list[int]:
        places: list[int] = []
        for record in batch.records:
            if self.eventful and self.rnd.random() < 0.1:
                self.request(partition, b"", "nothing")  # an operator's comes in between
            place = len(partition.journal)
            places.append(place)
            partition.journal.append(encode(record))
            if isinstance(record, Entry):
                partition.live[place] = record.offset
            elif isinstance(record, Settled):
                for settled in record.places:
                    partition.live.pop(settled, None)
        for letter in batch.letters:
            partition.letters.append(StoredLetter(letter.record, letter.dead is None))
            partition.dead.add(letter.record.offset)
            partition.done.pop(letter.record.offset, None)  # it ran before a crash, and is to run again
        for mark in batch.marks:
            self._marked(partition, mark.letter_offset, purged=mark.kind == "purged")
        return places

    def _marked(self, partition: Partition, letter_offset: int, *, purged: bool) -> None:
        letter = partition.letters[letter_offset]
        assert isinstance(letter, StoredLetter)
        if letter_offset in partition.marked:
            raise Violation(f"twice: letter {letter_offset} is redriven or purged twice")
        partition.letters.append(StoredMark(letter_offset, purged))
        offset = letter.record.offset
        if purged:
            partition.purged.add(offset)
            return
        partition.dead.discard(offset)
        partition.settled.discard(offset)
        partition.done.pop(offset, None)
        partition.redrives[offset] = partition.redrives.get(offset, 0) + 1

    def request(self, partition: Partition, key: bytes | None, kind: str) -> None:
        """An operator writes to the journal, without a transaction."""
        request_id = b"%d" % len(partition.journal)
        parameters = b"-" if key is None else b"k" + key
        partition.journal.append(encode(Request(request_id, kind, parameters)))

    def arrive(self, commit: PlainCommit) -> None:
        """A plain commit reaches the broker."""
        self.commits.remove(commit)
        commit.answer = commit.generation == self.generation or "generation" in self.off
        if commit.answer:
            self.just_committed = True
            commit.partition.committed = commit.metadata
            commit.partition.note_settled()

    # The end

    def judge(self, on_dead: str) -> None:
        """All has come to rest."""
        for partition in self.partitions:
            self._judge(partition, on_dead)

    def _judge(self, partition: Partition, on_dead: str) -> None:
        lost = [
            one.offset for one in partition.source if one.offset not in partition.done | dict.fromkeys(partition.dead)
        ]
        if lost:
            raise Violation(f"lost: {lost}")
        for key in {one.key for one in partition.source}:
            letters = [record.offset for _, record in partition.open_letters(key, len(partition.letters))]
            open_dead = partition.dead - partition.purged
            dead = sorted(one for one in open_dead if partition.source[one].key == key)
            if letters != dead:
                raise Violation(f"letters: {letters} are open, {dead} are dead")
            if key is not None:
                self._judge_order(partition, key, on_dead)

    def _judge_order(self, partition: Partition, key: bytes, on_dead: str) -> None:
        ended = [one.offset for one in partition.source if one.key == key and one.offset not in partition.dead]
        exempt = partition.redrives if on_dead != "chain" else ()  # let go before, later records went on
        order = [partition.done[one] for one in ended if one not in exempt]
        if order != sorted(order):
            raise Violation(f"older: an older effect on top, {order}")
