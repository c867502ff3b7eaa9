"""Consumer groups, as an operator deals with them, over librdkafka's admin client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, Protocol, TypeVar, cast

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaException

from streamq.kafka import records
from streamq.kafka.commits import Points, parts
from streamq.kafka.errors import to_error
from streamq.kafka.handle import NO_TIMEOUT_S, AdminHandle
from streamq.model.clock import Clock, Deadline
from streamq.model.errors import BrokerError, RetriableError
from streamq.model.records import CommitPoint, GroupInfo, MemberInfo, TopicPartition

_LOOK_AGAIN_S: Final = 0.05
_COORDINATOR_MOVES: Final = frozenset({"NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS"})
T = TypeVar("T")

# Kafka's own words; the client knows no more than these.
_STATES: Final[Mapping[ConsumerGroupState, str]] = {
    ConsumerGroupState.PREPARING_REBALANCING: "PreparingRebalance",
    ConsumerGroupState.COMPLETING_REBALANCING: "CompletingRebalance",
    ConsumerGroupState.STABLE: "Stable",
    ConsumerGroupState.DEAD: "Dead",
    ConsumerGroupState.EMPTY: "Empty",
}


class _Member(Protocol):
    """What the client tells of a group's member."""

    member_id: str
    client_id: str
    host: str
    group_instance_id: str | None
    assignment: object


class GroupAdmin:
    """The group's part of `AdminPort`. Each call blocks for at most `timeout_s`."""

    def __init__(self, handle: AdminHandle, clock: Clock) -> None:
        self._handle = handle
        self._clock = clock

    def names(self, timeout_s: float) -> Sequence[str]:
        """All groups."""
        what = "listing consumer groups"
        found = self._handle.answer(
            lambda client: client.list_consumer_groups(request_timeout=timeout_s), timeout_s, what
        )
        for error in found.errors or ():
            raise self._handle.typed(KafkaException(error), what)
        return sorted(group.group_id for group in found.valid)

    def describe(self, group: str, timeout_s: float) -> GroupInfo | None:
        """The group as its coordinator sees it."""
        try:
            found = self._once_coordinated(
                lambda left_s: self._handle.answer(
                    lambda client: client.describe_consumer_groups([group], request_timeout=NO_TIMEOUT_S)[group],
                    left_s,
                    f"describing group {group}",
                    give_up=True,
                ),
                timeout_s,
            )
        except BrokerError as error:
            if error.code == "GROUP_ID_NOT_FOUND":
                return None
            raise
        members = tuple(_member(member) for member in found.members)
        if found.state == ConsumerGroupState.DEAD and not members:
            return None
        # Under KIP-848 there are two more, Assigning and Reconciling, which the client does not know.
        state = _STATES.get(found.state, "Reconciling" if members else "Unknown")
        return GroupInfo(group, state, found.type.name.lower(), members)

    def set_offsets(self, group: str, points: Mapping[TopicPartition, CommitPoint], timeout_s: float) -> None:
        """Commit for a group without members, in parts where it is large."""
        for part in parts(points):
            if part:
                self._once_coordinated(partial(self._set, group, part), timeout_s)

    def _set(self, group: str, points: Points, timeout_s: float) -> None:
        what = f"setting the offsets of group {group}"
        request = [ConsumerGroupTopicPartitions(group, records.kafka_points(points))]
        found = self._handle.answer(
            lambda client: cast(
                "Future[ConsumerGroupTopicPartitions]",
                client.alter_consumer_group_offsets(request, request_timeout=NO_TIMEOUT_S)[group],
            ),
            timeout_s,
            what,
            may_have_happened=True,
            give_up=True,
        )
        for each in found.topic_partitions or ():
            if each.error is not None:
                raise to_error(each.error, f"{what}: {records.partition(each)}")

    def delete(self, group: str, timeout_s: float) -> None:
        """Forget a group."""
        try:
            self._once_coordinated(
                lambda left_s: self._handle.answer(
                    lambda client: client.delete_consumer_groups([group], request_timeout=NO_TIMEOUT_S)[group],
                    left_s,
                    f"deleting group {group}",
                    give_up=True,
                ),
                timeout_s,
            )
        except BrokerError as error:
            if error.code != "GROUP_ID_NOT_FOUND":
                raise

    def _once_coordinated(self, ask: Callable[[float], T], timeout_s: float) -> T:
        """Ask a coordinator, and again while it loads or moves: that passes by itself, and nothing has happened."""
        deadline = Deadline(self._clock, timeout_s)
        while True:
            try:
                return ask(max(_LOOK_AGAIN_S, deadline.remaining_s()))
            except RetriableError as error:
                if error.code not in _COORDINATOR_MOVES or deadline.expired():
                    raise
            self._clock.sleep(min(_LOOK_AGAIN_S, deadline.remaining_s()))


def _member(member: _Member) -> MemberInfo:
    assigned = getattr(member.assignment, "topic_partitions", None) or ()
    return MemberInfo(
        member.member_id,
        member.client_id,
        member.host,
        member.group_instance_id or None,
        tuple(sorted(records.partitions(assigned))),
    )
