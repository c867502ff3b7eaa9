"""Who works for a processor, on what, and what has been under way the longest."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streamq.model.clock import Clock
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import MemberInfo
from streamq.ops.lag import PartitionLag, lag_of
from streamq.tasks.processor import Processor


class Oldest(msgspec.Struct, frozen=True):
    """The record that has not been settled for the longest time, of a partition or of all that a member has."""

    partition: int
    offset: int
    key: str | None
    attempts: int | None
    age_s: float


class Member(msgspec.Struct, frozen=True):
    """One member of a processor's group. `heads`: the oldest unsettled record of each of its partitions that has one;
    `oldest`: the oldest of these."""

    processor: str
    group: str
    state: str
    protocol: str
    client_id: str
    host: str
    instance_id: str | None
    partitions: tuple[int, ...]
    lag: int
    oldest: Oldest | None
    heads: tuple[Oldest, ...]


def members_of(admin: AdminPort, reader: ReaderPort, processor: Processor, clock: Clock) -> Sequence[Member]:
    """A row for each member; none if nobody works. Blocks."""
    group = admin.describe_group(processor.group, 10.0)
    if group is None or not group.members:
        return []
    rows = {row.partition: row for row in lag_of(admin, reader, processor, clock)}
    found = []
    for member in sorted(group.members, key=lambda one: (one.host, one.client_id)):
        mine = [rows[number] for number in _numbers(member, processor) if number in rows]
        heads = tuple(head for row in mine if (head := _head(row)) is not None)
        found.append(
            Member(
                processor.name,
                processor.group,
                group.state,
                group.protocol,
                member.client_id,
                member.host.lstrip("/"),
                member.instance_id,
                _numbers(member, processor),
                sum(row.lag for row in mine),
                max(heads, key=lambda one: one.age_s, default=None),
                heads,
            )
        )
    return found


def _numbers(member: MemberInfo, processor: Processor) -> tuple[int, ...]:
    return tuple(one.partition for one in member.partitions if one.topic == processor.topic.name)


def _head(row: PartitionLag) -> Oldest | None:
    if row.head_offset is None:
        return None
    return Oldest(row.partition, row.head_offset, row.head_key, row.head_attempts, row.behind_s)
