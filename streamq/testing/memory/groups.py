"""The group coordinator: who is a member, who owns which partition, and what stands committed.

Assignment is incremental, as cooperative-sticky and KIP-848 do it. Each change of membership makes a new generation
with a target for each member. At its next poll a member first gives back what is not in its target, and then takes
what is free of it: a partition is never in two hands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from streamq.model.clock import Clock
from streamq.model.errors import BrokerError, FatalBrokerError, FencedError, RetriableError, StaleMemberError
from streamq.model.ports import ConsumerOptions
from streamq.model.records import CommitPoint, GroupInfo, MemberInfo, TopicPartition
from streamq.testing.memory.offsets import Offsets
from streamq.testing.memory.topics import Topics

METADATA_CHARACTERS: Final = 4095
"""The most that a broker takes (`offset.metadata.max.bytes` is 4096, and it refuses that very number)."""
MAX_POLL_S: Final = 300.0
"""Without a poll for so long a member leaves its group (`max.poll.interval.ms`)."""


@dataclass(slots=True, eq=False)
class Member:
    """One membership. `silent_since`: no heartbeats since then; `replaced`: another has its static identity."""

    member_id: str
    options: ConsumerOptions
    topic: str
    polled_at: float
    generation: int = 0
    owned: set[TopicPartition] = field(default_factory=set)
    target: set[TopicPartition] = field(default_factory=set)
    silent_since: float | None = None
    replaced: bool = False


@dataclass(slots=True, eq=False)
class Group:
    """Members in the order in which they joined, and offsets."""

    name: str
    generation: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    offsets: Offsets = field(default_factory=Offsets)


class Groups:
    """All groups of a cluster. Under the cluster's lock."""

    def __init__(self, clock: Clock, topics: Topics, session_timeout_s: float) -> None:
        self._clock = clock
        self._topics = topics
        self._session_timeout_s = session_timeout_s
        self._groups: dict[str, Group] = {}
        self._joined = 0

    # Membership

    def join(self, options: ConsumerOptions, topic: str) -> Member:
        """A new member; or a static one that comes back to what it has."""
        group = self._groups.setdefault(options.group, Group(options.group))
        self._joined += 1
        member = Member(f"{options.client_id}-{self._joined}", options, topic, self._clock.monotonic())
        former = self._static(group, options.instance_id)
        if former is None:
            group.members[member.member_id] = member
            self._new_generation(group)
            return member
        former.replaced = True
        # Its partitions are nobody else's: they come to it at its next poll.
        member.target, member.generation = set(former.owned), group.generation
        group.members = {
            new.member_id: new for new in (member if one is former else one for one in group.members.values())
        }
        self._retarget(group)
        return member

    @staticmethod
    def _static(group: Group, instance_id: str | None) -> Member | None:
        if instance_id is None:
            return None
        return next((one for one in group.members.values() if one.options.instance_id == instance_id), None)

    def leave(self, member: Member) -> None:
        """It is a member no more; its partitions are free."""
        group = self._groups.get(member.options.group)
        if group is not None and group.members.pop(member.member_id, None) is not None:
            self._new_generation(group)

    def is_member(self, member: Member) -> bool:
        """Whether the group still knows it."""
        group = self._groups.get(member.options.group)
        return group is not None and group.members.get(member.member_id) is member

    def heard(self, member: Member) -> None:
        """It polls."""
        member.polled_at = self._clock.monotonic()

    def expel_silent(self) -> bool:
        """Let go of members whose session is over. Whether there were any."""
        now = self._clock.monotonic()
        expelled = [
            member
            for group in self._groups.values()
            for member in group.members.values()
            if self._expiry(member) <= now
        ]
        for member in expelled:
            self.leave(member)
        return bool(expelled)

    def next_expiry(self) -> float:
        """When a session is over next, if nothing is heard till then."""
        members = (member for group in self._groups.values() for member in group.members.values())
        return min((self._expiry(member) for member in members), default=inf)

    def _expiry(self, member: Member) -> float:
        by_poll = member.polled_at + MAX_POLL_S
        if member.silent_since is None:
            return by_poll
        classic = member.options.protocol == "classic"
        session_s = member.options.session_timeout_s if classic else self._session_timeout_s
        return member.silent_since + session_s

    def renew_sessions(self) -> None:
        """A coordinator that is back gives everybody a new session."""
        now = self._clock.monotonic()
        for group in self._groups.values():
            for member in group.members.values():
                member.polled_at = now
                member.silent_since = None if member.silent_since is None else now

    # Assignment

    def topics_changed(self) -> None:
        """Topics came, went or grew."""
        for group in self._groups.values():
            if any(member.target != target for member, target in self._targets(group)):
                self._new_generation(group)
            group.offsets.keep(lambda one: self._topics.log(one) is not None)

    def _new_generation(self, group: Group) -> None:
        group.generation += 1
        self._retarget(group)

    def _retarget(self, group: Group) -> None:
        for member, target in self._targets(group):
            member.target = target

    def _targets(self, group: Group) -> list[tuple[Member, set[TopicPartition]]]:
        found: list[tuple[Member, set[TopicPartition]]] = []
        for topic in sorted({member.topic for member in group.members.values()}):
            members = [member for member in group.members.values() if member.topic == topic]
            has = [member.owned | member.target for member in members]
            found += zip(members, balance(self._topics.partitions(topic), has), strict=True)
        return found

    def to_release(self, member: Member) -> list[TopicPartition]:
        """What it has to give back."""
        return sorted(member.owned - member.target)

    def released(self, member: Member, partitions: Sequence[TopicPartition]) -> None:
        """It has given these back: what it was before says nothing any more."""
        member.owned.difference_update(partitions)
        group = self._groups.get(member.options.group)
        if group is not None and self.is_member(member):
            member.generation = group.generation

    def take(self, member: Member) -> list[TopicPartition]:
        """Give it what is its own and free, once it has given back what is not."""
        group = self._groups[member.options.group]
        others = {one for other in group.members.values() if other is not member for one in other.owned}
        free = sorted(member.target - member.owned - others)
        member.owned.update(free)
        member.generation = group.generation
        return free

    # Offsets

    def commit(
        self, member: Member, generation: int, points: Mapping[TopicPartition, CommitPoint]
    ) -> dict[TopicPartition, BrokerError | None]:
        """As OffsetCommit: the membership is checked; neither ownership nor direction is. A partition whose metadata is
        too large is refused, the others are taken all the same."""
        refusal = self._refusal(member, generation)
        if refusal is not None:
            return dict.fromkeys(points, refusal)
        return self._store(self._groups[member.options.group], points)

    def hold(
        self, member: Member, generation: int, points: Mapping[TopicPartition, CommitPoint], transaction: int
    ) -> tuple[BrokerError, TopicPartition | None] | None:
        """As TxnOffsetCommit: keep these until the transaction is decided. All or none: what refuses them, and the
        partition whose point it is, if it is one's."""
        refusal = self._refusal(member, generation)
        if refusal is not None:
            return refusal, None
        for partition, point in points.items():
            error = self._unfit(partition, point)
            if error is not None:
                return error, partition
        self._groups[member.options.group].offsets.hold(transaction, points)
        return None

    def decide(self, transaction: int, *, commit: bool) -> None:
        """What was kept for it counts, or is forgotten."""
        for group in self._groups.values():
            group.offsets.decide(transaction, commit=commit)

    def _refusal(self, member: Member, generation: int) -> BrokerError | None:
        if member.replaced:
            return FencedError(
                f"group {member.options.group}: another has the static identity {member.options.instance_id}",
                code="FENCED_INSTANCE_ID",
            )
        if not self.is_member(member):
            return StaleMemberError(
                f"group {member.options.group}: {member.member_id} is no member", code="UNKNOWN_MEMBER_ID"
            )
        if generation != member.generation:
            return StaleMemberError(
                f"group {member.options.group}: generation {generation}, it is {member.generation} now",
                code="ILLEGAL_GENERATION",
            )
        return None

    def _store(
        self, group: Group, points: Mapping[TopicPartition, CommitPoint]
    ) -> dict[TopicPartition, BrokerError | None]:
        answer: dict[TopicPartition, BrokerError | None] = {}
        for partition, point in points.items():
            answer[partition] = self._unfit(partition, point)
            if answer[partition] is None:
                group.offsets.store(partition, point)
        return answer

    def _unfit(self, partition: TopicPartition, point: CommitPoint) -> BrokerError | None:
        if self._topics.log(partition) is None:
            return RetriableError(f"{partition} does not exist", code="UNKNOWN_TOPIC_OR_PART")
        if len(point.metadata) > METADATA_CHARACTERS:
            return FatalBrokerError(
                f"{partition}: {len(point.metadata)} characters of metadata, {METADATA_CHARACTERS} are taken",
                code="OFFSET_METADATA_TOO_LARGE",
            )
        return None

    # What the admin asks

    def names(self) -> list[str]:
        """All groups with members or offsets."""
        return sorted(name for name, group in self._groups.items() if group.members or group.offsets.points)

    def describe(self, name: str) -> GroupInfo | None:
        """The group; None if there is none."""
        group = self._groups.get(name)
        if group is None or not (group.members or group.offsets.points):
            return None
        members = group.members.values()
        protocol = "consumer" if any(member.options.protocol == "consumer" for member in members) else "classic"
        return GroupInfo(name, self._state(group, protocol), protocol, tuple(_info(member) for member in members))

    @staticmethod
    def _state(group: Group, protocol: str) -> str:
        if not group.members:
            return "Empty"
        if all(member.owned == member.target for member in group.members.values()):
            return "Stable"
        return "Reconciling" if protocol == "consumer" else "PreparingRebalance"

    def offsets(self, name: str) -> Mapping[TopicPartition, CommitPoint]:
        """What stands committed."""
        group = self._groups.get(name)
        return group.offsets.points if group is not None else {}

    def undecided(self, name: str) -> frozenset[TopicPartition]:
        """Those with offsets in an open transaction."""
        group = self._groups.get(name)
        return group.offsets.undecided if group is not None else frozenset()

    def set_offsets(self, name: str, points: Mapping[TopicPartition, CommitPoint]) -> None:
        """Commit for a group without members.

        Raises:
            StaleMemberError: it has members.
            BrokerError: of the first partition that is refused.
        """
        group = self._without_members(name) or self._groups.setdefault(name, Group(name))
        for error in self._store(group, points).values():
            if error is not None:
                raise error

    def delete(self, name: str) -> None:
        """Forget a group without members.

        Raises:
            StaleMemberError: it has members.
        """
        if self._without_members(name) is not None:
            del self._groups[name]

    def _without_members(self, name: str) -> Group | None:
        group = self._groups.get(name)
        if group is not None and group.members:
            raise StaleMemberError(
                f"group {name} has {len(group.members)} members: stop its workers first", code="NON_EMPTY_GROUP"
            )
        return group


def _info(member: Member) -> MemberInfo:
    options = member.options
    return MemberInfo(member.member_id, options.client_id, "memory", options.instance_id, tuple(sorted(member.owned)))


def balance(partitions: Sequence[TopicPartition], has: Sequence[set[TopicPartition]]) -> list[set[TopicPartition]]:
    """Spread partitions evenly, each member keeping what it has as far as that is fair. `has` is in the order in which
    the members joined, and so is the answer; no two numbers of partitions differ by more than one."""
    small, larger = divmod(len(partitions), len(has))
    left = set(partitions)
    shares: list[set[TopicPartition]] = [set() for _ in has]
    for number in sorted(range(len(has)), key=lambda number: -len(has[number] & left)):
        kept = sorted(has[number] & left)[: small + (larger > 0)]
        larger -= len(kept) > small
        shares[number].update(kept)
        left.difference_update(kept)
    for partition in sorted(left):
        min(shares, key=len).add(partition)
    return shares
