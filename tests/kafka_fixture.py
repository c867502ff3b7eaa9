"""Starts a real Kafka for tests, or says why there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from streamq.kafka import ping
from streamq.local.broker import LocalBroker
from streamq.model.errors import StreamqError

# Under KIP-848 these are the broker's to say; as short as the classic protocol's in tests, so that a dead member is
# soon gone and the others soon hear of it.
_HURRY: Final = {
    "group.consumer.min.session.timeout.ms": "3000",
    "group.consumer.session.timeout.ms": "3000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.heartbeat.interval.ms": "200",
}


def provide_kafka(folder: Path) -> Iterator[str]:
    """Yield a broker's address, and stop it afterwards. Where none can be had the test is skipped, or fails when
    STREAMQ_REQUIRE_KAFKA=1: a green run on such a machine has then proved what it says."""
    broker = LocalBroker(folder, port=0, probe=ping, settings=_HURRY)
    try:
        broker.start()
    except StreamqError as error:
        if os.environ.get("STREAMQ_REQUIRE_KAFKA") == "1":
            pytest.fail(f"STREAMQ_REQUIRE_KAFKA=1 and no Kafka could be started: {error}")
        pytest.skip(f"no Kafka could be started: {error}")
    try:
        yield broker.bootstrap_servers
    finally:
        broker.stop()
