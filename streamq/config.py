"""What a user may set, frozen and validated where it is made, so that nothing starts with a value that cannot work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Final, Literal, get_args

from streamq.core.retry import RetryPolicy
from streamq.model.errors import ConfigError
from streamq.model.ports import GroupProtocol

Ordering = Literal["key", "partition", "none"]
OnDead = Literal["skip", "chain", "hold"]
Start = Literal["earliest", "latest"] | datetime

MIB: Final = 1024 * 1024


def _positive(name: str, value: object, *, least: float = 0.0, none_allowed: bool = True) -> None:
    if value is None and none_allowed:
        return
    if value is None or isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ConfigError(f"{name} is {value!r}: use a number above {least:g}")
    if value <= least:
        raise ConfigError(f"{name} is {value!r}: use a number above {least:g}")


def _whole(name: str, value: object, *, least: int = 1, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        upper = "" if most is None else f" and at most {most}"
        raise ConfigError(f"{name} is {value!r}: use a whole number of at least {least}{upper}")


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}: use one of {', '.join(repr(choice) for choice in allowed)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorConfig:
    """How one processor works.

    `concurrency` is the number of attempts at once in a worker process; `ordering` which records wait for each other;
    `timeout_s` how long an attempt may run (None: without limit); `start` where a group begins that has no offsets yet.
    A record whose next attempt is due later than in `park_after_s` waits in the retry topic, and its key with it, so
    that it holds up nothing else of its partition (None: it waits in its place, always). `on_dead` says what becomes of
    a key when a record of it is given up: "skip", later records go on; "chain", they follow it into the dead-letter
    topic until it is redriven; "hold", they stand still until an operator releases them.
    `max_buffered_records` bounds the unsettled records of one partition, `max_buffered_bytes` their bytes over all
    partitions of one worker.

    Raises:
        ConfigError: a value that cannot work; the message names it.
    """

    concurrency: int = 64
    ordering: Ordering = "key"
    timeout_s: float | None = None
    park_after_s: float | None = 5.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    on_dead: OnDead = "skip"
    start: Start = "earliest"
    max_buffered_records: int = 10_000
    max_buffered_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        _whole("concurrency", self.concurrency, most=100_000)
        _one_of("ordering", self.ordering, get_args(Ordering))
        _positive("timeout_s", self.timeout_s)
        if not isinstance(self.retry, RetryPolicy):
            raise ConfigError(f"retry is {self.retry!r}: use a RetryPolicy")
        _one_of("on_dead", self.on_dead, get_args(OnDead))
        if self.on_dead != "skip" and self.ordering != "key":
            raise ConfigError(
                f"on_dead is {self.on_dead!r} with ordering {self.ordering!r}: what it does to a key's later records "
                "needs ordering 'key'; use on_dead 'skip'"
            )
        _positive("park_after_s", self.park_after_s)
        self._check_start()
        _whole("max_buffered_records", self.max_buffered_records, least=10, most=1_000_000)
        _whole("max_buffered_bytes", self.max_buffered_bytes, least=64 * 1024)

    def _check_start(self) -> None:
        if isinstance(self.start, datetime):
            if self.start.tzinfo is None:
                raise ConfigError(
                    f"start is {self.start.isoformat()}, a time without a zone: use an aware datetime, "
                    "for instance datetime(2026, 11, 20, 8, tzinfo=UTC)"
                )
        else:
            _one_of("start", self.start, ("earliest", "latest"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How a worker process runs, whatever it processes.

    `drain_timeout_s` bounds a clean stop and what a revoked partition may take to finish its running attempts.
    Under `group_protocol="consumer"` (KIP-848) session and heartbeat are the broker's to say.

    Raises:
        ConfigError: a value that cannot work; the message names it.
    """

    commit_interval_s: float = 1.0
    drain_timeout_s: float = 25.0
    group_protocol: GroupProtocol = "classic"
    session_timeout_s: float = 10.0
    heartbeat_s: float = 1.0
    instance_id: str | None = None
    create_topics: bool = True

    def __post_init__(self) -> None:
        _positive("commit_interval_s", self.commit_interval_s, none_allowed=False)
        _positive("drain_timeout_s", self.drain_timeout_s, none_allowed=False)
        _one_of("group_protocol", self.group_protocol, get_args(GroupProtocol))
        _positive("session_timeout_s", self.session_timeout_s, none_allowed=False)
        _positive("heartbeat_s", self.heartbeat_s, none_allowed=False)
        if self.heartbeat_s * 3 > self.session_timeout_s:
            raise ConfigError(
                f"heartbeat_s is {self.heartbeat_s:g} with session_timeout_s {self.session_timeout_s:g}: "
                "three heartbeats must fit into the session time-out"
            )
        if self.instance_id is not None and self.group_protocol != "classic":
            raise ConfigError(
                f"instance_id is {self.instance_id!r} with group_protocol 'consumer': "
                "static members belong to the classic protocol here"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicConfig:
    """A topic as the app declares it: what it is created with where it does not exist yet. `config` takes Kafka's own
    topic settings; `replication_factor=None` is the broker's default.

    Raises:
        ConfigError: a value that cannot work; the message names it.
    """

    partitions: int = 1
    replication_factor: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _whole("partitions", self.partitions, most=100_000)
        if self.replication_factor is not None:
            _whole("replication_factor", self.replication_factor, most=100)
