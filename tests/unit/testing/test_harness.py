"""The harness runs the real worker: what it shows is what a worker does, in no time."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import msgspec
import pytest

import streamq as sq
from streamq.model.records import TopicPartition
from streamq.testing import HANG, HarnessError


class Order(msgspec.Struct):
    """What is worked on."""

    order_id: str
    amount: float


class Receipt(msgspec.Struct):
    """What is published by a handler."""

    order_id: str


@dataclass
class Shop:
    """An app, and what its handlers did."""

    app: sq.App = field(default_factory=lambda: sq.App("shop"))
    done: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.orders = self.app.topic("orders", value=Order, partitions=3)
        self.receipts = self.app.topic("receipts", value=Receipt)
        retry = sq.RetryPolicy(max_attempts=4, backoff_s=3_600.0, max_backoff_s=7_200.0)

        @self.app.processor(self.orders, retry=retry)
        async def charge(order: Order, ctx: sq.Context) -> None:
            self.done.append((order.order_id, ctx.attempt))
            if order.amount < 0:
                raise sq.Reject("negative amount")
            if order.amount > 1_000:
                raise RuntimeError("too much")
            await ctx.publish(self.receipts, Receipt(order.order_id), key=order.order_id)

        @self.app.processor(self.receipts)
        def mail(receipt: Receipt) -> None:
            self.done.append((f"mail {receipt.order_id}", 1))


@pytest.fixture
def shop() -> Shop:
    """A shop of a test's own."""
    return Shop()


def test_what_handlers_publish_is_worked_on_too(shop: Shop) -> None:
    with sq.testing.harness(shop.app) as h:
        for number in range(10):
            h.publish(shop.orders, Order(str(number), 1.0), key="ada")
        h.run_until_idle()
        assert h.records(shop.receipts) == [Receipt(str(number)) for number in range(10)]
        assert (h.lag("charge"), h.lag("mail")) == (0, 0)
        assert sum(h.committed("charge").values()) == 10
    assert [what for what, _ in shop.done if "mail" not in what] == [str(number) for number in range(10)]
    assert [what for what, _ in shop.done if "mail" in what] == [f"mail {number}" for number in range(10)]


def test_a_backoff_of_hours_costs_no_time_and_passes_on_the_harness_clock(shop: Shop) -> None:
    with sq.testing.harness(shop.app) as h:
        started = h.clock.monotonic()
        h.publish(shop.orders, Order("1", 5_000.0), key="ada")
        h.publish(shop.orders, Order("2", 5.0), key="ada")
        h.run_until_idle()
        (letter,) = h.dead_letters("charge")
        assert h.clock.monotonic() - started > 3_600.0
    assert [what for what in shop.done if "mail" not in what[0]] == [("1", 1), ("1", 2), ("1", 3), ("1", 4), ("2", 1)]
    assert (letter.value, letter.key, letter.reason) == (Order("1", 5_000.0), "ada", "attempts")
    assert (letter.attempts, letter.error_type, letter.error_message) == (4, "RuntimeError", "too much")


def test_a_rejected_record_is_a_dead_letter_with_what_came_along(shop: Shop) -> None:
    with sq.testing.harness(shop.app) as h:
        delivery = h.publish(shop.orders, Order("1", -1.0), key="ada", headers={"trace": "t-1"})
        h.run_until_idle()
        (letter,) = h.dead_letters("charge")
    assert (letter.reason, letter.attempts, letter.error_message) == ("rejected", 1, "negative amount")
    assert letter.headers == (("trace", b"t-1"),)
    assert letter.record.partition == delivery.partition


def test_what_does_not_decode_is_a_dead_letter_with_its_bytes(shop: Shop) -> None:
    with sq.testing.harness(shop.app) as h:
        h.cluster.append(TopicPartition("orders", 1), b"no JSON", b"ada")
        h.run_until_idle()
        (letter,) = h.dead_letters("charge")
    assert (letter.value, letter.key, letter.reason) == (b"no JSON", "ada", "undecodable")
    assert shop.done == []


def test_after_a_restart_what_was_not_committed_is_done_again(shop: Shop) -> None:
    with sq.testing.harness(shop.app) as h:
        h.publish(shop.orders, Order("1", 1.0), key="ada")
        h.run_until_idle()
        h.publish(shop.orders, Order("2", 1.0), key="ada")
        h.advance(0.0)
        assert shop.done[-1][0] in {"2", "mail 2"}
        assert h.lag("charge") == 1
        h.restart()
        h.run_until_idle()
        assert h.lag("charge") == 0
    charged = [what for what, _ in shop.done if "mail" not in what]
    assert charged == ["1", "2", "2"]


