"""An app that publishes by fake clients."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

import streamq as sq

from .fakes import FakeClients

WAIT_S = 10.0


class Order(msgspec.Struct):
    """What is published."""

    amount: float


class World:
    """The app, its two topics and its clients."""

    def __init__(self, *topics: str, room: int = 1_000_000, create: bool = True, timeout_s: float = WAIT_S) -> None:
        self.clients = FakeClients(*topics, room=room)
        self.app = sq.App("shop", clients=self.clients, create_topics=create, publish_timeout_s=timeout_s)
        self.orders = self.app.topic("orders", value=Order, partitions=6, config={"retention.ms": "5"})
        self.raw = self.app.topic("raw")

    @property
    def values(self) -> list[bytes | None]:
        """What was produced."""
        return [record.value for record in self.clients.only_producer.produced]


def wait_for(condition: Callable[[], bool]) -> None:
    """Look until it holds."""
    done = threading.Event()
    for _ in range(int(WAIT_S / 0.005)):
        if condition():
            return
        done.wait(0.005)
    raise AssertionError("did not happen in time")
