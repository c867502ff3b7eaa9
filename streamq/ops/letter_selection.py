"""Which dead letters an operator means, and the requests that name them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from streamq.core.journal_records import Request
from streamq.core.redriven import UnusableLetterError, source_offset
from streamq.core.request_parameters import Edit, KeyLetters, Parameters, Purge, Redrive, request_of
from streamq.model.clock import Clock
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import Record
from streamq.ops import asking, dead_letters
from streamq.ops.dead_letters import DeadLetter
from streamq.ops.tail import Progress
from streamq.tasks.processor import Processor

MOST_LETTERS: Final = 1_000
"""Of one request, unless they are of one key."""
MOST_BYTES: Final = 200_000
"""Of what one request names, keys and edited values included; one key's letters or one value may exceed it."""
OFFSET_BYTES: Final = 3


class Place(NamedTuple):
    """Where a dead letter stands."""

    partition: int
    offset: int


class Choice(NamedTuple):
    """What is asked for. `whole_keys`: letters of a key go together, so one that is chosen brings the key's others."""

    key: str | None = None
    reason: str | None = None
    where: Callable[[DeadLetter, Record], bool] | None = None
    limit: int | None = None
    whole_keys: bool = False


@dataclass(slots=True)
class Selection:
    """Open letters. `joined` came with others of their keys; `foreign` were given up by another group (a replay), or
    say not where they came from, and cannot be redriven here."""

    letters: dict[Place, bytes | None] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    joined: int = 0
    foreign: int = 0

    def without(self, places: set[Place]) -> Selection:
        """All but these."""
        left = {place: key for place, key in self.letters.items() if place not in places}
        return Selection(left, self.ends, self.joined, self.foreign)

    def only(self, places: set[Place]) -> Selection:
        """None but these."""
        return self.without(self.letters.keys() - places)

    def by_key(self) -> Iterator[tuple[int, bytes | None, list[int]]]:
        """By partition and key: their offsets, ascending."""
        grouped: dict[tuple[int, bytes | None], list[int]] = {}
        for (partition, offset), key in sorted(self.letters.items(), key=lambda one: one[0]):
            grouped.setdefault((partition, key), []).append(offset)
        for (partition, key), offsets in sorted(grouped.items(), key=lambda one: (one[0][0], one[1][0])):
            yield partition, key, offsets


def select(
    admin: AdminPort,
    reader: ReaderPort,
    processor: Processor,
    clock: Clock,
    choice: Choice,
    progress: Progress | None = None,
) -> Selection:
    """Read the dead-letter topic and choose. Blocks.

    Raises:
        ConfigError: there is no dead-letter topic.
        JournalError: a mark that this release cannot read.
    """
    topic = asking.topic_there(admin, processor.dead_letter_topic)
    ends = asking.ends(admin, asking.partitions_of(topic))
    found = Selection(ends={place.partition: int(end) for place, end in ends.items()})
    chosen: dict[Place, bytes | None] = {}
    all_open: dict[Place, bytes | None] = {}

    def fits(letter: DeadLetter, record: Record) -> bool:
        place, wanted = Place(record.partition, int(record.offset)), _wanted(choice, letter, record)
        try:
            source_offset(record, processor.group)
        except UnusableLetterError:
            found.foreign += wanted
            return False
        if choice.whole_keys:
            all_open[place] = record.key
        if wanted:
            chosen[place] = record.key
        return wanted

    for _ in dead_letters.letters(admin, reader, processor, clock, state="open", where=fits, progress=progress):
        if choice.limit is not None and not choice.whole_keys and len(chosen) >= choice.limit:
            break
    found.letters = chosen
    if choice.whole_keys:
        found.letters = _whole(chosen, all_open, choice.limit)
        found.joined = sum(place not in chosen for place in found.letters)
    return found


def _wanted(choice: Choice, letter: DeadLetter, record: Record) -> bool:
    if choice.key is not None and letter.key != choice.key:
        return False
    if choice.reason is not None and letter.reason != choice.reason:
        return False
    return choice.where is None or choice.where(letter, record)


def _whole(
    chosen: Mapping[Place, bytes | None], all_open: Mapping[Place, bytes | None], limit: int | None
) -> dict[Place, bytes | None]:
    """The chosen letters with the others of their keys; with a limit, as many keys as it takes to reach it."""
    by_key: dict[tuple[int, bytes | None], list[Place]] = {}
    for place, key in all_open.items():
        by_key.setdefault((place.partition, key), []).append(place)
    found: dict[Place, bytes | None] = {}
    for place, key in chosen.items():
        if limit is not None and len(found) >= limit:
            break
        if place not in found:
            found.update(dict.fromkeys([place] if key is None else by_key[place.partition, key], key))
    return found


# Requests


class Asked(NamedTuple):
    """One request to the owner of a partition, and the letters that it names."""

    partition: int
    request: Request
    places: frozenset[Place]


def redrives(selection: Selection, edits: Mapping[Place, bytes | None], *, follow: bool) -> Iterator[Asked]:
    """Requests to move these back. A key's letters are in one request, since the key goes on when it is done; `follow`
    takes along what follows a chained key until the owner holds it."""
    for partition, groups in _batches(selection, edits):
        offsets = [offset for group in groups for offset in group.offsets]
        changed = sorted(
            Edit(offset, edits[place]) for offset in offsets if (place := Place(partition, offset)) in edits
        )
        keyed = follow and any(group.key is not None for group in groups)
        asked = Redrive(tuple(groups), selection.ends[partition] if keyed else None, tuple(changed))
        yield _asked(partition, asked, offsets)


def purges(selection: Selection) -> Iterator[Asked]:
    """Requests to close these for good."""
    for partition, groups in _batches(selection, {}):
        offsets = sorted(offset for group in groups for offset in group.offsets)
        yield _asked(partition, Purge(tuple(offsets)), offsets)


def _asked(partition: int, parameters: Parameters, offsets: list[int]) -> Asked:
    places = frozenset(Place(partition, offset) for offset in offsets)
    return Asked(partition, request_of(parameters, partition), places)


def _batches(selection: Selection, edits: Mapping[Place, bytes | None]) -> Iterator[tuple[int, list[KeyLetters]]]:
    batch: list[KeyLetters] = []
    at, count, size_bytes = -1, 0, 0
    for partition, key, offsets in _groups(selection, edited=bool(edits)):
        more = len(key or b"") + OFFSET_BYTES * len(offsets)
        more += sum(len(edits.get(Place(partition, offset)) or b"") for offset in offsets)
        if batch and (partition != at or count + len(offsets) > MOST_LETTERS or size_bytes + more > MOST_BYTES):
            yield at, batch
            batch, count, size_bytes = [], 0, 0
        batch.append(KeyLetters(key, tuple(offsets)))
        at, count, size_bytes = partition, count + len(offsets), size_bytes + more
    if batch:
        yield at, batch


def _groups(selection: Selection, *, edited: bool) -> Iterator[tuple[int, bytes | None, list[int]]]:
    """By key; those without one in pieces, and a key that has more letters than a request can name, too."""
    for partition, key, offsets in selection.by_key():
        most = MOST_BYTES // OFFSET_BYTES
        if key is None:
            most = 1 if edited else MOST_LETTERS
        for at in range(0, len(offsets), most):
            yield partition, key, offsets[at : at + most]
