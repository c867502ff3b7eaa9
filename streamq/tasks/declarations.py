"""Where a program says what its topics and processors are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast, overload

from streamq.config import MIB, OnDead, Ordering, ProcessorConfig, Start, TopicConfig
from streamq.core.retry import RetryPolicy
from streamq.model import names
from streamq.model.errors import ConfigError
from streamq.serde import SchemaRegistry, Serde
from streamq.tasks.arguments import topic_settings
from streamq.tasks.processor import Processor
from streamq.tasks.registry import Registry
from streamq.tasks.topic import AnyTopic, K, Topic, V

H = TypeVar("H", bound=Callable[..., object])


class Declarations:
    """The half of an app that declares. Filled while modules are imported; connects to nothing."""

    def __init__(self, name: str) -> None:
        self.name = names.check_name("app", name)
        self._registry = Registry(name)

    def _schema_registry_client(self) -> SchemaRegistry | None:
        """What Avro topics ask for schemas; None where there is none."""
        return None

    @property
    def topics(self) -> Mapping[str, AnyTopic]:
        """The declared topics by name."""
        return self._registry.topics

    @property
    def processors(self) -> Mapping[str, Processor]:
        """The declared processors by name."""
        return self._registry.processors

    @overload
    def topic(
        self,
        name: str,
        *,
        value: type[V],
        key: type[K],
        serde: str | Serde[V] | None = None,
        schema: object = None,
        partitions: int = 1,
        replication_factor: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> Topic[K, V]: ...

    @overload
    def topic(
        self,
        name: str,
        *,
        value: type[V],
        serde: str | Serde[V] | None = None,
        schema: object = None,
        partitions: int = 1,
        replication_factor: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> Topic[str, V]: ...

    @overload
    def topic(
        self,
        name: str,
        *,
        value: object = bytes,
        key: object = str,
        serde: object = None,
        schema: object = None,
        key_schema: object = None,
        partitions: int = 1,
        replication_factor: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> Topic[object, object]: ...

    def topic(
        self,
        name: str,
        *,
        value: object = bytes,
        key: object = str,
        serde: object = None,
        schema: object = None,
        key_schema: object = None,
        partitions: int = 1,
        replication_factor: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> object:
        """Declare a topic.

        `value` is the type of its values: bytes as they are; a msgspec Struct, dataclass, TypedDict, pydantic model,
        dict, list or scalar as JSON, or as Avro with `serde="avro"`; `X | None` where tombstones are wanted. `key` is
        str, bytes, int, "avro" or a serde. `schema` and `key_schema` are Avro schemas. `partitions`,
        `replication_factor` (None: the broker's default) and `config` (Kafka's topic settings) are what the topic is
        created with where it does not exist.

        Raises:
            ConfigError: a type without a format, a name Kafka does not take, or another declaration of this name.
        """
        return self._registry.declare_topic(
            name,
            value=value,
            key=key,
            serde=cast("str | Serde[object] | None", serde),
            schema=schema,
            key_schema=key_schema,
            config=TopicConfig(
                partitions=partitions, replication_factor=replication_factor, config=topic_settings(name, config or {})
            ),
            registry=self._schema_registry_client(),
        )

    def processor(
        self,
        topic: Topic[K, V] | str,
        *,
        name: str | None = None,
        concurrency: int = 64,
        ordering: Ordering = "key",
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
        park_after_s: float | None = 5.0,
        on_dead: OnDead = "skip",
        start: Start = "earliest",
        max_buffered_records: int = 10_000,
        max_buffered_bytes: int = 64 * MIB,
    ) -> Callable[[H], H]:
        """Declare the decorated function the handler of a topic. It is called with the value and, if it takes a second
        argument, with the context; `async def` runs on an event loop, `def` on a thread. The function is returned as it
        is. For the options see `ProcessorConfig`; `name` is the function's name unless given.

        Raises:
            ConfigError: the topic is not declared, an option that cannot work, a wrong signature, a name taken twice.
        """
        if callable(topic):
            raise ConfigError("@app.processor stands without a topic: write `@app.processor(orders)`")
        source = self._registry.declared(topic)
        config = ProcessorConfig(
            concurrency=concurrency,
            ordering=ordering,
            timeout_s=timeout_s,
            retry=RetryPolicy() if retry is None else retry,
            park_after_s=park_after_s,
            on_dead=on_dead,
            start=start,
            max_buffered_records=max_buffered_records,
            max_buffered_bytes=max_buffered_bytes,
        )

        def declare(handler: H) -> H:
            self._registry.declare_processor(source, handler, name, config)
            return handler

        return declare
