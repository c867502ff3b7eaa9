"""What an app's topics should be, what they are, and the command that mends each difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from streamq.model.clock import Clock
from streamq.model.ports import AdminPort, ReaderPort
from streamq.model.records import TopicInfo, TopicSpec
from streamq.ops.asking import TIMEOUT_S
from streamq.ops.orphans import orphans
from streamq.ops.topics import (
    create_command,
    derived_spec,
    derived_topics,
    grow_command,
    growth_note,
    replicate_command,
)
from streamq.tasks.processor import Processor
from streamq.tasks.topic import AnyTopic


class Status(msgspec.Struct, frozen=True):
    """One topic of an app. `partitions=None`: it does not exist."""

    topic: str
    purpose: str
    partitions: int | None
    wanted_partitions: int
    replication_factor: int | None


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not as it should be. `command` mends it; empty where that is not for a command to decide.
    `note` is what to know before."""

    topic: str
    what: str
    found: str
    wanted: str
    command: str
    note: str = ""


class Wanted(msgspec.Struct, frozen=True):
    """A topic as an app needs it, and what for. `read`: processors work on it."""

    spec: TopicSpec
    purpose: str
    read: bool = False


def wanted(admin: AdminPort, topics: Iterable[AnyTopic], processors: Iterable[Processor]) -> Sequence[Wanted]:
    """All topics of an app: those it declares, then those that follow from its processors. Blocks."""
    processors = list(processors)
    sources = {one.topic.name for one in processors}
    declared = [Wanted(topic.spec, "declared", topic.name in sources) for topic in topics]
    derived = []
    for processor in processors:
        source, config = _source(admin, processor.topic.spec)
        for one in derived_topics(processor):
            derived.append(Wanted(derived_spec(one.name, source, config), f"{one.holds} of {processor.name}"))
    return [*declared, *derived]


def _source(admin: AdminPort, spec: TopicSpec) -> tuple[TopicInfo, Mapping[str, str]]:
    found = admin.describe_topics([spec.name], TIMEOUT_S)[spec.name]
    if found is None:  # as it will be when it is created
        return TopicInfo(spec.name, "", spec.partitions, spec.replication_factor or -1), spec.config
    return found, admin.topic_config(spec.name, TIMEOUT_S)


def status(admin: AdminPort, topics: Sequence[Wanted]) -> Sequence[Status]:
    """Each topic as it is. Blocks."""
    found = admin.describe_topics([one.spec.name for one in topics], TIMEOUT_S)
    rows = []
    for one in topics:
        there = found[one.spec.name]
        rows.append(
            Status(
                one.spec.name,
                one.purpose,
                None if there is None else there.partitions,
                one.spec.partitions,
                None if there is None else there.replication_factor,
            )
        )
    return rows


Done = Literal["created", "extended", "there already"]


def create(admin: AdminPort, topics: Iterable[AnyTopic], processors: Iterable[Processor]) -> dict[str, Done]:
    """Create what is missing, and give a derived topic the partitions that it lacks. What was done, by name.
    Blocks. A declared topic is never extended: its keys would move to other partitions."""
    done = {topic.name: _created(admin, topic.spec) for topic in topics}
    # What is derived follows its source's settings: they are asked for once the source is there.
    for one in wanted(admin, (), processors):
        spec = creatable(one.spec)
        done[spec.name] = _created(admin, spec)
        there = admin.describe_topics([spec.name], TIMEOUT_S)[spec.name]
        if there is not None and there.partitions < spec.partitions:
            admin.add_partitions(spec.name, spec.partitions, 3 * TIMEOUT_S)
            done[spec.name] = "extended"
    return done


def _created(admin: AdminPort, spec: TopicSpec) -> Done:
    return "created" if admin.create_topic(spec, 3 * TIMEOUT_S) else "there already"


def pending(admin: AdminPort, topics: Iterable[AnyTopic], processors: Iterable[Processor]) -> Sequence[Difference]:
    """The differences that `create` would mend now. Blocks."""
    declared = list(topics)
    names = {topic.name for topic in declared}
    return [
        one
        for one in differences(admin, wanted(admin, declared, processors))
        if one.what == "topic" or (one.what == "partitions" and one.topic not in names)
    ]


def creatable(spec: TopicSpec) -> TopicSpec:
    """The same topic with the broker's default replication factor where no better one is known."""
    factor = spec.replication_factor
    return spec._replace(replication_factor=None if factor is None or factor < 0 else factor)


def differences(admin: AdminPort, topics: Sequence[Wanted]) -> Sequence[Difference]:
    """What is not as it should be. More partitions or replicas than wanted are no difference; a derived topic's
    settings are compared one by one. Blocks."""
    found = admin.describe_topics([one.spec.name for one in topics], TIMEOUT_S)
    rows: list[Difference] = []
    for one in topics:
        spec, there = one.spec, found[one.spec.name]
        if there is None:
            rows.append(Difference(spec.name, "topic", "missing", "there", create_command(creatable(spec))))
            continue
        if there.partitions < spec.partitions:
            command = grow_command(spec.name, spec.partitions)
            found_there, note = str(there.partitions), growth_note(spec.name) if one.read else ""
            rows.append(Difference(spec.name, "partitions", found_there, str(spec.partitions), command, note))
        factor = spec.replication_factor or 0
        if there.replication_factor < factor:
            command = replicate_command(spec.name, factor)
            rows.append(Difference(spec.name, "replicas", str(there.replication_factor), str(factor), command))
        rows += _settings(spec, admin.topic_config(spec.name, TIMEOUT_S))
    return rows


def unworked(
    admin: AdminPort, reader: ReaderPort, app: str, processors: Iterable[Processor], clock: Clock
) -> Sequence[Difference]:
    """What stands in topics of this app's groups and has no processor. Blocks while it is read."""
    return [
        Difference(one.topic, "processor", one.holds, one.wanted, "", one.remedy)
        for one in orphans(admin, reader, app, processors, clock)
    ]


def _settings(spec: TopicSpec, found: Mapping[str, str]) -> list[Difference]:
    rows = []
    for name, value in sorted(spec.config.items()):
        actual = found.get(name, "not set")
        if actual != value and not (name == "max.message.bytes" and actual.isdigit() and int(actual) >= int(value)):
            command = (
                f"kafka-configs.sh --bootstrap-server BROKERS --alter --entity-type topics --entity-name {spec.name} "
                f"--add-config {name}={value}"
            )
            rows.append(Difference(spec.name, name, actual, value, command))
    return rows
