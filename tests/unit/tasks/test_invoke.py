"""One attempt: what a handler is given, and what its end comes to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

import pytest

import streamq as sq
from streamq.model.handlers import AsyncHandler, SyncHandler
from streamq.model.outcomes import DONE

from .attempts import Order, World, a_record, both, dead, raiser, retried


@pytest.fixture
def world() -> World:
    return World()


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
