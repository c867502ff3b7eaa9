"""Questions to the cluster, over librdkafka's admin client."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import Final, Protocol, TypeVar, cast

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import ListOffsetsResultInfo
from confluent_kafka.admin._listoffsets import OffsetSpec as KafkaOffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.admin._topic import TopicDescription
from confluent_kafka.cimpl import NewPartitions, NewTopic

from streamq.kafka import records
from streamq.kafka.errors import from_exception, to_error
from streamq.kafka.settings import Settings
from streamq.model.clock import Deadline, SystemClock
from streamq.model.errors import BrokerError, ConfigError, OutcomeUnknownError, RetriableError
from streamq.model.ports import Isolation
from streamq.model.records import (
    AtTime,
    CommitPoint,
    Earliest,
    GroupInfo,
    Latest,
    MemberInfo,
    NextOffset,
    OffsetSpec,
    TopicInfo,
    TopicPartition,
    TopicSpec,
)

_log = logging.getLogger("streamq.kafka")
REQUEST_S: Final = 10.0
"""How long a question that is asked in the owner's loop may take before it counts as unanswered."""
_SETTLED_S: Final = 0.05
_NO_OFFSET: Final = -1001
T = TypeVar("T")
R = TypeVar("R")


class _Member(Protocol):
    """What librdkafka tells of a group's member."""

    member_id: str
    client_id: str
    host: str
    group_instance_id: str | None
    assignment: object


