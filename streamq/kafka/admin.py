"""Questions to the cluster, over librdkafka's admin client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final, cast

from confluent_kafka import (
    IsolationLevel,
    KafkaException,
    Node,
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
from streamq.kafka.answers import answered, gathered, typed
from streamq.kafka.deletion import delete_records
from streamq.kafka.group_offsets import GroupOffsets
from streamq.kafka.groups import GroupAdmin
from streamq.kafka.handle import AdminHandle
from streamq.kafka.settings import Settings
from streamq.model.clock import Clock, Deadline, SystemClock
from streamq.model.errors import BrokerError, RetriableError
from streamq.model.ports import Isolation
from streamq.model.records import (
    AtTime,
    CommitPoint,
    Earliest,
    GroupInfo,
    Latest,
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


class KafkaAdmin:
    """See `AdminPort`. Questions are answered on librdkafka's threads, and futures complete there."""

    def __init__(self, settings: Settings, description: str, clock: Clock | None = None, *, reader: Settings) -> None:
        self._description = description
        self._offsets = GroupOffsets(reader, description, REQUEST_S)
        self._clock = clock or SystemClock()
        self._handle = AdminHandle(settings, description)
        self._groups = GroupAdmin(self._handle, self._clock)

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
        wanted = {records.kafka_partitions([one])[0]: _spec(spec) for one, spec in specs.items()}

        def ask(client: AdminClient) -> Future[dict[TopicPartition, ListOffsetsResultInfo]]:
            asked = client.list_offsets(wanted, isolation_level=level, request_timeout=REQUEST_S)
            return gathered({records.partition(each): future for each, future in asked.items()})

        answer: Future[Mapping[TopicPartition, NextOffset]] = Future()

        def take(done: Future[dict[TopicPartition, ListOffsetsResultInfo]]) -> None:
            error = done.exception()
            if error is not None:
                answer.set_exception(typed(error, f"reading offsets at {self._description}"))
                return
            found = {one: NextOffset(info.offset) for one, info in done.result().items()}
            late = [one for one, offset in found.items() if offset < 0]
            self._with_ends(found, late, isolation, answer)

        self._handle.ask(ask).add_done_callback(take)
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

    def delete_records(
        self, before: Mapping[TopicPartition, NextOffset]
    ) -> Future[Mapping[TopicPartition, NextOffset | BrokerError]]:
        """Delete what is below."""
        if not before:
            return answered({})
        return delete_records(self._handle, before, REQUEST_S)

    # Operations: these block

    def describe_topics(self, topics: Sequence[str], timeout_s: float) -> Mapping[str, TopicInfo | None]:
        """Each topic as it is."""
        if not topics:
            return {}
        return {name: self._topic(name, timeout_s) for name in topics}

    def _topic(self, name: str, timeout_s: float) -> TopicInfo | None:
        try:
            found = self._describe(name, timeout_s, f"describing topic {name}")
        except BrokerError as error:
            if error.code == "UNKNOWN_TOPIC_OR_PART":
                return None
            raise
        replicas = min((len(partition.replicas) for partition in found.partitions), default=0)
        return TopicInfo(name, str(found.topic_id), len(found.partitions), replicas)

    def _describe(self, name: str, timeout_s: float, what: str) -> TopicDescription:
        return self._handle.answer(
            lambda client: cast(
                "Future[TopicDescription]",
                client.describe_topics(TopicCollection([name]), request_timeout=timeout_s)[name],
            ),
            timeout_s,
            what,
        )

    def list_topics(self, timeout_s: float) -> Sequence[str]:
        """All topics but internal ones."""
        try:
            found = self._handle.client.list_topics(timeout=timeout_s)
        except KafkaException as error:
            raise self._handle.typed(error, "listing topics") from error
        except RuntimeError as error:  # the client was ended meanwhile, for want of an answer to another question
            raise RetriableError(f"listing topics at {self._description}: {error}") from error
        ours = {name for name in found.topics if not name.startswith(_INTERNAL)}
        for name in found.topics:
            if name.startswith(_INTERNAL) and not self._describe(name, timeout_s, f"describing {name}").is_internal:
                ours.add(name)
        return sorted(ours)

    def create_topic(self, spec: TopicSpec, timeout_s: float) -> bool:
        """Create it and wait until all its partitions have leaders."""
        deadline = Deadline(self._clock, timeout_s)
        new = NewTopic(
            spec.name, spec.partitions, -1 if spec.replication_factor is None else spec.replication_factor,
            config=dict(spec.config),
        )  # fmt: skip
        try:
            self._handle.answer(
                lambda client: client.create_topics([new], operation_timeout=timeout_s, request_timeout=timeout_s)[
                    spec.name
                ],
                timeout_s,
                f"creating topic {spec.name}",
            )
        except BrokerError as error:
            if error.code == "TOPIC_ALREADY_EXISTS":
                return False
            raise
        self._await_leaders(spec.name, spec.partitions, deadline)
        return True

    def delete_topics(self, topics: Sequence[str], timeout_s: float) -> None:
        """Delete them."""
        for name in topics:
            self._delete_topic(name, timeout_s)

    def _delete_topic(self, name: str, timeout_s: float) -> None:
        try:
            self._handle.answer(
                lambda client: client.delete_topics([name], operation_timeout=timeout_s, request_timeout=timeout_s)[
                    name
                ],
                timeout_s,
                f"deleting topic {name}",
            )
        except BrokerError as error:
            if error.code != "UNKNOWN_TOPIC_OR_PART":
                raise

    def add_partitions(self, topic: str, total: int, timeout_s: float) -> None:
        """Grow a topic and wait until all its partitions have leaders."""
        deadline = Deadline(self._clock, timeout_s)
        found = self.describe_topics([topic], timeout_s)[topic]
        if found is None or found.partitions < total:
            self._handle.answer(
                lambda client: client.create_partitions([NewPartitions(topic, total)], request_timeout=timeout_s)[
                    topic
                ],
                timeout_s,
                f"growing topic {topic} to {total} partitions",
            )
        self._await_leaders(topic, total, deadline)

    def _await_leaders(self, topic: str, partitions: int, deadline: Deadline) -> None:
        """Creation returns before every broker knows of it."""
        while True:
            try:
                found = self._describe(topic, deadline.remaining_s() + _LOOK_AGAIN_S, f"waiting for topic {topic}")
                if sum(_has_leader(one.leader) for one in found.partitions) >= partitions:
                    self._ask_leaders(topic, partitions, deadline)
                    return
            except RetriableError:  # unknown yet, no leader yet, a leader's epoch not known everywhere, …
                if deadline.expired():
                    raise
            if deadline.expired():
                raise RetriableError(
                    f"topic {topic}: not all of its {partitions} partitions have a leader yet at {self._description}"
                )
            self._clock.sleep(min(_LOOK_AGAIN_S, deadline.remaining_s()))

    def _ask_leaders(self, topic: str, partitions: int, deadline: Deadline) -> None:
        """A leader may be named before it knows that it leads: it is asked for the end of its log.

        Raises:
            RetriableError: not yet.
        """
        every: dict[TopicPartition, OffsetSpec] = {TopicPartition(topic, at): Latest() for at in range(partitions)}
        try:
            self.list_offsets(every).result(deadline.remaining_s() + _LOOK_AGAIN_S)
        except FutureTimeoutError:
            raise RetriableError(
                f"topic {topic}: its leaders do not answer yet", code="NOT_LEADER_FOR_PARTITION"
            ) from None

    def topic_config(self, topic: str, timeout_s: float) -> Mapping[str, str]:
        """All settings of a topic."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = self._handle.answer(
            lambda client: cast(
                "Future[dict[str, ConfigEntry]]",
                client.describe_configs([resource], request_timeout=timeout_s)[resource],
            ),
            timeout_s,
            f"reading the settings of topic {topic}",
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
        self._handle.answer(
            lambda client: client.incremental_alter_configs([resource], request_timeout=timeout_s)[resource],
            timeout_s,
            f"changing the settings of topic {topic}",
        )

    def list_groups(self, timeout_s: float) -> Sequence[str]:
        """All groups."""
        return self._groups.names(timeout_s)

    def describe_group(self, group: str, timeout_s: float) -> GroupInfo | None:
        """The group as its coordinator sees it."""
        return self._groups.describe(group, timeout_s)

    def set_group_offsets(self, group: str, points: Mapping[TopicPartition, CommitPoint], timeout_s: float) -> None:
        """Commit for a group without members."""
        self._groups.set_offsets(group, points, timeout_s)

    def delete_group(self, group: str, timeout_s: float) -> None:
        """Forget a group."""
        self._groups.delete(group, timeout_s)

    def close(self) -> None:
        """Release the connections."""
        self._offsets.close()
        self._handle.close()


def _has_leader(leader: Node | None) -> bool:
    """None, or a node without a number, where there is none; the client's types know neither."""
    return leader is not None and leader.id >= 0


def _spec(spec: OffsetSpec) -> KafkaOffsetSpec:
    match spec:
        case Earliest():
            return cast("KafkaOffsetSpec", KafkaOffsetSpec.earliest())
        case Latest():
            return cast("KafkaOffsetSpec", KafkaOffsetSpec.latest())
        case AtTime(timestamp_ms):
            return cast("KafkaOffsetSpec", KafkaOffsetSpec.for_timestamp(timestamp_ms))
