"""An app: the topics and processors of one program, and where it publishes. Wires adapters to definitions; holds no
policy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from streamq.model.ports import Clients, GroupProtocol
from streamq.serde import SchemaRegistry
from streamq.tasks.arguments import check_brokers, check_protocol, check_seconds
from streamq.tasks.declarations import Declarations
from streamq.tasks.load import load_object
from streamq.tasks.publication import Publication
from streamq.tasks.publisher import HeadersLike, Publisher
from streamq.tasks.topic import K, Topic, V

BROKERS_VARIABLE: Final = "STREAMQ_BOOTSTRAP_SERVERS"
DEFAULT_BROKERS: Final = "localhost:9092"


class App(Declarations):
    """The topics and processors of one program. Its name is the first part of each consumer group: `<app>.<processor>`.

    `bootstrap_servers` is "host:port", or several; without it the environment's STREAMQ_BOOTSTRAP_SERVERS counts when
    the first connection is made, and then localhost:9092. `kafka` are further settings of librdkafka. `version` is
    noted in dead letters. `schema_registry` is the URL of a Schema Registry, for Avro. `create_topics=False` forbids to
    create missing topics. `publish_timeout_s` bounds every wait for room and for a confirmation.

    Nothing is connected before it is needed.

    Raises:
        ConfigError: an argument that cannot work; the message names it.
    """

    def __init__(
        self,
        name: str,
        *,
        bootstrap_servers: str | Sequence[str] | None = None,
        kafka: Mapping[str, str | int | float | bool] | None = None,
        version: str = "",
        schema_registry: str | SchemaRegistry | None = None,
        create_topics: bool = True,
        group_protocol: GroupProtocol = "classic",
        publish_timeout_s: float = 30.0,
        clients: Clients | None = None,
    ) -> None:
        super().__init__(name)
        self.version = version
        self.create_topics = create_topics
        self.group_protocol: GroupProtocol = check_protocol(group_protocol)
        self._brokers = None if bootstrap_servers is None else check_brokers("bootstrap_servers", bootstrap_servers)
        self._kafka = dict(kafka or {})
        self._schema_registry = schema_registry
        self._registry_client: SchemaRegistry | None = None
        self._given_clients = clients
        self._clients: Clients | None = None
        self._publisher = Publisher(
            self._registry.declared,
            lambda: self.clients,
            create_topics=create_topics,
            publish_timeout_s=check_seconds("publish_timeout_s", publish_timeout_s),
        )

    def __repr__(self) -> str:
        return f"App({self.name!r})"

    # Publishing.

    @property
    def publisher(self) -> Publisher:
        """What publishes for this app."""
        return self._publisher

    @property
    def publish_timeout_s(self) -> float:
        """Seconds that a wait for room or for a confirmation lasts at most."""
        return self._publisher.publish_timeout_s

    def publish(
        self,
        topic: Topic[K, V] | str,
        value: V,
        *,
        key: K | None = None,
        headers: HeadersLike | None = None,
        timestamp: datetime | None = None,
        partition: int | None = None,
    ) -> Publication:
        """Publish one record. Its partition follows from its key (`murmur2_random`, as Java's clients choose it) unless
        `partition` is given; `timestamp` is now unless given, and must have a zone.

        On an event loop this never blocks: await the publication. In a thread it blocks while the producer has no room
        and at the first record of a topic, which is checked and created as declared; at most `publish_timeout_s`.
        Records of one caller to one topic are written in the order of the calls.

        Raises:
            SerdeError: the value or key is not of the topic's type; the message names the field.
            ConfigError: the topic is not declared, or an argument cannot work.
            TopicConfigError: the topic does not exist and `create_topics` is False; the message has the command.
            PublishError: no room, or no answer, within `publish_timeout_s`.
        """
        return self._publisher.publish(topic, value, key=key, headers=headers, timestamp=timestamp, partition=partition)

    def flush(self, timeout_s: float = 30.0) -> int:
        """Wait at most `timeout_s` until everything published so far is confirmed or has failed. Returns how many
        records are still undecided (0: none). Blocks. The end of the process does this by itself, for 10 s."""
        return self._publisher.flush(check_seconds("timeout_s", timeout_s))

    def close(self, timeout_s: float = 10.0) -> int:
        """Flush, then close the connection. Returns how many records were not confirmed in time. Blocks. A later
        publish opens a new one."""
        return self._publisher.close(check_seconds("timeout_s", timeout_s))

    # The cluster.

    @property
    def bootstrap_servers(self) -> str:
        """The brokers that count now: the argument, else the environment's, else localhost:9092."""
        if self._brokers is not None:
            return self._brokers
        found = os.environ.get(BROKERS_VARIABLE)
        return check_brokers(f"environment variable {BROKERS_VARIABLE}", found) if found else DEFAULT_BROKERS

    @property
    def clients(self) -> Clients:
        """What makes clients of the app's cluster. Contacts nobody.

        Raises:
            ConfigError: a setting in `kafka` that would break a guarantee, or bootstrap servers that are none.
        """
        if self._given_clients is not None:
            return self._given_clients
        if self._clients is None:
            # Here and not above: a program that only declares, or runs on the in-memory broker, never loads librdkafka.
            from streamq.kafka import KafkaClients

            self._clients = KafkaClients(self.bootstrap_servers, settings=self._kafka)
        return self._clients

    def connect(self, *, bootstrap_servers: str | Sequence[str] | None = None) -> None:
        """Use these brokers from now on, whatever was said before; None changes nothing. What is not confirmed yet is
        flushed first, for at most `publish_timeout_s`."""
        if bootstrap_servers is not None:
            self._brokers = check_brokers("bootstrap_servers", bootstrap_servers)
            self.use(None)

    def use(self, clients: Clients | None) -> None:
        """Use this cluster from now on: the in-memory one of `streamq.testing`, or one of yours; None: the app's own
        again. What is not confirmed yet is flushed first, for at most `publish_timeout_s`."""
        self._publisher.close(self._publisher.publish_timeout_s)
        self._given_clients, self._clients = clients, None

    def _schema_registry_client(self) -> SchemaRegistry | None:
        if not isinstance(self._schema_registry, str):
            return self._schema_registry
        if self._registry_client is None:
            from streamq.kafka.registry import ConfluentRegistry

            self._registry_client = ConfluentRegistry(self._schema_registry)
        return self._registry_client


def load_app(reference: str) -> App:
    """The app of `package.module:app`; modules are looked for in the current folder first.

    Raises:
        ConfigError: no such module, an error while it is imported, or no app under that name.
    """
    return load_object(reference, App)
