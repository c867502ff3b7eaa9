"""A replay: a processor over a part of its topic, in a group of its own, up to ends that are fixed when it begins."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from streamq.model import names
from streamq.model.clock import Clock
from streamq.model.errors import ConfigError, FatalBrokerError, StaleMemberError
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import AtTime, CommitPoint, NextOffset, OffsetSpec, TopicPartition
from streamq.ops import asking, replay_record
from streamq.ops.parked import view_of
from streamq.ops.replay_record import Asked, Begun, Limit
from streamq.ops.topics import delete_command, ensure_processor_topics
from streamq.runtime.intake import Bounds
from streamq.runtime.start import await_answer
from streamq.tasks.processor import Processor

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


class Span(msgspec.Struct, frozen=True):
    """What of one partition is replayed: offsets from `start` to below `end`; `position` is where it goes on. `begun`:
    the replay's group has committed an offset there."""

    partition: int
    start: int
    end: int
    position: int
    begun: bool


class Plan(msgspec.Struct, frozen=True):
    """A whole replay. `resumed`: its group has offsets already, from an earlier run under this name, whose range is
    kept."""

    name: str
    processor: str
    group: str
    topic: str
    key: str | None
    spans: tuple[Span, ...]
    resumed: bool
    asked: Asked
    partitions: int

    @property
    def records_at_most(self) -> int:
        """Offsets in all spans together, those that are done already included."""
        return sum(span.end - span.start for span in self.spans)

    @property
    def left_at_most(self) -> int:
        """Offsets still to be looked at."""
        return sum(span.end - span.position for span in self.spans)

    def bounds(self, key: bytes | None) -> Bounds:
        """What an owner of this replay reads; `key` as it stands in the topic."""
        return Bounds({TopicPartition(self.topic, span.partition): NextOffset(span.end) for span in self.spans}, key)


