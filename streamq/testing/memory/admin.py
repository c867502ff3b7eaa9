"""Questions to the in-memory cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Final, TypeVar, assert_never

from streamq.model.errors import BrokerError, FatalBrokerError, RetriableError
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
from streamq.testing.memory.faults import HANG, AdminCall
from streamq.testing.memory.topics import check_config
from streamq.testing.memory.world import World

T = TypeVar("T")
REQUEST_S: Final = 10.0
"""How long a question that is asked in a loop may take before it counts as unanswered."""


class MemoryAdmin:
    """See `AdminPort`."""

    def __init__(self, world: World) -> None:
        self._world = world

    # Asked in the owner's loop

    def group_offsets(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> Future[Mapping[TopicPartition, CommitPoint | None]]:
        """Committed offsets with their metadata."""
        wanted = list(partitions)

        def ask() -> Mapping[TopicPartition, CommitPoint | None]:
            committed = self._world.groups.offsets(group)
            undecided = self._world.groups.undecided(group)
            return {partition: committed.get(partition) for partition in wanted if partition not in undecided}

        return self._asked("group_offsets", f"reading the offsets of group {group}", ask)

    def list_offsets(
        self, specs: Mapping[TopicPartition, OffsetSpec], isolation: Isolation = "read_committed"
    ) -> Future[Mapping[TopicPartition, NextOffset]]:
        """Where these stand."""
        wanted = dict(specs)

        def ask() -> Mapping[TopicPartition, NextOffset]:
            return {partition: self._offset(partition, spec, isolation) for partition, spec in wanted.items()}

        return self._asked("list_offsets", "reading offsets", ask)

    def _offset(self, partition: TopicPartition, spec: OffsetSpec, isolation: Isolation) -> NextOffset:
        log = self._world.topics.log(partition)
        if log is None:
            raise RetriableError(f"{partition} does not exist", code="UNKNOWN_TOPIC_OR_PART")
        match spec:
            case Earliest():
                return log.start
            case Latest():
                return log.end_for(isolation)
            case AtTime(timestamp_ms):
                return min(log.first_at(timestamp_ms), log.end_for(isolation))
            case _:
                assert_never(spec)

    def delete_records(
        self, before: Mapping[TopicPartition, NextOffset]
    ) -> Future[Mapping[TopicPartition, NextOffset | BrokerError]]:
        """Delete what is below."""
        wanted = dict(before)

        def ask() -> Mapping[TopicPartition, NextOffset | BrokerError]:
            found = {partition: self._deleted(partition, offset) for partition, offset in wanted.items()}
            self._world.changed()
            return found

        return self._asked("delete_records", "deleting records", ask)

    def _deleted(self, partition: TopicPartition, before: NextOffset) -> NextOffset | BrokerError:
        log = self._world.topics.log(partition)
        if log is None:
            return RetriableError(f"{partition} does not exist", code="UNKNOWN_TOPIC_OR_PART")
        if before > log.end:
            return FatalBrokerError(f"{partition} ends at {log.end}, before {before}", code="OFFSET_OUT_OF_RANGE")
        log.delete_before(before)
        return log.start

    # Operations: these block

    def describe_topics(self, topics: Sequence[str], timeout_s: float) -> Mapping[str, TopicInfo | None]:
        """Each topic as it is."""

        def ask() -> Mapping[str, TopicInfo | None]:
            found = {name: self._world.topics.get(name) for name in topics}
            return {name: None if topic is None else topic.info for name, topic in found.items()}

        return self._ask("describe_topics", "describing topics", timeout_s, ask)

    def list_topics(self, timeout_s: float) -> Sequence[str]:
        """All topics but internal ones."""
        return self._ask(
            "list_topics",
            "listing topics",
            timeout_s,
            lambda: [name for name in self._world.topics if not name.startswith("__")],
        )

    def create_topic(self, spec: TopicSpec, timeout_s: float) -> bool:
        """Create it."""
        return self._changing(
            "create_topic", f"creating topic {spec.name}", timeout_s, lambda: self._world.topics.create(spec)
        )

    def delete_topics(self, topics: Sequence[str], timeout_s: float) -> None:
        """Delete them."""

        def ask() -> None:
            for name in topics:
                self._world.topics.delete(name)

        self._changing("delete_topics", "deleting topics", timeout_s, ask)

    def add_partitions(self, topic: str, total: int, timeout_s: float) -> None:
        """Grow a topic."""
        self._changing(
            "add_partitions",
            f"growing topic {topic} to {total} partitions",
            timeout_s,
            lambda: self._world.topics.grow(topic, total),
        )

    def topic_config(self, topic: str, timeout_s: float) -> Mapping[str, str]:
        """All settings of a topic."""
        return self._ask(
            "topic_config",
            f"reading the settings of topic {topic}",
            timeout_s,
            lambda: dict(self._world.topics.existing(topic).config),
        )

    def alter_topic_config(self, topic: str, changes: Mapping[str, str], timeout_s: float) -> None:
        """Set these settings."""

        def ask() -> None:
            found = self._world.topics.existing(topic)
            check_config(topic, changes)
            found.config.update(changes)

        self._ask("alter_topic_config", f"changing the settings of topic {topic}", timeout_s, ask)

    def list_groups(self, timeout_s: float) -> Sequence[str]:
        """All groups."""
        return self._ask("list_groups", "listing consumer groups", timeout_s, self._world.groups.names)

    def describe_group(self, group: str, timeout_s: float) -> GroupInfo | None:
        """The group as its coordinator sees it."""
        return self._ask(
            "describe_group", f"describing group {group}", timeout_s, lambda: self._world.groups.describe(group)
        )

    def set_group_offsets(self, group: str, points: Mapping[TopicPartition, CommitPoint], timeout_s: float) -> None:
        """Commit for a group without members."""
        self._ask(
            "set_group_offsets",
            f"setting the offsets of group {group}",
            timeout_s,
            lambda: self._world.groups.set_offsets(group, points),
        )

    def delete_group(self, group: str, timeout_s: float) -> None:
        """Forget a group."""
        self._ask("delete_group", f"deleting group {group}", timeout_s, lambda: self._world.groups.delete(group))

    def close(self) -> None:
        """Nothing is held."""

    # How an answer comes

    def _asked(self, call: AdminCall, what: str, ask: Callable[[], T]) -> Future[T]:
        world = self._world
        fault = world.faults.next_admin(call)
        delay_s = fault.delay_s if fault is not None else 0.0

        def arrive() -> T:
            if fault is not None and fault.error is not None:
                raise fault.error
            if delay_s == HANG:
                raise RetriableError(f"{what}: no answer within {REQUEST_S:g} s", code="_TIMED_OUT")
            with world.lock:
                world.run_due()
                world.check_reachable(what)
                return ask()

        return world.answer(REQUEST_S if delay_s == HANG else delay_s, arrive)

    def _ask(self, call: AdminCall, what: str, timeout_s: float, ask: Callable[[], T]) -> T:
        world = self._world
        fault = world.faults.next_admin(call)
        if fault is not None and fault.delay_s > 0.0:
            world.clock.sleep(min(fault.delay_s, timeout_s))
            if fault.delay_s > timeout_s:
                raise RetriableError(f"{what}: no answer within {timeout_s:g} s", code="_TIMED_OUT")
        if fault is not None and fault.error is not None:
            raise fault.error
        world.run_due()
        with world.lock:
            world.check_reachable(what)
            return ask()

    def _changing(self, call: AdminCall, what: str, timeout_s: float, ask: Callable[[], T]) -> T:
        """The groups hear of it, as their clients' metadata would tell."""

        def ask_and_tell() -> T:
            answer = ask()
            self._world.groups.topics_changed()
            return answer

        answer = self._ask(call, what, timeout_s, ask_and_tell)
        self._world.changed()
        return answer
