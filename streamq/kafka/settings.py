"""librdkafka's settings: ours, by measurement; a user's, passed on; and those that would break a guarantee, refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from streamq.model.errors import ConfigError
from streamq.model.ports import ConsumerOptions, Isolation

Value = str | int | float | bool | Callable[..., object]
Settings = dict[str, Value]
UserSettings = Mapping[str, Value]

MAX_POLL_INTERVAL_MS: Final = 300_000
"""A revocation may take as long as the drain time-out, and polls stop for it; a member that stands still is found out
by its session time-out."""

# A setting, and what to do instead. A user's value is refused before anything connects.
_REFUSED: Final[Mapping[str, str]] = {
    "bootstrap.servers": "pass bootstrap_servers= to the app, --bootstrap-servers, or STREAMQ_BOOTSTRAP_SERVERS",
    "metadata.broker.list": "pass bootstrap_servers= to the app, --bootstrap-servers, or STREAMQ_BOOTSTRAP_SERVERS",
    "group.id": "the group is <app>.<processor>: choose these names",
    "group.instance.id": "use --static-members, which gives each worker process its identity",
    "group.protocol": "pass group_protocol= to the app, or --group-protocol",
    "session.timeout.ms": "use --session-timeout",
    "heartbeat.interval.ms": "it follows from --session-timeout",
    "max.poll.interval.ms": "the owner thread polls all the time: a slow handler needs no longer interval",
    "enable.auto.commit": "streamq commits by itself, and only what is settled",
    "auto.commit.enable": "streamq commits by itself, and only what is settled",
    "auto.commit.interval.ms": "use --commit-interval",
    "enable.auto.offset.store": "streamq commits explicit offsets, and only what is settled",
    "auto.offset.reset": "pass start= to the processor; a lost position goes on at the earliest, with an error",
    "enable.partition.eof": "streamq needs it to know the end of a partition",
    "isolation.level": "streamq reads committed records only",
    "partition.assignment.strategy": "streamq assigns incrementally (cooperative-sticky)",
    "allow.auto.create.topics": "a typo must not make a topic: topics are created as the app declares them",
    "enable.idempotence": "without it a retried produce could write a record twice or out of order",
    "acks": "a record counts as published when all in-sync replicas have it",
    "request.required.acks": "a record counts as published when all in-sync replicas have it",
    "max.in.flight": "the idempotent producer keeps order with at most 5",
    "max.in.flight.requests.per.connection": "the idempotent producer keeps order with at most 5",
    "partitioner": "keys go to partitions as Java clients send them (murmur2_random)",
    "transactional.id": "streamq names its transactions itself",
    "enable.gapless.guarantee": "the idempotent producer does what is needed",
    "on_commit": "callbacks are streamq's: read the worker's metrics",
    "on_delivery": "use the Publication that publish returns",
    "error_cb": "callbacks are streamq's: errors are raised or logged under streamq.kafka",
    "stats_cb": "callbacks are streamq's: read the worker's metrics",
    "throttle_cb": "callbacks are streamq's: read the worker's metrics",
    "logger": "librdkafka's lines are in Python's logging under streamq.kafka",
}  # fmt: skip
# Values that say what streamq does anyway: settings copied from elsewhere need not be pruned of them.
_HARMLESS: Final[Mapping[str, frozenset[str]]] = {
    "enable.auto.commit": frozenset({"false"}),
    "auto.commit.enable": frozenset({"false"}),
    "enable.auto.offset.store": frozenset({"false"}),
    "enable.partition.eof": frozenset({"true"}),
    "isolation.level": frozenset({"read_committed"}),
    "partition.assignment.strategy": frozenset({"cooperative-sticky"}),
    "allow.auto.create.topics": frozenset({"false"}),
    "enable.idempotence": frozenset({"true"}),
    "acks": frozenset({"all", "-1"}),
    "request.required.acks": frozenset({"all", "-1"}),
    "partitioner": frozenset({"murmur2_random"}),
    "max.in.flight": frozenset("12345"),
    "max.in.flight.requests.per.connection": frozenset("12345"),
}
# What has a function for a value: tokens for SASL/OAUTHBEARER. librdkafka calls it inside polls.
_CALLABLE: Final = frozenset({"oauth_cb"})

_SECRET_PARTS: Final = ("password", "secret", "pem", "jaas", "token", "ssl.key", "keystore", "oauthbearer.config")

# A connection is tried again soon and for ever: what waits for it says so, once.
_COMMON: Final[Settings] = {
    "log.connection.close": False,
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 2_000,
    "socket.nagle.disable": True,
    "socket.timeout.ms": 10_000,
    "socket.connection.setup.timeout.ms": 10_000,
    "topic.metadata.refresh.interval.ms": 10_000,
}
# With librdkafka's defaults (100,000 messages, 1,000 ms) a fast consumer stalls for up to a second at a time. The
# kilobytes bound what one partition holds ahead, so that memory stays flat whatever waits. A fetch that is under way
# keeps a partition that was just sought or resumed waiting for up to fetch.wait.max.ms (500).
_READING: Final[Settings] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.queue.backoff.ms": 2,
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 100,
}
# The size limit is the broker's: the client's own is at its maximum. A broker refuses a batch as a whole: with Java's
# batch size, not librdkafka's 1,000,000, records that fit are not refused for their company where a topic's limit is
# small. No compression by default: the limit then means what was published, and batches this small gain little.
_PRODUCING: Final[Settings] = {
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    "batch.size": 16_384,
    "message.max.bytes": 1_000_000_000,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 65_536,
    "delivery.timeout.ms": 30_000,
    "request.timeout.ms": 10_000,
    "retry.backoff.ms": 50,
    "topic.metadata.propagation.max.ms": 10_000,
}
# A transaction's time-out bounds how long a dead producer leaves partitions undecided, and its deliveries have to end
# well before. The coordinator answers "concurrent transactions" for some milliseconds after each: with librdkafka's
# 100 ms the next one waits that long. What is written is flushed at once, so nothing lingers.
_TRANSACTING: Final[Settings] = {
    "transaction.timeout.ms": 10_000,
    "delivery.timeout.ms": 3_000,
    "request.timeout.ms": 2_500,
    "socket.timeout.ms": 5_000,
    "retry.backoff.ms": 5,
    "linger.ms": 1,
    "topic.metadata.propagation.max.ms": 1_000,
}
_ALIASES: Final[Mapping[str, str]] = {
    "message.timeout.ms": "delivery.timeout.ms",
    "queue.buffering.max.ms": "linger.ms",
}
# Whole names, and families that end with a dot.
_CONSUMER_ONLY: Final = (
    "fetch.", "queued.", "check.crcs", "consume.", "client.rack", "max.partition.fetch.bytes", "offset.store.",
    "coordinator.query.interval.ms", "group.remote.assignor", "group.protocol.type",
)  # fmt: skip
_PRODUCER_ONLY: Final = (
    "linger.ms", "batch.", "queue.buffering.", "compression.", "delivery.", "message.timeout.ms", "request.timeout.ms",
    "retries", "retry.backoff.", "message.send.max.retries", "sticky.partitioning.linger.ms", "message.max.bytes",
    "message.copy.max.bytes", "queuing.strategy", "max.in.flight", "max.in.flight.requests.per.connection",
    "transaction.timeout.ms", "msg_order_cmp", "produce.offset.report", "topic.metadata.propagation.max.ms",
)  # fmt: skip


def check(settings: Mapping[str, object]) -> UserSettings:
    """Refuse what would break a guarantee; return the rest.

    Raises:
        ConfigError: names the setting, its value (masked if it is a secret) and what to do instead.
    """
    checked: dict[str, Value] = {}
    for name, value in settings.items():
        if name in _CALLABLE and callable(value):
            checked[name] = value
            continue
        if not isinstance(value, str | int | float | bool) and name not in _REFUSED:
            raise ConfigError(f"kafka setting {name!r} is {masked(name, value)}: use text, a number or a bool")
        if name in _REFUSED and str(value).lower() not in _HARMLESS.get(name, ()):
            shown = masked(name, value)
            raise ConfigError(f"kafka setting {name!r} is set to {shown}, which is not yours to set: {_REFUSED[name]}")
        if isinstance(value, str | int | float | bool) and (name not in _REFUSED or name.startswith("max.in.flight")):
            checked[name] = value
    return checked


def is_secret(name: str) -> bool:
    """Whether a setting's value is never shown."""
    return any(part in name for part in _SECRET_PARTS)


