"""What a replay was begun with, kept in Kafka beside its position.

A replay's group commits offsets of its source, whose metadata are the map of what is done. Its range is kept as offsets
of the dead-letter topic, of which a replay reads nothing and which has as many partitions: for each partition of the
source the offset where the replay ends, and as metadata its start and what was asked for. It goes with the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import msgspec

from streamq.model.errors import ConfigError
from streamq.model.ports import AdminPort
from streamq.model.records import CommitPoint, NextOffset, TopicPartition
from streamq.ops import asking

Limit = datetime | Mapping[int, int] | None
"""A time, offsets by partition, or no limit."""

_MARK: Final = "streamq-replay:"
_LONGEST: Final = 200
"""Characters of a range's end or a key that are kept; three of them, escaped, fit a commit's metadata."""


class Asked(msgspec.Struct, frozen=True):
    """The range and the key that a replay was asked for, as text."""

    since: str
    until: str
    key: str | None

    def __str__(self) -> str:
        parts = [("from", self.since), ("to", self.until), ("key", self.key)]
        return ", ".join(f"{name} {text}" for name, text in parts if text) or "all"


class _Metadata(msgspec.Struct, frozen=True):
    start: int
    asked: Asked


class Begun(msgspec.Struct, frozen=True):
    """How a replay was begun: `ranges` are start and end by partition, equal where it has nothing to do."""

    asked: Asked
    ranges: Mapping[int, tuple[int, int]]

    def is_asked_again(self, since: Limit, until: Limit, key: str | None) -> bool:
        """Whether these mean this replay: what it was begun with, or the offsets that followed from it."""
        again = asked(since, until, key)
        starts = {at: start for at, (start, end) in self.ranges.items() if start < end}
        ends = {at: end for at, (start, end) in self.ranges.items() if start < end}
        return again == self.asked or (again.key == self.asked.key and (since, until) == (starts, ends))


def asked(since: Limit, until: Limit, key: str | None) -> Asked:
    """A range and a key as they are kept and shown."""
    return Asked(_kept(_text(since)), _kept(_text(until)), None if key is None else _kept(key))


def _text(limit: Limit) -> str:
    if isinstance(limit, datetime):
        return limit.astimezone(UTC).isoformat()
    return " ".join(f"{at}:{offset}" for at, offset in sorted((limit or {}).items()))


def _kept(text: str) -> str:
    """Too long a text is told from others by its digest."""
    if len(text) <= _LONGEST:
        return text
    digest = sha256(text.encode()).hexdigest()
    return f"{text[: _LONGEST - len(digest) - 2]}… {digest}"


def points(topic: str, begun: Begun) -> Mapping[TopicPartition, CommitPoint]:
    """What is committed so that `read` finds it; `topic` is the dead-letter topic."""
    found = {}
    for at, (start, end) in begun.ranges.items():
        text = _MARK + msgspec.json.encode(_Metadata(start, begun.asked)).decode()
        found[TopicPartition(topic, at)] = CommitPoint(NextOffset(end), text)
    return found


def read(admin: AdminPort, group: str, topic: str, partitions: Sequence[TopicPartition]) -> Begun | None:
    """How a replay was begun; None where nothing says so. Blocks.

    Raises:
        ConfigError: what is there is no record of a replay.
    """
    places = [TopicPartition(topic, one.partition) for one in partitions]
    ranges: dict[int, tuple[int, int]] = {}
    first: Asked | None = None
    for place, point in asking.committed(admin, group, places).items():
        if point is None:
            continue
        text = point.metadata.removeprefix(_MARK)
        try:
            found = msgspec.json.decode(text, type=_Metadata)
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"group {group} has an offset of {place} that no replay has committed: use another --name"
            ) from error
        first = first or found.asked
        ranges[place.partition] = (found.start, int(point.next_offset))
    return None if first is None else Begun(first, ranges)
