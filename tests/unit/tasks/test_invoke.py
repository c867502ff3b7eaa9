"""One attempt: what a handler is given, and what its end comes to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress

import msgspec
import pytest

import streamq as sq
from streamq.model.errors import BrokerError, OutcomeUnknownError
from streamq.model.handlers import AsyncHandler, SyncHandler
from streamq.model.outcomes import DONE, Dead, Outcome, Retry
from streamq.model.records import Offset, Record
from streamq.tasks.invoke import bind

from .fakes import FakeClients


class Order(msgspec.Struct):
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
    return Record("orders", 3, Offset(17), key, value, (("trace", b"1"),), 1_700_000_000_000)


@pytest.fixture
def world() -> World:
    return World()


def both(body: Callable[[Order, sq.Context], object]) -> list[Callable[..., object]]:
    """The same handler as `def` and as `async def`."""

    def plain(order: Order, ctx: sq.Context) -> None:
        body(order, ctx)

    async def coroutine(order: Order, ctx: sq.Context) -> None:
        body(order, ctx)

    return [plain, coroutine]


def raiser(error: BaseException) -> Callable[[Order, sq.Context], object]:
    def body(order: Order, ctx: sq.Context) -> None:
        raise error

    return body


def retried(outcome: Outcome) -> Retry:
    assert isinstance(outcome, Retry), outcome
    return outcome


def dead(outcome: Outcome) -> Dead:
    assert isinstance(outcome, Dead), outcome
    return outcome


# What it is given.


def test_a_handler_gets_the_decoded_value_and_its_context(world: World) -> None:
    seen: list[object] = []

    def body(order: Order, ctx: sq.Context) -> None:
        seen.append((order, ctx.record, ctx.attempt, ctx.key, ctx.processor, ctx.is_replay))

    for handler in both(body):
        assert world.run(handler, attempt=2) is DONE
    assert seen == [
        (Order(2.5), a_record(), 2, "ann", "p0", False),
        (Order(2.5), a_record(), 2, "ann", "p1", False),
    ]


def test_a_handler_without_a_context_parameter_gets_the_value_alone(world: World) -> None:
    seen: list[Order] = []

    async def charge(order: Order) -> None:
        seen.append(order)

    def charge_now(order: Order) -> None:
        seen.append(order)

    assert world.run(charge) is DONE
    assert world.run(charge_now) is DONE
    assert seen == [Order(2.5), Order(2.5)]


def test_a_replay_is_told_apart(world: World) -> None:
    seen: list[bool] = []

    def charge(order: Order, ctx: sq.Context) -> None:
        seen.append(ctx.is_replay)

    handler = world.bound(charge, is_replay=True)
    assert isinstance(handler, SyncHandler)
    assert handler.call(a_record(), 1) is DONE
    assert seen == [True]


def test_the_logger_carries_the_records_coordinates(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def charge(order: Order, ctx: sq.Context) -> None:
        ctx.logger.info("charging", extra={"event": "charge"})

    with caplog.at_level(logging.INFO, logger="streamq.handler.shop.p0"):
        world.run(charge, attempt=3)
    fields = vars(caplog.records[0])
    assert {name: fields[name] for name in ("topic", "partition", "offset", "key", "attempt", "event")} == {
        "topic": "orders",
        "partition": 3,
        "offset": 17,
        "key": "ann",
        "attempt": 3,
        "event": "charge",
    }


def test_a_record_without_a_key_has_none(world: World) -> None:
    seen: list[object] = []

    def charge(order: Order, ctx: sq.Context) -> None:
        seen.append(ctx.key)

    assert world.run(charge, a_record(key=None)) is DONE
    assert seen == [None]


# Decoding.


def test_bytes_that_do_not_decode_are_dead_at_once_and_never_reach_the_handler(world: World) -> None:
    for handler in both(raiser(AssertionError("must not run"))):
        outcome = dead(world.run(handler, a_record(b'{"amount":')))
        assert outcome.reason == "undecodable"
        assert outcome.failure.error_type == "SerdeError"
        assert "topic orders: the value is not valid JSON for Order" in outcome.failure.message


def test_a_schema_registry_that_is_away_is_no_fault_of_the_record() -> None:
    class Away:
        name = "away"

        def encode(self, value: object, *, topic: str) -> bytes:
            raise sq.RetriableError("registry does not answer")

        def decode(self, data: bytes, *, topic: str) -> object:
            raise sq.RetriableError("registry does not answer")

    world = World(serde=Away())
    for handler in both(raiser(AssertionError("must not run"))):
        outcome = retried(world.run(handler))
        assert not outcome.counts
        assert "registry does not answer" in outcome.failure.message

    world = World()
    away = world.app.topic("away", value=object, serde=Away())
    for handler in both(lambda order, ctx: ctx.publish(away, order)):
        assert not retried(world.run(handler)).counts


def test_an_undecodable_key_kills_the_record_only_if_the_handler_asks_for_it() -> None:
    world = World(key=int)
    for handler in both(lambda order, ctx: ctx.key):
        outcome = dead(world.run(handler, a_record(key=b"abc")))
        assert outcome.reason == "undecodable"
        assert "key" in outcome.failure.message
    for handler in both(lambda order, ctx: None):
        assert world.run(handler, a_record(key=b"abc")) is DONE


def test_a_serde_error_of_the_handlers_own_is_an_ordinary_failure(world: World) -> None:
    for handler in both(raiser(sq.SerdeError("mine"))):
        assert retried(world.run(handler)).counts


def test_a_tombstone_reaches_the_handler_only_where_its_annotation_allows_none(world: World) -> None:
    seen: list[object] = []

    async def takes_none(order: Order | None, ctx: sq.Context) -> None:
        seen.append(order)

    assert world.run(takes_none, a_record(None)) is DONE
    assert seen == [None]
    for handler in both(raiser(AssertionError("must not run"))):
        outcome = dead(world.run(handler, a_record(None)))
        assert outcome.reason == "tombstone"
        assert "the value is a tombstone, and the handler takes no None: annotate" in outcome.failure.message


def test_a_json_null_counts_like_a_tombstone() -> None:
    world = World(value=Order | None)
    for handler in both(raiser(AssertionError("must not run"))):
        outcome = dead(world.run(handler, a_record(b"null")))
        assert outcome.reason == "tombstone"
        assert "the value is a null" in outcome.failure.message


# How it ends.


def test_reject_is_dead_at_once_with_its_reason(world: World) -> None:
    for handler in both(raiser(sq.Reject("negative amount"))):
        outcome = dead(world.run(handler))
        assert (outcome.reason, outcome.failure.error_type, outcome.failure.message) == (
            "rejected",
            "Reject",
            "negative amount",
        )


def test_retry_later_carries_its_delay_and_counts(world: World) -> None:
    for handler in both(raiser(sq.RetryLater(30))):
        outcome = retried(world.run(handler))
        assert (outcome.delay_s, outcome.counts, outcome.failure.error_type) == (30.0, True, "RetryLater")


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), True, "5"])
def test_a_delay_that_is_none_is_refused(delay: float) -> None:
    with pytest.raises(sq.ConfigError, match=r"RetryLater's delay_s is .*: use seconds"):
        sq.RetryLater(delay)


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), asyncio.CancelledError(), BaseException("odd")])
def test_any_other_exception_is_a_retry_with_type_message_and_stack(world: World, error: BaseException) -> None:
    for handler in both(raiser(error)):
        outcome = retried(world.run(handler))
        assert outcome.counts
        assert outcome.delay_s is None
        assert outcome.failure.error_type.endswith(type(error).__name__)
        assert outcome.failure.message == str(error)
        assert "in body" in outcome.failure.stack


def test_the_users_interrupt_is_not_an_outcome(world: World) -> None:
    def charge(order: Order) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.run(charge)


def test_a_cancellation_from_outside_stays_one(world: World) -> None:
    async def charge(order: Order) -> None:
        await asyncio.Event().wait()

    handler = world.bound(charge)
    assert isinstance(handler, AsyncHandler)

    async def cancelled() -> None:
        task = asyncio.ensure_future(handler.call(a_record(), 1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())


def test_a_handler_that_returns_work_nobody_would_do_fails(world: World) -> None:
    async def work() -> None: ...

    def forgot(order: Order) -> Coroutine[object, object, None]:
        return work()

    def generator(order: Order) -> object:
        return (number for number in range(3))

    for handler in (forgot, generator):
        failure = retried(world.run(handler)).failure
        assert "which nobody awaits: declare it `async def`" in failure.message


def test_a_return_value_means_nothing(world: World) -> None:
    def charge(order: Order) -> str:
        return "paid"

    async def charge_async(order: Order) -> str:
        return "paid"

    assert world.run(charge) is DONE
    assert world.run(charge_async) is DONE


# Publications.


def test_what_a_handler_publishes_is_confirmed_before_it_is_done(world: World) -> None:
    def publish(order: Order, ctx: sq.Context) -> None:
        ctx.publish(world.receipts, order, key=str(ctx.key))

    for handler in both(publish):
        assert world.run(handler) is DONE
    assert [(r.topic, r.key, r.value) for r in world.clients.only_producer.produced] == [
        ("receipts", b"ann", b'{"amount":2.5}')
    ] * 2


def test_a_coroutine_waits_for_publications_it_did_not_await(world: World) -> None:
    world.app.publish(world.receipts, Order(0)).result(1)
    producer = world.clients.only_producer
    producer.hold = True

    async def publish(order: Order, ctx: sq.Context) -> None:
        ctx.publish(world.receipts, order)

    handler = world.bound(publish)
    assert isinstance(handler, AsyncHandler)

    async def attempt() -> Outcome:
        task = asyncio.ensure_future(handler.call(a_record(), 1))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        await asyncio.to_thread(producer.deliver)
        return await task

    assert asyncio.run(attempt()) is DONE


def test_a_failed_publication_is_a_retry_even_if_nobody_waits_or_the_error_is_swallowed(world: World) -> None:
    async def unawaited(order: Order, ctx: sq.Context) -> None:
        ctx.publish(world.receipts, order)

    async def swallowed(order: Order, ctx: sq.Context) -> None:
        with suppress(sq.PublishError):
            await ctx.publish(world.receipts, order)

    def swallowed_in_a_thread(order: Order, ctx: sq.Context) -> None:
        with suppress(sq.PublishError):
            ctx.publish(world.receipts, order).result(1)

    world.app.publish(world.receipts, Order(0)).result(1)
    world.clients.only_producer.delivery_error = OutcomeUnknownError("timed out", code="_MSG_TIMED_OUT")
    for handler in (unawaited, swallowed, swallowed_in_a_thread):
        outcome = retried(world.run(handler))
        assert outcome.counts
        assert outcome.failure.error_type == "PublishError"
        assert "may have been written" in outcome.failure.message


def test_a_publish_that_is_refused_at_the_call_is_a_retry_even_if_swallowed(world: World) -> None:
    def swallow(order: Order, ctx: sq.Context) -> None:
        with suppress(sq.SerdeError):
            ctx.publish("receipts", "no order")

    for handler in both(swallow):
        outcome = retried(world.run(handler))
        assert outcome.failure.error_type == "SerdeError"


def test_a_rejected_record_waits_for_what_was_published_too(world: World) -> None:
    def publish(order: Order, ctx: sq.Context) -> None:
        ctx.publish(world.receipts, order)
        raise sq.Reject("done with it")

    for handler in both(publish):
        assert dead(world.run(handler)).reason == "rejected"
    world.clients.only_producer.delivery_error = BrokerError("no")
    for handler in both(publish):
        assert retried(world.run(handler)).failure.error_type == "PublishError"


def test_a_publication_that_is_never_confirmed_ends_the_wait_as_a_retry() -> None:
    world = World(publish_timeout_s=0.05)
    world.app.publish(world.receipts, Order(0)).result(1)
    world.clients.only_producer.hold = True

    def publish(order: Order, ctx: sq.Context) -> None:
        ctx.publish(world.receipts, order)

    for handler in both(publish):
        failure = retried(world.run(handler)).failure
        assert failure.error_type == "PublishError"
        assert "not confirmed by kafka-1:9092 within" in failure.message


def test_a_context_is_over_with_its_attempt(world: World) -> None:
    kept: list[sq.Context] = []
    for handler in both(lambda order, ctx: kept.append(ctx)):
        assert world.run(handler) is DONE
        with pytest.raises(sq.PublishError, match=r"attempt 1 at orders\[3\] offset 17 is over: publish before"):
            kept[-1].publish(world.receipts, Order(1))
