"""Whether brokers answer."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_silent = logging.getLogger("streamq.kafka.probe")
_silent.setLevel(logging.CRITICAL)


def ping(bootstrap_servers: str, timeout_s: float = 1.0) -> bool:
    """Ask for the cluster's metadata. Blocks at most about `timeout_s`; never raises for a broker that is not there."""
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "socket.timeout.ms": 1000}, logger=_silent)
    try:
        return bool(client.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False
