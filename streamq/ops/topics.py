"""Topics as an app needs them: what it declares, and the retry and dead-letter topics that follow from its
processors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from streamq.model import names
from streamq.model.errors import TopicConfigError
from streamq.model.ports import AdminPort
from streamq.model.records import TopicInfo, TopicSpec
from streamq.tasks.processor import Processor

logger = logging.getLogger(__name__)

HEADER_ROOM_BYTES: Final = 64 * 1024
"""A dead letter or a parked record is its record and its context: so much larger than the source's it may be."""

DERIVED_CONFIG: Final[Mapping[str, str]] = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": "9223372036854775807",
    "message.timestamp.after.max.ms": "9223372036854775807",
}
"""Nothing in a derived topic goes by itself, and its records keep their timestamps, whatever these are."""


def create_command(spec: TopicSpec) -> str:
    """The command that creates a topic with Kafka's own tool."""
    factor = "" if spec.replication_factor is None else f" --replication-factor {spec.replication_factor}"
    options = "".join(f" --config {name}={value}" for name, value in sorted(spec.config.items()))
    return (
        f"kafka-topics.sh --bootstrap-server BROKERS --create --topic {spec.name} "
        f"--partitions {spec.partitions}{factor}{options}"
    )


def grow_command(topic: str, partitions: int) -> str:
    """The command that adds partitions with Kafka's own tool."""
    return f"kafka-topics.sh --bootstrap-server BROKERS --alter --topic {topic} --partitions {partitions}"


def delete_command(topic: str) -> str:
    """The command that deletes a topic with Kafka's own tool."""
    return f"kafka-topics.sh --bootstrap-server BROKERS --delete --topic {topic}"


def growth_note(source: str) -> str:
    """What adding partitions to a topic that is worked on does, and how to do it without."""
    return (
        f"more partitions of {source} move keys: Kafka's partitioner chooses by their number, so a key's new records "
        "go to another partition than its old ones, and nobody keeps their order across the growth. To keep it, stop "
        "what publishes, let the workers go on until `streamq lag` says 0 behind and 0 parked, add the partitions, and "
        "publish again; or make a new topic with as many as you need, and move on to it once the old one is empty"
    )


def replicate_command(topic: str, replicas: int) -> str:
    """How Kafka's own tool adds replicas: by a file that says which brokers are to have them, which is not ours to
    choose."""
    return (
        "kafka-reassign-partitions.sh --bootstrap-server BROKERS --execute --reassignment-json-file FILE "
        f"(where FILE names {replicas} brokers as replicas of each partition of {topic})"
    )


def derived_spec(name: str, source: TopicInfo, source_config: Mapping[str, str]) -> TopicSpec:
    """A topic that belongs to a source: as many partitions and replicas, as durable, with room for headers."""
    config = dict(DERIVED_CONFIG)
    if "min.insync.replicas" in source_config:
        config["min.insync.replicas"] = source_config["min.insync.replicas"]
    if "max.message.bytes" in source_config:
        config["max.message.bytes"] = str(int(source_config["max.message.bytes"]) + HEADER_ROOM_BYTES)
    return TopicSpec(name, source.partitions, source.replication_factor, config)


class Derived(NamedTuple):
    """A topic that follows from a processor: what it is and what it holds, in the operator's words."""

    name: str
    kind: str
    holds: str


def derived_topics(processor: Processor, group: str | None = None) -> Sequence[Derived]:
    """The topics that follow from a processor; with `group` those of a replay of it, which parks by itself and gives up
    into the processor's dead-letter topic."""
    found = [Derived(processor.dead_letter_topic, "dead-letter topic", "dead letters")]
    if processor.has_journal:
        name = processor.retry_topic if group is None else names.retry_topic(group)
        found.append(Derived(name, "retry topic", "parked records"))
    return found


def ensure_processor_topics(
    admin: AdminPort, processor: Processor, *, create: bool, timeout_s: float, group: str | None = None
) -> int:
    """See that a processor's source exists and that the topics derived from it reach as far: dead letters, and what is
    parked of the processor's group or of `group`, a replay's. Blocks. Returns the source's partition count: that many
    every derived topic has. More partitions in a derived topic are accepted; other settings are for `topics check`.

    Raises:
        TopicConfigError: a topic is missing or has too few partitions, and `create` is False; with the command.
        BrokerError: the broker did not answer, or refused.
    """
    source = _ensure_source(admin, processor, create, timeout_s)
    derived = derived_topics(processor, group)
    found = admin.describe_topics([one.name for one in derived], timeout_s)
    config: Mapping[str, str] | None = None
    for one in derived:
        there = found[one.name]
        if there is None:
            if config is None:
                config = admin.topic_config(source.name, timeout_s)
            spec = derived_spec(one.name, source, config)
            _create(admin, spec, create, timeout_s, f"{one.kind} {one.name} of processor {processor.name}")
        elif there.partitions < source.partitions:
            _grow(admin, one.kind, there, source, create, timeout_s)
    return source.partitions


def _ensure_source(admin: AdminPort, processor: Processor, create: bool, timeout_s: float) -> TopicInfo:
    spec = processor.topic.spec
    found = admin.describe_topics([spec.name], timeout_s)[spec.name]
    if found is not None:
        return found
    _create(admin, spec, create, timeout_s, f"topic {spec.name}")
    created = admin.describe_topics([spec.name], timeout_s)[spec.name]
    if created is None:
        raise TopicConfigError(f"topic {spec.name} was created and is gone again: somebody deletes it")
    return created


def _create(admin: AdminPort, spec: TopicSpec, create: bool, timeout_s: float, what: str) -> None:
    if not create:
        raise TopicConfigError(
            f"{what} does not exist, and creating topics is forbidden here: run `{create_command(spec)}`, "
            "or `streamq topics create`"
        )
    if admin.create_topic(spec, timeout_s):
        logger.info(
            "A topic is created as the app declares it",
            extra={"event": "topic_created", "topic": spec.name, "partitions": spec.partitions},
        )


def _grow(admin: AdminPort, kind: str, found: TopicInfo, source: TopicInfo, create: bool, timeout_s: float) -> None:
    if not create:
        raise TopicConfigError(
            f"{kind} {found.name} has {found.partitions} partitions, its source {source.name} has "
            f"{source.partitions}, and changing topics is forbidden here: "
            f"run `{grow_command(found.name, source.partitions)}`"
        )
    admin.add_partitions(found.name, source.partitions, timeout_s)
    logger.info(
        "A derived topic is extended to its source's partitions",
        extra={"event": "topic_extended", "topic": found.name, "partitions": source.partitions},
    )