def test_time_passes_as_far_as_it_is_let(shop: Shop) -> None:
    with sq.testing.harness(shop.app) as h:
        h.publish(shop.orders, Order("1", 5_000.0), key="ada")
        h.advance(10.0)
        assert shop.done == [("1", 1)]
        h.advance(3_600.0 * 2)
        assert shop.done[1] == ("1", 2)


def test_it_says_what_is_left_when_it_does_not_come_to_rest(shop: Shop) -> None:
    with sq.testing.harness(shop.app) as h:
        h.publish(shop.orders, Order("1", 1.0), key="ada")
        h.cluster.away()
        with pytest.raises(HarnessError, match=r"not idle after 0\.2 s: processor charge .*"):
            h.run_until_idle(0.2)
        h.cluster.back()
        h.run_until_idle()
        assert h.records(shop.receipts) == [Receipt("1")]


def test_an_error_of_streamq_fails_the_test(shop: Shop) -> None:
    told = "streamq logged errors .*\n.*did not take a record.*dead_letter_refused"
    with pytest.raises(HarnessError, match=told), sq.testing.harness(shop.app) as h:
        h.cluster.faults.refuse_produces(topic="shop.charge.dlq")
        h.publish(shop.orders, Order("1", -1.0), key="ada")
        h.run_until_idle()


def test_an_error_that_is_expected_does_not(shop: Shop) -> None:
    with sq.testing.harness(shop.app) as h:
        h.expect_errors("dead_letter_refused")
        h.cluster.faults.refuse_produces(topic="shop.charge.dlq")
        h.publish(shop.orders, Order("1", -1.0), key="ada")
        h.run_until_idle()
        assert len(h.dead_letters("charge")) == 1


def test_what_a_test_raises_is_not_hidden_by_errors_of_streamq(shop: Shop) -> None:
    with pytest.raises(ZeroDivisionError), sq.testing.harness(shop.app):
        logging.getLogger("streamq.runtime").error("a consequence of what the test did")
        raise ZeroDivisionError


def test_what_handlers_log_is_theirs() -> None:
    app = sq.App("shop")
    orders = app.topic("orders", value=Order)

    @app.processor(orders)
    def complain(order: Order, ctx: sq.Context) -> None:
        ctx.logger.error("this is no error of streamq")

    with sq.testing.harness(app) as h:
        h.publish(orders, Order("1", 1.0))
        h.run_until_idle()


def test_a_commit_without_an_answer_loses_nothing(shop: Shop) -> None:
    with sq.testing.harness(shop.app) as h:
        h.expect_errors("commit_unknown")
        h.cluster.faults.delay_commits(HANG)
        h.publish(shop.orders, Order("1", 1.0), key="ada")
        h.run_until_idle()
        assert h.lag("charge") == 0
    assert Receipt("1").order_id in {what for what, _ in shop.done}


async def in_a_loop(shop: Shop) -> None:
    """As an async test does it."""
    with sq.testing.harness(shop.app) as h:
        h.publish(shop.orders, Order("1", 1.0), key="ada")
        h.run_until_idle()
        assert h.records(shop.receipts) == [Receipt("1")]
        h.restart()
        h.publish(shop.orders, Order("2", -1.0), key="ada")
        h.run_until_idle()
        assert len(h.dead_letters("charge")) == 1


def test_it_works_inside_a_running_event_loop(shop: Shop) -> None:
    asyncio.run(in_a_loop(shop))


def test_each_harness_begins_with_empty_topics(shop: Shop) -> None:
    for _ in range(2):
        with sq.testing.harness(shop.app) as h:
            assert h.records("orders") == []
            h.publish(shop.orders, Order("1", 1.0), key="ada")
            h.run_until_idle()
            assert len(h.records("orders")) == 1


def test_latest_begins_where_the_harness_begins() -> None:
    app = sq.App("shop")
    orders = app.topic("orders", value=Order)
    done: list[str] = []

    @app.processor(orders, start="latest")
    def late(order: Order) -> None:
        done.append(order.order_id)

    with sq.testing.harness(app) as h:
        h.publish(orders, Order("1", 1.0))
        h.run_until_idle()
    assert done == ["1"]


def test_names_that_the_app_does_not_have_are_named(shop: Shop) -> None:
    with sq.testing.harness(shop.app) as h:
        with pytest.raises(sq.ConfigError, match="no processor 'chrage': it has charge, mail"):
            h.dead_letters("chrage")
        with pytest.raises(sq.ConfigError, match="no topic 'oders': it has orders, receipts"):
            h.records("oders")
