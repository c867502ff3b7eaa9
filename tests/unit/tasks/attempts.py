"""Handlers run by hand, one attempt at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

import streamq as sq
from streamq.model.handlers import AsyncHandler, SyncHandler
from streamq.model.outcomes import Dead, Outcome, Retry
from streamq.model.records import Offset, Record
from streamq.tasks.invoke import bind

from .fakes import FakeClients


class Order(msgspec.Struct):
    """What is worked on."""

    amount: float


class World:
    """An app on fakes, and its handlers run by hand."""

    def __init__(
        self, value: object = Order, key: object = str, *, serde: object = None, publish_timeout_s: float = 5.0
    ) -> None:
        self.clients = FakeClients()
        self.app = sq.App("shop", clients=self.clients, publish_timeout_s=publish_timeout_s)
        self.orders = self.app.topic("orders", value=value, key=key, serde=serde)
        self.receipts = self.app.topic("receipts", value=Order)

    def bound(self, handler: Callable[..., object], *, is_replay: bool = False) -> AsyncHandler | SyncHandler:
        """A handler as the runtime gets it."""
        self.app.processor(self.orders, name=f"p{len(self.app.processors)}")(handler)
        processor = list(self.app.processors.values())[-1]
        return bind(processor, self.app.publisher, is_replay=is_replay)

    def run(self, handler: Callable[..., object], record: Record | None = None, attempt: int = 1) -> Outcome:
        """One attempt, to its end."""
        record = a_record() if record is None else record
        bound = self.bound(handler)
        if isinstance(bound, SyncHandler):
            return bound.call(record, attempt)
        return asyncio.run(bound.call(record, attempt))


def a_record(value: bytes | None = b'{"amount":2.5}', key: bytes | None = b"ann") -> Record:
    """An order of ann's."""
    return Record("orders", 3, Offset(17), key, value, (("trace", b"1"),), 1_700_000_000_000)


def both(body: Callable[[Order, sq.Context], object]) -> list[Callable[..., object]]:
    """The same handler as `def` and as `async def`."""

    def plain(order: Order, ctx: sq.Context) -> None:
        body(order, ctx)

    async def coroutine(order: Order, ctx: sq.Context) -> None:
        body(order, ctx)

    return [plain, coroutine]


def raiser(error: BaseException) -> Callable[[Order, sq.Context], object]:
    """A body that raises this."""

    def body(order: Order, ctx: sq.Context) -> None:
        raise error

    return body


def retried(outcome: Outcome) -> Retry:
    """It has to be one."""
    assert isinstance(outcome, Retry), outcome
    return outcome


def dead(outcome: Outcome) -> Dead:
    """It has to be one."""
    assert isinstance(outcome, Dead), outcome
    return outcome
