"""What a handler publishes, and what that does to the end of its attempt."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

import streamq as sq
from streamq.model.errors import BrokerError, OutcomeUnknownError
from streamq.model.handlers import AsyncHandler
from streamq.model.outcomes import DONE, Outcome

from .attempts import Order, World, a_record, both, dead, retried


@pytest.fixture
def world() -> World:
    return World()


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
