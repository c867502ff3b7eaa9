"""What all tests share: one real Kafka for the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.kafka_fixture import provide_kafka

# The same examples in every run, however loaded the machine: a red run is the change's doing. Others are drawn where
# STREAMQ_PROPERTY_EXAMPLES asks for more.
settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
if "STREAMQ_PROPERTY_EXAMPLES" not in os.environ:
    settings.load_profile("fixed")


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Kafka, started for this run; of another one if STREAMQ_TEST_BOOTSTRAP names it."""
    given = os.environ.get("STREAMQ_TEST_BOOTSTRAP")
    if given:
        yield given
        return
    yield from provide_kafka(tmp_path_factory.mktemp("kafka"))
