"""The clusters that the suite runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Final, cast

import pytest

from tests.contract.backend import Backend
from tests.contract.memory_backend import MemoryBackend

KAFKA: Final = (
    pytest.param("kafka-classic", marks=pytest.mark.kafka),
    pytest.param("kafka-consumer", marks=pytest.mark.kafka),
)
OpenKafka = Callable[[str, str], AbstractContextManager[Backend]]


@contextmanager
def open_backend(name: str, request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The cluster of this name; `kafka_bootstrap` starts a real one, skips, or fails where it has to be had."""
    if name == "memory":
        yield MemoryBackend()
        return
    bootstrap = cast("str", request.getfixturevalue("kafka_bootstrap"))
    module = import_module("tests.contract.kafka_backend")
    with cast("OpenKafka", module.open_kafka_backend)(bootstrap, name.removeprefix("kafka-")) as backend:
        yield backend


@pytest.fixture(scope="session", params=["memory", *KAFKA])
def shared_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """One cluster for all tests of a variant."""
    with open_backend(cast("str", request.param), request) as backend:
        yield backend


@pytest.fixture
def backend(shared_backend: Backend) -> Iterator[Backend]:
    """The cluster, and what a test leaves open closed."""
    yield shared_backend
    shared_backend.end_test()
