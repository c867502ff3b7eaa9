"""Questions to the cluster, over librdkafka's admin client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final, Protocol, TypeVar, cast

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import ListOffsetsResultInfo
from confluent_kafka.admin._listoffsets import OffsetSpec as KafkaOffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.admin._topic import TopicDescription
from confluent_kafka.cimpl import NewPartitions, NewTopic

from streamq.kafka import records
from streamq.kafka.answers import answered, gathered
from streamq.kafka.commits import parts
from streamq.kafka.errors import config_error, from_exception, to_error
from streamq.kafka.group_offsets import GroupOffsets
from streamq.kafka.logs import LibrdkafkaLog
from streamq.kafka.settings import Settings
from streamq.model.clock import Clock, Deadline, SystemClock
from streamq.model.errors import BrokerError, FatalBrokerError, OutcomeUnknownError, RetriableError
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

REQUEST_S: Final = 10.0
"""How long a question that is asked in the owner's loop may take before it counts as unanswered."""
_LOOK_AGAIN_S: Final = 0.05
_INTERNAL: Final = "__"
_CREDENTIALS: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})
# Kafka's own words; the client knows no more than these.
_STATES: Final[Mapping[ConsumerGroupState, str]] = {
    ConsumerGroupState.PREPARING_REBALANCING: "PreparingRebalance",
    ConsumerGroupState.COMPLETING_REBALANCING: "CompletingRebalance",
    ConsumerGroupState.STABLE: "Stable",
    ConsumerGroupState.DEAD: "Dead",
    ConsumerGroupState.EMPTY: "Empty",
}
T = TypeVar("T")


class _Member(Protocol):
    """What the client tells of a group's member."""

    member_id: str
    client_id: str
    host: str
    group_instance_id: str | None
    assignment: object


