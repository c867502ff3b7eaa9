"""Declaring topics and processors: what is accepted, and how each mistake is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
import pytest

import streamq as sq
from streamq.config import OnDead, ProcessorConfig
from streamq.model.records import TopicSpec


class Order(msgspec.Struct):
    order_id: str
    amount: float


class Invoice(msgspec.Struct):
    number: int


@pytest.fixture
def app() -> sq.App:
    return sq.App("shop")


def test_a_topic_knows_what_it_is_created_with(app: sq.App) -> None:
    orders = app.topic("orders", value=Order, partitions=6, replication_factor=3, config={"retention.ms": "1000"})
    assert orders.spec == TopicSpec("orders", 6, 3, {"retention.ms": "1000"})
    assert dict(app.topics) == {"orders": orders}


def test_the_same_declaration_again_is_the_same_topic(app: sq.App) -> None:
    assert app.topic("orders", value=Order, partitions=6) is app.topic("orders", value=Order, partitions=6)


def test_another_type_for_a_declared_topic_is_refused(app: sq.App) -> None:
    app.topic("orders", value=Order)
    with pytest.raises(sq.ConfigError, match=r"topic 'orders' is declared twice with another value: Order and Invoice"):
        app.topic("orders", value=Invoice)


def test_another_partition_count_for_a_declared_topic_is_refused(app: sq.App) -> None:
    app.topic("orders", value=Order, partitions=6)
    with pytest.raises(sq.ConfigError, match=r"declared twice with another partitions: 6 and 12: declare it once"):
        app.topic("orders", value=Order, partitions=12)


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 250, ".."])
def test_a_name_kafka_does_not_take_is_refused(app: sq.App, name: str) -> None:
    with pytest.raises(sq.ConfigError, match=r"topic name .* is not usable"):
        app.topic(name)


def test_a_topic_setting_that_is_no_text_is_refused(app: sq.App) -> None:
    topic: Callable[..., object] = app.topic
    with pytest.raises(sq.ConfigError, match=r"topic 'orders': config 'retention\.ms' is 5: Kafka's settings are text"):
        topic("orders", config={"retention.ms": 5})


def test_a_topic_without_a_type_holds_bytes(app: sq.App) -> None:
    raw = app.topic("raw")
    assert raw.value_serde.encode(b"\x00", topic="raw") == b"\x00"
    assert raw.key_serde.encode("k", topic="raw") == b"k"


def test_a_processor_gets_its_names_from_app_and_function(app: sq.App) -> None:
    orders = app.topic("orders", value=Order)

    @app.processor(orders, concurrency=3, timeout_s=1.5, ordering="partition")
    async def charge(order: Order, ctx: sq.Context) -> None: ...

    processor = app.processors["charge"]
    assert (processor.name, processor.group) == ("charge", "shop.charge")
    assert (processor.dead_letter_topic, processor.retry_topic) == ("shop.charge.dlq", "shop.charge.retry")
    assert processor.topic is orders
    assert processor.handler is charge
    assert processor.config == ProcessorConfig(concurrency=3, timeout_s=1.5, ordering="partition")
    assert "test_declarations.py:" in processor.place


def test_the_decorated_function_stays_callable(app: sq.App) -> None:
    orders = app.topic("orders", value=Order)

    @app.processor(orders)
    def charge(order: Order) -> float:
        return order.amount

    assert charge(Order("1", 2.5)) == 2.5


def test_a_topic_may_be_named_by_its_declared_name(app: sq.App) -> None:
    app.topic("orders", value=Order)

    @app.processor("orders")
    def charge(order: Order) -> None: ...

    assert app.processors["charge"].topic is app.topics["orders"]


def test_two_processors_of_one_name_are_refused_with_both_places(app: sq.App) -> None:
    orders = app.topic("orders", value=Order)

    def charge(order: Order) -> None: ...

    app.processor(orders)(charge)
    with pytest.raises(sq.ConfigError) as error:

        @app.processor(orders, name="charge")
        def other(order: Order) -> None: ...

    message = str(error.value)
    assert message.startswith("processor 'charge' is declared twice, at ")
    assert message.count("test_declarations.py:") == 2
    assert "name=" in message


def test_a_topic_of_another_app_is_refused(app: sq.App) -> None:
    app.topic("orders", value=Order)
    foreign = sq.App("other").topic("orders", value=Order)
    with pytest.raises(sq.ConfigError, match=r"topic 'orders' of another app is not declared by app 'shop'"):
        app.processor(foreign)


def test_an_unknown_topic_name_lists_the_declared_ones(app: sq.App) -> None:
    app.topic("orders", value=Order)
    app.topic("receipts")
    with pytest.raises(
        sq.ConfigError, match=r"topic 'oders' is not declared by app 'shop' \(declared: 'orders', 'receipts'\)"
    ):
        app.processor("oders")


def test_the_decorator_without_parentheses_is_refused(app: sq.App) -> None:
    def charge(order: Order) -> None: ...

    bare: Callable[..., object] = app.processor
    with pytest.raises(sq.ConfigError, match=r"stands without a topic: write `@app.processor\(orders\)`"):
        bare(charge)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": -1}, "concurrency is -1: use a whole number of at least 1"),
        ({"concurrency": 1.5}, "concurrency is 1.5: use a whole number"),
        ({"timeout_s": -2}, "timeout_s is -2: use a number above 0"),
        ({"ordering": "random"}, "ordering is 'random': use one of 'key', 'partition', 'none'"),
        ({"on_dead": "drop"}, "on_dead is 'drop': use one of 'skip', 'chain', 'hold'"),
        ({"on_dead": "chain", "ordering": "none"}, "on_dead is 'chain' with ordering 'none': what it does to a key's"),
        ({"on_dead": "hold", "ordering": "partition"}, "needs ordering 'key'; use on_dead 'skip'"),
        ({"park_after_s": 0}, "park_after_s is 0: use a number above 0"),
        ({"park_after_s": "soon"}, "park_after_s is 'soon': use a number above 0"),
        ({"start": datetime.fromisoformat("2026-11-20T08:00")}, "a time without a zone"),
        ({"start": "yesterday"}, "start is 'yesterday': use one of 'earliest', 'latest'"),
        ({"retry": 5}, "retry is 5: use a RetryPolicy"),
        ({"max_buffered_records": 0}, "max_buffered_records is 0"),
        ({"max_buffered_bytes": 1}, "max_buffered_bytes is 1"),
    ],
)
def test_an_option_that_cannot_work_is_refused(app: sq.App, options: dict[str, object], message: str) -> None:
    declare: Callable[..., object] = app.processor
    with pytest.raises(sq.ConfigError) as error:
        declare(app.topic("orders"), **options)
    assert message in str(error.value)


@pytest.mark.parametrize("on_dead", ["skip", "chain", "hold"])
@pytest.mark.parametrize("park_after_s", [0.5, 5.0, None])
def test_what_becomes_of_a_failing_key_may_be_chosen(app: sq.App, on_dead: OnDead, park_after_s: float | None) -> None:
    @app.processor(app.topic("orders"), on_dead=on_dead, park_after_s=park_after_s)
    def charge(order: bytes) -> None: ...

    assert app.processors["charge"].config == ProcessorConfig(on_dead=on_dead, park_after_s=park_after_s)


def test_negative_attempts_are_refused() -> None:
    with pytest.raises(sq.ConfigError, match=r"retry.max_attempts is -3: it counts the first run"):
        sq.RetryPolicy(max_attempts=-3)


def test_a_handler_without_a_name_needs_one(app: sq.App) -> None:
    orders = app.topic("orders", value=Order)
    with pytest.raises(sq.ConfigError, match=r"has no name of its own: pass one, `@app.processor\(orders, name=…\)`"):
        app.processor(orders)(lambda order: None)

    class Charge:
        def __call__(self, order: Order) -> None: ...

    with pytest.raises(sq.ConfigError, match="has no name: pass one"):
        app.processor(orders)(Charge())
    app.processor(orders, name="charge")(Charge())
    assert not app.processors["charge"].shape.takes_context


@pytest.mark.parametrize("name", ["a b", "a.b", ""])
def test_a_processor_name_that_is_not_usable_is_refused(app: sq.App, name: str) -> None:
    orders = app.topic("orders", value=Order)
    with pytest.raises(sq.ConfigError, match=r"processor name .* is not usable"):

        @app.processor(orders, name=name)
        def charge(order: Order) -> None: ...