def masked(name: str, value: object) -> str:
    """A setting's value as it may be shown."""
    return "'***'" if is_secret(name) else repr(value)


def reader(bootstrap: str, user: UserSettings, isolation: Isolation) -> Settings:
    """For a consumer without a group. librdkafka wants a group id nonetheless; nothing is ever committed to it."""
    mine = {**_COMMON, **_READING, "group.id": "streamq-reader", "isolation.level": isolation}
    return _joined(bootstrap, mine, user, without=_PRODUCER_ONLY)


def consumer(bootstrap: str, user: UserSettings, options: ConsumerOptions) -> Settings:
    """For a member of a group. Under KIP-848 session and heartbeat are the broker's, and librdkafka refuses them.

    Raises:
        ConfigError: a static identity under KIP-848.
    """
    if options.instance_id is not None and options.protocol != "classic":
        raise ConfigError(
            f"instance_id is {options.instance_id!r} with group protocol {options.protocol!r}: static members belong "
            "to the classic protocol here"
        )
    mine: Settings = {
        **_COMMON,
        **_READING,
        "isolation.level": "read_committed",
        "group.id": options.group,
        "client.id": options.client_id,
        "group.protocol": options.protocol,
        "max.poll.interval.ms": max(MAX_POLL_INTERVAL_MS, int(options.session_timeout_s * 1000)),
    }
    if options.instance_id is not None:
        mine["group.instance.id"] = options.instance_id
    if options.protocol == "classic":
        mine["partition.assignment.strategy"] = "cooperative-sticky"
        mine["session.timeout.ms"] = int(options.session_timeout_s * 1000)
        mine["heartbeat.interval.ms"] = int(options.heartbeat_s * 1000)
    return _joined(bootstrap, mine, user, without=_PRODUCER_ONLY)