class KafkaAdmin:
    """See `AdminPort`. Questions are answered on librdkafka's threads, and futures complete there."""

    def __init__(self, settings: Settings, description: str, clock: Clock | None = None, *, reader: Settings) -> None:
        self._description = description
        self._offsets = GroupOffsets(reader, description, REQUEST_S)
        self._clock = clock or SystemClock()
        self._connection_error: KafkaError | None = None
        try:
            self._client = AdminClient({**settings, "error_cb": self._note}, logger=LibrdkafkaLog())  # type: ignore[dict-item]  # the stub knows no callbacks, the client takes them
        except (KafkaException, ValueError, TypeError) as error:
            raise config_error(error, settings) from error

    # Asked in the owner's loop

    def group_offsets(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> Future[Mapping[TopicPartition, CommitPoint | None]]:
        """Committed offsets with their metadata."""
        nothing: Mapping[TopicPartition, CommitPoint | None] = {}
        if not partitions:
            return answered(nothing)
        return self._offsets.ask(group, partitions)

    def list_offsets(
        self, specs: Mapping[TopicPartition, OffsetSpec], isolation: Isolation = "read_committed"
    ) -> Future[Mapping[TopicPartition, NextOffset]]:
        """Where these stand. A time that nothing was written at or after takes a second question, for the end."""
        nothing: Mapping[TopicPartition, NextOffset] = {}
        if not specs:
            return answered(nothing)
        level = IsolationLevel.READ_COMMITTED if isolation == "read_committed" else IsolationLevel.READ_UNCOMMITTED
        asked = self._client.list_offsets(
            {records.kafka_partitions([one])[0]: _spec(spec) for one, spec in specs.items()},
            isolation_level=level,
            request_timeout=REQUEST_S,
        )
        futures = {records.partition(each): future for each, future in asked.items()}
        answer: Future[Mapping[TopicPartition, NextOffset]] = Future()

        def take(done: Future[dict[TopicPartition, ListOffsetsResultInfo]]) -> None:
            error = done.exception()
            if error is not None:
                answer.set_exception(error)
                return
            found = {one: NextOffset(info.offset) for one, info in done.result().items()}
            late = [one for one, offset in found.items() if offset < 0]
            self._with_ends(found, late, isolation, answer)

        gathered(futures, f"reading offsets at {self._description}").add_done_callback(take)
        return answer

    def _with_ends(
        self,
        found: dict[TopicPartition, NextOffset],
        late: Sequence[TopicPartition],
        isolation: Isolation,
        answer: Future[Mapping[TopicPartition, NextOffset]],
    ) -> None:
        def take(done: Future[Mapping[TopicPartition, NextOffset]]) -> None:
            error = done.exception()
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result({**found, **done.result()})

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
        ours = {name for name in found.topics if not name.startswith(_INTERNAL)}
        maybe = [name for name in found.topics if name.startswith(_INTERNAL)]
        if maybe:
            asked = self._client.describe_topics(TopicCollection(maybe), request_timeout=timeout_s)
            for name, future in asked.items():
                if not self._answer(future, timeout_s, f"describing topic {name}").is_internal:
                    ours.add(name)
        return sorted(ours)

    def create_topic(self, spec: TopicSpec, timeout_s: float) -> bool:
        """Create it and wait until all its partitions have leaders."""
        deadline = Deadline(self._clock, timeout_s)
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
        deadline = Deadline(self._clock, timeout_s)
        found = self.describe_topics([topic], timeout_s)[topic]
        if found is None or found.partitions < total:
            asked = self._client.create_partitions([NewPartitions(topic, total)], request_timeout=timeout_s)
            self._answer(asked[topic], timeout_s, f"growing topic {topic} to {total} partitions")
        self._await_leaders(topic, total, deadline)

    def _await_leaders(self, topic: str, partitions: int, deadline: Deadline) -> None:
        """Creation returns before every broker knows of it."""
        while True:
            asked = self._client.describe_topics(TopicCollection([topic]), request_timeout=deadline.remaining_s() + 0.1)
            try:
                found = self._answer(asked[topic], deadline.remaining_s(), f"waiting for topic {topic}")
                if sum(one.leader is not None and one.leader.id >= 0 for one in found.partitions) >= partitions:
                    return
            except RetriableError as error:
                if error.code != "UNKNOWN_TOPIC_OR_PART":
                    raise
            if deadline.expired():
                raise RetriableError(
                    f"topic {topic}: not all of its {partitions} partitions have a leader yet at {self._description}"
                )
            self._clock.sleep(min(_LOOK_AGAIN_S, deadline.remaining_s()))

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
        what = "listing consumer groups"
        found = self._answer(self._client.list_consumer_groups(request_timeout=timeout_s), timeout_s, what)
        for error in found.errors or ():
            raise self._typed(KafkaException(error), what)
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
        members = tuple(_member(member) for member in found.members)
        if found.state == ConsumerGroupState.DEAD and not members:
            return None
        # Under KIP-848 there are two more, Assigning and Reconciling, which the client does not know.
        state = _STATES.get(found.state, "Reconciling" if members else "Unknown")
        return GroupInfo(group, state, found.type.name.lower(), members)

    def set_group_offsets(self, group: str, points: Mapping[TopicPartition, CommitPoint], timeout_s: float) -> None:
        """Commit for a group without members, in parts where it is large."""
        what = f"setting the offsets of group {group}"
        for part in parts(points):
            if not part:
                continue
            request = [ConsumerGroupTopicPartitions(group, records.kafka_points(part))]
            asked = self._client.alter_consumer_group_offsets(request, request_timeout=timeout_s)
            answer = self._answer(asked[group], timeout_s, what, may_have_happened=True)
            for each in answer.topic_partitions or ():
                if each.error is not None:
                    raise to_error(each.error, f"{what}: {records.partition(each)}")

    def delete_group(self, group: str, timeout_s: float) -> None:
        """Forget a group."""
        asked = self._client.delete_consumer_groups([group], request_timeout=timeout_s)
        try:
            self._answer(asked[group], timeout_s, f"deleting group {group}")
        except BrokerError as error:
            if error.code != "GROUP_ID_NOT_FOUND":
                raise

    def close(self) -> None:
        """End the connections; librdkafka's admin client itself ends with its last reference."""
        self._offsets.close()

    def _answer(self, future: Future[T], timeout_s: float, what: str, *, may_have_happened: bool = False) -> T:
        try:
            return future.result(timeout_s + 1.0)
        except KafkaException as error:
            raise self._typed(error, what, may_have_happened=may_have_happened) from error
        except FutureTimeoutError:
            kind = OutcomeUnknownError if may_have_happened else RetriableError
            raise kind(f"{what}: no answer from {self._description} within {timeout_s:g} s") from None

    def _typed(self, error: KafkaException, what: str, *, may_have_happened: bool = False) -> BrokerError:
        """The error, with what the client last said of its connection. Wrong credentials are told from brokers that
        are away: nobody needs to wait for those."""
        seen = self._last_seen()
        where = f"{what} at {self._description}"
        if seen is None:
            return from_exception(error, where, may_have_happened=may_have_happened)
        if seen.code() in _CREDENTIALS:
            return FatalBrokerError(str(to_error(seen, where)), code=seen.name())
        return from_exception(error, f"{where} ({seen.str()})", may_have_happened=may_have_happened)

    def _last_seen(self) -> KafkaError | None:
        self._client.poll(0)  # calls `_note` for what has piled up since the last question that failed
        seen, self._connection_error = self._connection_error, None
        return seen

    def _note(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`. That all brokers are down says less than what it says of one."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._connection_error = error


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
