"""Publishing: what is checked and written, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

import streamq as sq
from streamq.model.records import Delivery, TopicInfo, TopicSpec

from .publishing import Order, World


@pytest.fixture
def world() -> World:
    return World()


# What is written.


def test_a_record_is_written_with_key_headers_time_and_partition(world: World) -> None:
    delivery = world.app.publish(
        world.orders,
        Order(2.5),
        key="ann",
        headers={"trace": "ü", "raw": b"\xff", "none": None},
        timestamp=datetime(2026, 11, 20, 8, tzinfo=timezone(timedelta(hours=2))),
        partition=4,
    ).result(1)
    assert delivery == Delivery("orders", 4, delivery.offset, 0)
    (record,) = world.clients.only_producer.produced
    assert (record.topic, record.key, record.value, record.partition) == ("orders", b"ann", b'{"amount":2.5}', 4)
    assert record.headers == (("trace", "ü".encode()), ("raw", b"\xff"), ("none", None))
    assert record.timestamp_ms == 1_763_618_400_000 + 365 * 86_400_000


def test_headers_may_be_pairs_so_that_a_name_can_come_twice(world: World) -> None:
    world.app.publish(world.raw, b"", headers=[("a", "1"), ("a", b"2")]).result(1)
    assert world.clients.only_producer.produced[0].headers == (("a", b"1"), ("a", b"2"))


def test_a_topic_may_be_named(world: World) -> None:
    world.app.publish("orders", Order(1)).result(1)
    assert world.values == [b'{"amount":1}']


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timestamp": datetime.fromisoformat("2026-11-20T08:00")}, "a time without a zone: use an aware datetime"),
        ({"timestamp": datetime(1969, 1, 1, tzinfo=UTC)}, "Kafka's times begin in 1970"),
        ({"partition": -1}, "partition is -1: use a whole number of at least 0"),
        ({"partition": True}, "partition is True"),
        ({"headers": {"a": 5}}, "header 'a' is 5: names are str, values str, bytes or None"),
        ({"headers": [(5, "a")]}, "header 5 is 'a'"),
    ],
)
def test_an_argument_that_cannot_work_is_refused_at_the_call(
    world: World, arguments: dict[str, object], message: str
) -> None:
    publish: Callable[..., object] = world.app.publish
    with pytest.raises(sq.ConfigError) as error:
        publish(world.orders, Order(1), **arguments)
    assert message in str(error.value)
    assert not world.clients.producers


def test_a_value_that_is_not_its_type_is_refused_at_the_call_with_topic_and_field(world: World) -> None:
    with pytest.raises(sq.SerdeError, match=r"topic orders: the value cannot be encoded: amount is 'much'"):
        world.app.publish("orders", {"amount": "much"})
    with pytest.raises(sq.SerdeError, match=r"topic orders: the key cannot be encoded: key is 5"):
        world.app.publish("orders", Order(1), key=5)
    assert not world.clients.producers


# Topics.


def test_the_first_publish_creates_a_missing_topic_as_declared_and_asks_once(world: World) -> None:
    for _ in range(3):
        world.app.publish(world.orders, Order(1)).result(1)
    assert world.clients.created == [TopicSpec("orders", 6, None, {"retention.ms": "5"})]
    assert world.clients.described == 1
    assert world.clients.admins_closed == 1


def test_a_topic_that_exists_is_left_alone() -> None:
    world = World("orders")
    world.app.publish(world.orders, Order(1)).result(1)
    assert not world.clients.created


def test_a_missing_topic_that_may_not_be_created_is_an_error_with_the_command() -> None:
    world = World(create=False)
    with pytest.raises(sq.TopicConfigError) as error:
        world.app.publish(world.orders, Order(1))
    message = str(error.value)
    assert "topic orders does not exist on kafka-1:9092" in message
    assert (
        "`kafka-topics.sh --bootstrap-server kafka-1:9092 --create --topic orders --partitions 6 "
        "--config retention.ms=5`" in message
    )
    assert "streamq topics create" in message
    world.clients.topics["orders"] = TopicInfo("orders", "id", 6, 1)
    assert world.app.publish(world.orders, Order(1)).result(1).topic == "orders"


def test_in_asyncio_the_publication_raises_that_error() -> None:
    world = World(create=False)

    async def main() -> None:
        publication = world.app.publish(world.orders, Order(1))
        with pytest.raises(sq.TopicConfigError, match="topic orders does not exist"):
            await publication

    asyncio.run(main())


def test_a_typo_never_makes_a_topic(world: World) -> None:
    with pytest.raises(
        sq.ConfigError, match=r"topic 'oders' is not declared by app 'shop' \(declared: 'orders', 'raw'\)"
    ):
        world.app.publish("oders", Order(1))
    assert not world.clients.created


def test_brokers_that_cannot_be_reached_are_named_within_the_timeout() -> None:
    world = World(timeout_s=0.2)
    world.clients.away = True
    with pytest.raises(
        sq.PublishError, match=r"topic orders: not published, because kafka-1:9092 did not answer in time"
    ):
        world.app.publish(world.orders, Order(1))

    async def main() -> None:
        with pytest.raises(sq.PublishError, match="kafka-1:9092"):
            await world.app.publish(world.orders, Order(1))
        with pytest.raises(sq.PublishError, match="kafka-1:9092"):
            await asyncio.to_thread(world.app.publish(world.orders, Order(1)).result, 0.05)

    asyncio.run(main())
    world.clients.away = False
    assert world.app.publish(world.orders, Order(1)).result(1)


# The end.


def test_flush_waits_for_deliveries_and_counts_what_is_left(world: World) -> None:
    assert world.app.flush(0.1) == 0
    world.app.publish(world.raw, b"first").result(1)
    producer = world.clients.only_producer
    producer.hold = True
    world.app.publish(world.raw, b"x")
    assert world.app.flush(0.01) == 1
    producer.hold = False
    assert world.app.flush(0.01) == 0


def test_close_ends_the_client_and_a_later_publish_makes_another(world: World) -> None:
    world.app.publish(world.raw, b"1").result(1)
    assert world.app.close() == 0
    assert world.clients.producers[0].closed
    world.app.publish(world.raw, b"2").result(1)
    assert len(world.clients.producers) == 2


def test_the_end_of_the_process_says_how_many_were_not_confirmed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.app.publish(world.raw, b"first").result(1)
    world.clients.only_producer.hold = True
    for _ in range(3):
        world.app.publish(world.raw, b"x")
    world.app.publisher.flush_at_exit()
    assert "3 published records were not confirmed before the process ended" in caplog.text
    world.clients.producers[0].hold = False
