"""What an app's arguments must be, checked where they are given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import get_args

from streamq.model.errors import ConfigError
from streamq.model.ports import GroupProtocol

_BROKER = re.compile(r"([A-Za-z_]+://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/,\[\]]+)(:(?P<port>\d{1,5}))?")


def check_brokers(what: str, value: str | Sequence[str]) -> str:
    """Bootstrap servers as librdkafka takes them: "host:port", several with commas.

    Raises:
        ConfigError: they are none; `what` names where they come from.
    """
    brokers: list[object] = [*(value.split(",") if isinstance(value, str) else value)]
    for broker in brokers or [""]:
        found = _BROKER.fullmatch(broker.strip()) if isinstance(broker, str) else None
        if found is None or not 0 < int(found["port"] or 9092) < 65536:
            raise ConfigError(f"{what} is {value!r}: {broker!r} is no broker: use host:port, several with commas")
    return ",".join(str(broker).strip() for broker in brokers)


def check_protocol(value: GroupProtocol) -> GroupProtocol:
    """One of Kafka's two group protocols.

    Raises:
        ConfigError: it is none.
    """
    if value not in get_args(GroupProtocol):
        raise ConfigError(f"group_protocol is {value!r}: use 'classic' or 'consumer' (KIP-848)")
    return value


def check_seconds(name: str, value: object) -> float:
    """Seconds, finite and not negative.

    Raises:
        ConfigError: they are none; `name` is the argument's.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ConfigError(f"{name} is {value!r}: use seconds, a number of at least 0")
    return float(value)


def topic_settings(topic: str, config: Mapping[str, object]) -> dict[str, str]:
    """Kafka's settings of a topic, which are text.

    Raises:
        ConfigError: one is not; names it.
    """
    for name, value in config.items():
        if not isinstance(value, str):
            raise ConfigError(f"topic {topic!r}: config {name!r} is {value!r}: Kafka's settings are text, '{value}'")
    return {name: str(value) for name, value in config.items()}


def check_partition(partition: object) -> int:
    """A partition's number.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(partition, bool) or not isinstance(partition, int) or partition < 0:
        raise ConfigError(
            f"partition is {partition!r}: use a whole number of at least 0, or None to let the key decide"
        )
    return partition


def timestamp_ms(timestamp: object) -> int:
    """A time as Kafka's number.

    Raises:
        ConfigError: it has no zone, or lies before 1970.
    """
    if not isinstance(timestamp, datetime) or timestamp.tzinfo is None:
        raise ConfigError(
            f"timestamp is {timestamp!s}, a time without a zone: use an aware datetime, for instance datetime.now(UTC)"
        )
    milliseconds = round(timestamp.timestamp() * 1000)
    if milliseconds < 0:
        raise ConfigError(f"timestamp is {timestamp.isoformat()}: Kafka's times begin in 1970")
    return milliseconds
