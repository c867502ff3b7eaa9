"""A replay: a processor over a part of its topic, in a group of its own, up to ends that are fixed when it begins."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from streamq.model.errors import ConfigError
from streamq.model.ports import AdminPort
from streamq.model.records import AtTime, CommitPoint, NextOffset, OffsetSpec, TopicPartition
from streamq.ops import asking
from streamq.runtime.intake import Bounds
from streamq.runtime.start import await_answer
from streamq.tasks.processor import Processor

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


class Span(msgspec.Struct, frozen=True):
    """What of one partition is replayed: offsets from `start` to below `end`; `position` is where it goes on."""

    partition: int
    start: int
    end: int
    position: int


class Plan(msgspec.Struct, frozen=True):
    """A whole replay. `resumed`: its group has offsets already, from an earlier run under this name."""

    processor: str
    group: str
    topic: str
    key: str | None
    spans: tuple[Span, ...]
    resumed: bool

    @property
    def records_at_most(self) -> int:
        """Offsets in all spans together, those that are done already included."""
        return sum(span.end - span.start for span in self.spans)

    @property
    def left_at_most(self) -> int:
        """Offsets still to be looked at."""
        return sum(max(0, span.end - span.position) for span in self.spans)

    def bounds(self) -> Bounds:
        """What an owner of this replay reads."""
        ends = {TopicPartition(self.topic, span.partition): NextOffset(span.end) for span in self.spans}
        return Bounds(ends, None if self.key is None else self.key.encode())


Limit = datetime | Mapping[int, int] | None
"""A time, offsets by partition, or no limit."""


def replay_group(processor: Processor, name: str) -> str:
    """`<group>.replay.<name>`.

    Raises:
        ConfigError: a name that a group cannot have.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name is {name!r}: use 1 to 60 letters, digits, '_' and '-'")
    return f"{processor.group}.replay.{name}"


def plan(admin: AdminPort, processor: Processor, name: str, *, since: Limit, until: Limit, key: bytes | None) -> Plan:
    """Fix what is replayed. A key is looked for in all partitions: nobody knows how its producers chose one. Blocks.

    Raises:
        ConfigError: the range is inverted, empty or no longer retained; the message says what is retained.
    """
    topic = asking.topic_there(admin, processor.topic.name)
    partitions = asking.partitions_of(topic)
    retained, ends = asking.earliest(admin, partitions), asking.ends(admin, partitions)
    _check_order(since, until)
    starts = _located(admin, since, partitions, retained, "--from-offset")
    stops = _located(admin, until, partitions, ends, "--to-offset")
    group = replay_group(processor, name)
    committed = asking.committed(admin, group, partitions)
    spans = []
    for one in partitions:
        start, end = max(starts[one], retained[one]), min(stops[one], ends[one])
        if start < end:
            point = committed.get(one)
            spans.append(Span(one.partition, start, end, start if point is None else point.next_offset))
    if not spans:
        kept = ", ".join(f"{one.partition}:{retained[one]} to {one.partition}:{ends[one]}" for one in partitions)
        raise ConfigError(f"the range holds no record of topic {topic.name}: retained are offsets {kept}")
    text = None if key is None else key.decode("utf-8", "backslashreplace")
    resumed = any(point is not None for point in committed.values())
    return Plan(processor.name, group, topic.name, text, tuple(spans), resumed)


def _check_order(since: Limit, until: Limit) -> None:
    if isinstance(since, datetime) and isinstance(until, datetime) and since >= until:
        raise ConfigError(f"--from {since.isoformat()} is not before --to {until.isoformat()}: exchange them")
    if isinstance(since, Mapping) and isinstance(until, Mapping):
        for partition, start in since.items():
            if partition in until and start >= until[partition]:
                raise ConfigError(
                    f"--from-offset {partition}:{start} is not below --to-offset {partition}:{until[partition]}: "
                    "exchange them"
                )


def _located(
    admin: AdminPort, limit: Limit, partitions: Sequence[TopicPartition], default: asking.Offsets, option: str
) -> asking.Offsets:
    if limit is None:
        return default
    if isinstance(limit, datetime):
        specs: dict[TopicPartition, OffsetSpec] = dict.fromkeys(partitions, AtTime(int(limit.timestamp() * 1000)))
        return await_answer(admin.list_offsets(specs), asking.TIMEOUT_S + 1, "the offsets at that time")
    known = {one.partition for one in partitions}
    for partition in limit:
        if partition not in known:
            raise ConfigError(f"{option} names partition {partition}: the topic has 0 to {max(known)}")
    # Offsets name the partitions that are meant: the others are left out.
    return {
        one: NextOffset(limit.get(one.partition, default[one] if option == "--to-offset" else 2**62))
        for one in partitions
    }


def begin(admin: AdminPort, replay: Plan) -> None:
    """Commit where a replay starts, if it has not begun yet. Blocks.

    Raises:
        StaleMemberError: it runs elsewhere now.
    """
    if not replay.resumed:
        points = {
            TopicPartition(replay.topic, span.partition): CommitPoint(NextOffset(span.start)) for span in replay.spans
        }
        admin.set_group_offsets(replay.group, points, asking.TIMEOUT_S)