class KafkaAdmin:
    """See `AdminPort`."""

    def __init__(self, settings: Settings, description: str) -> None:
        self._description = description
        try:
            self._client = AdminClient(settings, logger=_log)
        except (KafkaException, ValueError, TypeError) as error:
            first = error.args[0] if error.args else error
            reason = first.str() if isinstance(first, KafkaError) else str(first)
            raise ConfigError(f"kafka settings are not usable: {reason}") from error

    # Asked in the owner's loop

    def group_offsets(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> Future[Mapping[TopicPartition, CommitPoint | None]]:
        """Committed offsets with their metadata."""
        request = [ConsumerGroupTopicPartitions(group, records.kafka_partitions(partitions))]
        asked = self._client.list_consumer_group_offsets(request, require_stable=True, request_timeout=REQUEST_S)
        what = f"reading the offsets of group {group} at {self._description}"

        def read(answer: ConsumerGroupTopicPartitions) -> Mapping[TopicPartition, CommitPoint | None]:
            found: dict[TopicPartition, CommitPoint | None] = {}
            for each in answer.topic_partitions or ():
                error = each.error
                if error is not None and error.code() == KafkaError.UNSTABLE_OFFSET_COMMIT:
                    continue
                if error is not None:
                    raise to_error(error, what)
                point = None if each.offset < 0 else CommitPoint(NextOffset(each.offset), each.metadata or "")
                found[records.partition(each)] = point
            return found

        return _mapped(cast("Future[ConsumerGroupTopicPartitions]", asked[group]), read, what)

    def list_offsets(
        self, specs: Mapping[TopicPartition, OffsetSpec], isolation: Isolation = "read_committed"
    ) -> Future[Mapping[TopicPartition, NextOffset]]:
        """Where these stand."""
        level = IsolationLevel.READ_COMMITTED if isolation == "read_committed" else IsolationLevel.READ_UNCOMMITTED
        what = f"reading offsets at {self._description}"
        asked = self._client.list_offsets(
            {records.kafka_partitions([one])[0]: _spec(spec) for one, spec in specs.items()},
            isolation_level=level,
            request_timeout=REQUEST_S,
        )
        gathered: Future[Mapping[TopicPartition, NextOffset]] = Future()
        found: dict[TopicPartition, NextOffset] = {}
        late: list[TopicPartition] = []
        left = len(asked)

        def take(partition: TopicPartition, done: Future[ListOffsetsResultInfo]) -> None:
            # All callbacks run one after the other on the client's one thread.
            nonlocal left
            left -= 1
            try:
                offset = done.result().offset
            except KafkaException as error:
                if not gathered.done():
                    gathered.set_exception(from_exception(error, what))
                return
            if offset < 0:
                late.append(partition)  # nothing at or after the time: the end
            found[partition] = NextOffset(offset)
            if left == 0 and not gathered.done():
                self._add_ends(found, late, isolation, gathered)

        for key, future in asked.items():
            partition = records.partition(key)
            future.add_done_callback(partial(take, partition))
        return gathered

    def _add_ends(
        self,
        found: dict[TopicPartition, NextOffset],
        late: Sequence[TopicPartition],
        isolation: Isolation,
        gathered: Future[Mapping[TopicPartition, NextOffset]],
    ) -> None:
        if not late:
            gathered.set_result(found)
            return

        def take(done: Future[Mapping[TopicPartition, NextOffset]]) -> None:
            try:
                gathered.set_result({**found, **done.result()})
            except BrokerError as error:
                gathered.set_exception(error)

        self.list_offsets(dict.fromkeys(late, Latest()), isolation).add_done_callback(take)

    # Operations: these block

    def describe_topics(self, topics: Sequence[str], timeout_s: float) -> Mapping[str, TopicInfo | None]:
        """Each topic as it is."""
        if not topics:
            return {}
        asked = self._client.describe_topics(TopicCollection(list(topics)), request_timeout=timeout_s)
        return {name: self._topic(name, future, timeout_s) for name, future in asked.items()}

    def _topic(self, name: str, future: Future[TopicDescription], timeout_s: float) -> TopicInfo | None:
        try:
            found = self._answer(future, timeout_s, f"describing topic {name}")
        except BrokerError as error:
            if error.code == "UNKNOWN_TOPIC_OR_PART":
                return None
            raise
        replicas = min((len(partition.replicas) for partition in found.partitions), default=0)
        return TopicInfo(name, str(found.topic_id), len(found.partitions), replicas)

    def list_topics(self, timeout_s: float) -> Sequence[str]:
        """All topics but internal ones."""
        try:
            found = self._client.list_topics(timeout=timeout_s)
        except KafkaException as error:
            raise self._typed(error, "listing topics") from error
        return sorted(name for name in found.topics if not name.startswith("__"))

    def create_topic(self, spec: TopicSpec, timeout_s: float) -> bool:
        """Create it and wait until all its partitions have leaders."""
        deadline = Deadline(SystemClock(), timeout_s)
        new = NewTopic(
            spec.name, spec.partitions, -1 if spec.replication_factor is None else spec.replication_factor,
            config=dict(spec.config),
        )  # fmt: skip
        asked = self._client.create_topics([new], operation_timeout=timeout_s, request_timeout=timeout_s)
        try:
            self._answer(asked[spec.name], timeout_s, f"creating topic {spec.name}")
        except BrokerError as error:
            if error.code == "TOPIC_ALREADY_EXISTS":
                return False
            raise
        self._await_leaders(spec.name, spec.partitions, deadline)
        return True

    def delete_topics(self, topics: Sequence[str], timeout_s: float) -> None:
        """Delete them."""
        if not topics:
            return
        asked = self._client.delete_topics(list(topics), operation_timeout=timeout_s, request_timeout=timeout_s)
        for name, future in asked.items():
            try:
                self._answer(future, timeout_s, f"deleting topic {name}")
            except BrokerError as error:
                if error.code != "UNKNOWN_TOPIC_OR_PART":
                    raise

    def add_partitions(self, topic: str, total: int, timeout_s: float) -> None:
        """Grow a topic and wait until all its partitions have leaders."""
        deadline = Deadline(SystemClock(), timeout_s)
        found = self.describe_topics([topic], timeout_s)[topic]
        if found is None or found.partitions < total:
            asked = self._client.create_partitions([NewPartitions(topic, total)], request_timeout=timeout_s)
            self._answer(asked[topic], timeout_s, f"growing topic {topic} to {total} partitions")
        self._await_leaders(topic, total, deadline)

    def _await_leaders(self, topic: str, partitions: int, deadline: Deadline) -> None:
        """Creation returns before every broker knows of it."""
        clock = SystemClock()
        while not deadline.expired():
            try:
                found = self._client.list_topics(topic, timeout=max(0.1, deadline.remaining_s())).topics[topic]
            except KafkaException as error:
                raise self._typed(error, f"waiting for topic {topic}") from error
            leaders = sum(one.leader >= 0 and one.error is None for one in found.partitions.values())
            if leaders >= partitions:
                return
            clock.sleep(_SETTLED_S)
        raise RetriableError(f"topic {topic}: its {partitions} partitions have no leaders yet at {self._description}")

    def topic_config(self, topic: str, timeout_s: float) -> Mapping[str, str]:
        """All settings of a topic."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        asked = self._client.describe_configs([resource], request_timeout=timeout_s)
        entries = self._answer(
            cast("Future[dict[str, ConfigEntry]]", asked[resource]), timeout_s, f"reading the settings of topic {topic}"
        )
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}

    def alter_topic_config(self, topic: str, changes: Mapping[str, str], timeout_s: float) -> None:
        """Set these settings."""
        resource = ConfigResource(
            ResourceType.TOPIC,
            topic,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in changes.items()
            ],
        )
        asked = self._client.incremental_alter_configs([resource], request_timeout=timeout_s)
        self._answer(asked[resource], timeout_s, f"changing the settings of topic {topic}")

    def list_groups(self, timeout_s: float) -> Sequence[str]:
        """All groups."""
        found = self._answer(
            self._client.list_consumer_groups(request_timeout=timeout_s), timeout_s, "listing consumer groups"
        )
        return sorted(group.group_id for group in found.valid)

    def describe_group(self, group: str, timeout_s: float) -> GroupInfo | None:
        """The group as its coordinator sees it."""
        asked = self._client.describe_consumer_groups([group], request_timeout=timeout_s)
        try:
            found = self._answer(asked[group], timeout_s, f"describing group {group}")
        except BrokerError as error:
            if error.code == "GROUP_ID_NOT_FOUND":
                return None
            raise
        state = found.state.name.title().replace("_", "")
        members = tuple(_member(member) for member in found.members)
        if state == "Dead" and not members:
            return None
        return GroupInfo(group, state, found.type.name.lower(), members)

    def set_group_offsets(self, group: str, points: Mapping[TopicPartition, CommitPoint], timeout_s: float) -> None:
        """Commit for a group without members."""
        request = [ConsumerGroupTopicPartitions(group, records.kafka_points(points))]
        what = f"setting the offsets of group {group}"
        asked = self._client.alter_consumer_group_offsets(request, request_timeout=timeout_s)
        answer = self._answer(asked[group], timeout_s, what, may_have_happened=True)
        for each in answer.topic_partitions or ():
            if each.error is not None:
                raise to_error(each.error, what)

    def delete_group(self, group: str, timeout_s: float) -> None:
        """Forget a group."""
        asked = self._client.delete_consumer_groups([group], request_timeout=timeout_s)
        try:
            self._answer(asked[group], timeout_s, f"deleting group {group}")
        except BrokerError as error:
            if error.code != "GROUP_ID_NOT_FOUND":
                raise

    def close(self) -> None:
        """librdkafka's admin client ends with its last reference."""

    def _answer(self, future: Future[T], timeout_s: float, what: str, *, may_have_happened: bool = False) -> T:
        try:
            return future.result(timeout_s + 1.0)
        except KafkaException as error:
            raise self._typed(error, what, may_have_happened=may_have_happened) from error
        except FutureTimeoutError:
            kind = OutcomeUnknownError if may_have_happened else RetriableError
            raise kind(f"{what}: no answer from {self._description} within {timeout_s:g} s") from None

    def _typed(self, error: KafkaException, what: str, *, may_have_happened: bool = False) -> BrokerError:
        return from_exception(error, f"{what} at {self._description}", may_have_happened=may_have_happened)


def _mapped(asked: Future[T], read: Callable[[T], R], what: str) -> Future[R]:
    """The same answer in our words, without blocking."""
    answer: Future[R] = Future()

    def take(done: Future[T]) -> None:
        try:
            answer.set_result(read(done.result()))
        except KafkaException as error:
            answer.set_exception(from_exception(error, what))
        except BrokerError as error:
            answer.set_exception(error)

    asked.add_done_callback(take)
    return answer


def _spec(spec: OffsetSpec) -> KafkaOffsetSpec:
    match spec:
        case Earliest():
            return cast("KafkaOffsetSpec", KafkaOffsetSpec.earliest())
        case Latest():
            return cast("KafkaOffsetSpec", KafkaOffsetSpec.latest())
        case AtTime(timestamp_ms):
            return cast("KafkaOffsetSpec", KafkaOffsetSpec.for_timestamp(timestamp_ms))


def _member(member: _Member) -> MemberInfo:
    assigned = getattr(member.assignment, "topic_partitions", None) or ()
    return MemberInfo(
        member.member_id,
        member.client_id,
        member.host,
        member.group_instance_id or None,
        tuple(sorted(records.partitions(assigned))),
    )
