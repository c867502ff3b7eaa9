"""What all tests share: one real Kafka for the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kafka_fixture import provide_kafka


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Kafka, started for this run; of another one if STREAMQ_TEST_BOOTSTRAP names it."""
    given = os.environ.get("STREAMQ_TEST_BOOTSTRAP")
    if given:
        yield given
        return
    yield from provide_kafka(tmp_path_factory.mktemp("kafka"))
