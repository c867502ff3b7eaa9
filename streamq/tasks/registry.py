"""What an app has declared: topics and processors by name, each once."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from streamq.config import ProcessorConfig, TopicConfig
from streamq.model import names
from streamq.model.errors import ConfigError
from streamq.serde import SchemaRegistry, Serde, key_serde, value_serde
from streamq.serde.annotations import type_name
from streamq.tasks.processor import Processor, make_processor
from streamq.tasks.topic import AnyTopic, Topic


class Registry:
    """The declarations of one app. Filled while its modules are imported, then only read."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._topics: dict[str, AnyTopic] = {}
        self._processors: dict[str, Processor] = {}
        self._declarations: dict[str, Mapping[str, object]] = {}

    @property
    def topics(self) -> Mapping[str, AnyTopic]:
        """The declared topics by name."""
        return MappingProxyType(self._topics)

    @property
    def processors(self) -> Mapping[str, Processor]:
        """The declared processors by name."""
        return MappingProxyType(self._processors)

    def declare_topic(
        self,
        name: str,
        *,
        value: object,
        key: object,
        serde: str | Serde[object] | None,
        schema: object,
        key_schema: object,
        config: TopicConfig,
        registry: SchemaRegistry | None,
    ) -> AnyTopic:
        """Add a topic; the same declaration again gives the same object.

        Raises:
            ConfigError: a name Kafka does not take, a type that has no format, or another declaration of this name.
        """
        names.check_topic_name(name)
        declaration = {
            "value": value, "key": key, "serde": serde, "schema": schema, "key_schema": key_schema,
            "partitions": config.partitions, "replication_factor": config.replication_factor,
            "config": dict(config.config),
        }  # fmt: skip
        known = self._topics.get(name)
        if known is not None:
            self._refuse_difference(name, declaration)
            return known
        topic = Topic(
            name,
            key,
            value,
            _key_serde(key, key_schema, registry),
            value_serde(value, serde, registry=registry, schema=cast("str | None", schema)),
            config,
        )
        self._declarations[name] = declaration
        self._topics[name] = topic
        return topic

    def declare_processor(
        self, topic: AnyTopic, handler: object, name: str | None, config: ProcessorConfig
    ) -> Processor:
        """Add a processor.

        Raises:
            ConfigError: a wrong signature, a name that is not usable or taken.
        """
        processor = make_processor(self._app, topic, handler, name, config)
        known = self._processors.get(processor.name)
        if known is not None:
            raise ConfigError(
                f"processor {processor.name!r} is declared twice, at {known.place} and at {processor.place}: "
                "give one of them another name, `@app.processor(…, name=…)`; each name is a consumer group of its own"
            )
        self._processors[processor.name] = processor
        return processor

    def declared(self, topic: object) -> AnyTopic:
        """The topic of this app that is meant: by name, or itself.

        Raises:
            ConfigError: it is not declared here; names what is.
        """
        name = topic if isinstance(topic, str) else topic.name if isinstance(topic, Topic) else None
        known = None if name is None else self._topics.get(name)
        if known is not None and (topic is known or isinstance(topic, str)):
            return known
        listed = ", ".join(repr(other) for other in self._topics) or "none"
        what = f"{name!r} of another app" if isinstance(topic, Topic) else repr(topic)
        raise ConfigError(f"topic {what} is not declared by app {self._app!r} (declared: {listed}): use app.topic(…)")

    def _refuse_difference(self, name: str, declaration: Mapping[str, object]) -> None:
        for field, now in declaration.items():
            before = self._declarations[name][field]
            if before is not now and before != now:
                raise ConfigError(
                    f"topic {name!r} is declared twice with another {field}: {_shown(before)} and {_shown(now)}: "
                    "declare it once and import it"
                )


def _key_serde(key: object, schema: object, registry: SchemaRegistry | None) -> Serde[object]:
    serde: Serde[object] = key_serde(key, registry=registry, schema=cast("str | None", schema))
    return serde


def _shown(value: object) -> str:
    return type_name(value) if isinstance(value, type) else repr(value)