def producer(bootstrap: str, user: UserSettings) -> Settings:
    """For an idempotent producer."""
    return _joined(bootstrap, {**_COMMON, **_PRODUCING}, user, without=_CONSUMER_ONLY)


def transactions(bootstrap: str, user: UserSettings, transactional_id: str) -> Settings:
    """For a transactional producer. Its times belong together, so a user's for producers are not for it."""
    fitting = {name: value for name, value in user.items() if _ALIASES.get(name, name) not in _TRANSACTING}
    return {**producer(bootstrap, fitting), **_TRANSACTING, "transactional.id": transactional_id}


def admin(bootstrap: str, user: UserSettings) -> Settings:
    """For questions to the cluster."""
    return _joined(bootstrap, dict(_COMMON), user, without=_CONSUMER_ONLY + _PRODUCER_ONLY)


def _joined(bootstrap: str, mine: Settings, user: UserSettings, *, without: tuple[str, ...]) -> Settings:
    fitting = {_ALIASES.get(name, name): value for name, value in user.items() if not _is_one_of(name, without)}
    return {**mine, **fitting, "bootstrap.servers": bootstrap}


def _is_one_of(name: str, names: tuple[str, ...]) -> bool:
    return any(name.startswith(one) if one.endswith(".") else name == one for one in names)