def replay_group(processor: Processor, name: str) -> str:
    """`<group>.replay.<name>`.

    Raises:
        ConfigError: a name that a group cannot have, or a group's name that is too long.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name is {name!r}: use 1 to 60 letters, digits, '_' and '-'")
    return names.replay_group_name(processor.group, name)


def plan(admin: AdminPort, processor: Processor, name: str, *, since: Limit, until: Limit, key: str | None) -> Plan:
    """Fix what is replayed. A key is looked for in all partitions: nobody knows how its producers chose one. What was
    begun under this name goes on to the ends that were fixed then. Blocks.

    Raises:
        ConfigError: the range is inverted, empty or no longer retained (the message says what is), or range or key are
            not those that a replay of this name was begun with.
    """
    topic = asking.topic_there(admin, processor.topic.name)
    partitions = asking.partitions_of(topic)
    retained, ends = asking.earliest(admin, partitions), asking.ends(admin, partitions)
    _check_order(since, until)
    group = replay_group(processor, name)
    committed = asking.committed(admin, group, partitions)
    resumed = any(committed.values())
    if resumed:
        begun = replay_record.read(admin, group, processor.dead_letter_topic, partitions)
        ranges = _ranges_begun(name, begun, since, until, key)
    else:
        starts = _located(admin, since, partitions, retained, "--from-offset")
        stops = _located(admin, until, partitions, ends, "--to-offset")
        ranges = {one.partition: (max(starts[one], retained[one]), min(stops[one], ends[one])) for one in partitions}
    spans = [
        _span(one, ranges[one.partition], retained[one], committed[one])
        for one in partitions
        if one.partition in ranges
    ]
    spans = [span for span in spans if span.start < span.end]
    if not spans:
        kept = ", ".join(f"{one.partition}:{retained[one]} to {one.partition}:{ends[one]}" for one in partitions)
        raise ConfigError(f"the range holds no record of topic {topic.name}: retained are offsets {kept}")
    return Plan(
        name, processor.name, group, topic.name, key, tuple(spans), resumed, replay_record.asked(since, until, key),
        topic.partitions,
    )  # fmt: skip


def _ranges_begun(
    name: str, begun: Begun | None, since: Limit, until: Limit, key: str | None
) -> Mapping[int, tuple[int, int]]:
    if begun is None:
        raise ConfigError(
            f"nothing says any more what replay {name!r} was begun with (its dead-letter topic was deleted): "
            "use another --name"
        )
    if not begun.is_asked_again(since, until, key):
        raise ConfigError(
            f"replay {name!r} was begun with another range or key ({begun.asked}), this is "
            f"{replay_record.asked(since, until, key)}: give the same again, or another --name"
        )
    return begun.ranges


def _span(place: TopicPartition, bounds: tuple[int, int], retained: int, point: CommitPoint | None) -> Span:
    start, end = bounds
    if point is None:
        return Span(place.partition, start, end, start, False)
    # Where retention has passed it, it goes on at what is left.
    return Span(place.partition, start, end, min(max(point.next_offset, retained), end), True)


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
        specs: dict[TopicPartition, OffsetSpec] = dict.fromkeys(partitions, AtTime(_at_ms(limit)))
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


def _at_ms(time: datetime) -> int:
    """Kafka's number for a time. Below 0 it has other meanings (-1 is the end of the log, -2 its start, KIP-79), and no
    record is older than 1970."""
    return max(0, int(time.timestamp() * 1000))


def begin(admin: AdminPort, processor: Processor, replay: Plan, *, create_topics: bool) -> None:
    """Make sure of the processor's topics and of the replay's retry topic; commit what a replay is, and where it starts
    in the partitions where it has not begun yet. Blocks.

    Raises:
        TopicConfigError: the retry or dead-letter topic is missing or too small, and `create_topics` is False.
        StaleMemberError: it runs elsewhere now, or did until a moment ago; the message says where.
    """
    group = admin.describe_group(replay.group, asking.TIMEOUT_S)
    if group is not None and group.members:
        hosts = ", ".join(sorted({member.host.lstrip("/") for member in group.members}))
        raise StaleMemberError(
            f"replay {replay.name!r} runs already, on {hosts}: wait for its end (or, if it was killed, some seconds), "
            "or use another --name"
        )
    ensure_processor_topics(admin, processor, create=create_topics, timeout_s=asking.TIMEOUT_S, group=replay.group)
    if not replay.resumed:
        # First what it is, then where it stands: without offsets in its source nothing has begun.
        ranges = dict.fromkeys(range(replay.partitions), (0, 0))
        ranges.update({span.partition: (span.start, span.end) for span in replay.spans})
        record = replay_record.points(processor.dead_letter_topic, Begun(replay.asked, ranges))
        admin.set_group_offsets(replay.group, record, asking.TIMEOUT_S)
    points = {
        TopicPartition(replay.topic, span.partition): CommitPoint(NextOffset(span.start))
        for span in replay.spans
        if not span.begun
    }
    if points:
        admin.set_group_offsets(replay.group, points, asking.TIMEOUT_S)


def end(admin: AdminPort, reader: ReaderPort, processor: Processor, group: str, clock: Clock) -> str | None:
    """After a replay has come to its end: delete its retry topic, which nobody needs any more. Blocks. Returns why it
    stays, if it does.

    Raises:
        RetriableError: the brokers did not answer in time; the replay is done all the same.
    """
    topic = names.retry_topic(group)
    left = [one for one in view_of(admin, reader, processor, clock, group=group).look().values() if not one.empty]
    if left:
        entries = sum(one.entries for one in left)
        return f"retry topic {topic} stays: it holds {entries:,} parked records, or what cannot be read"
    try:
        admin.delete_topics([topic], asking.TIMEOUT_S)
    except FatalBrokerError as error:
        return f"retry topic {topic} stays, empty ({error}): run `{delete_command(topic)}`"
    return None
