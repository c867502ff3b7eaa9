"""Makes clients for one cluster."""

from __future__ import annotations

from collections.abc import Mapping

from streamq.kafka import settings as rules
from streamq.kafka.admin import KafkaAdmin
from streamq.kafka.consumer import KafkaConsumer
from streamq.kafka.producer import KafkaProducer
from streamq.kafka.reader import KafkaReader
from streamq.kafka.transactions import KafkaTransactions
from streamq.model.errors import ConfigError
from streamq.model.ports import ConsumerOptions, Isolation
from streamq.model.transactions import StepHook


class KafkaClients:
    """See `Clients`. `settings` are librdkafka's, for all kinds of clients; each takes those that fit it.

    Raises:
        ConfigError: an address that is none, or a setting that would break a guarantee.
    """

    def __init__(self, bootstrap_servers: str, settings: Mapping[str, object] | None = None) -> None:
        self._bootstrap = _checked(bootstrap_servers)
        self._user = rules.check(settings or {})

    @property
    def description(self) -> str:
        """The bootstrap servers."""
        return self._bootstrap

    def consumer(self, options: ConsumerOptions) -> KafkaConsumer:
        """A member of a group."""
        return KafkaConsumer(rules.consumer(self._bootstrap, self._user, options), self._bootstrap)

    def reader(self, isolation: Isolation = "read_committed") -> KafkaReader:
        """A consumer without a group."""
        return KafkaReader(rules.reader(self._bootstrap, self._user, isolation), self._bootstrap)

    def producer(self) -> KafkaProducer:
        """An idempotent producer."""
        return KafkaProducer(rules.producer(self._bootstrap, self._user), self._bootstrap)

    def transactions(self, transactional_id: str, on_step: StepHook | None = None) -> KafkaTransactions:
        """A transactional producer."""
        settings = rules.transactions(self._bootstrap, self._user, transactional_id)
        return KafkaTransactions(settings, self._bootstrap, on_step)

    def admin(self) -> KafkaAdmin:
        """Questions to the cluster."""
        reader = rules.reader(self._bootstrap, self._user, "read_committed")
        return KafkaAdmin(rules.admin(self._bootstrap, self._user), self._bootstrap, reader=reader)


def _checked(bootstrap_servers: str) -> str:
    addresses = [address.strip() for address in bootstrap_servers.split(",")]
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"bootstrap_servers is {bootstrap_servers!r}: {address!r} is not host:port, for instance localhost:9092"
            )
    return ",".join(addresses)
