"""What an app's topics should be, and each difference with the command that mends it."""

from __future__ import annotations

from collections.abc import Sequence

from streamq.ops import topic_check
from streamq.ops.topic_check import Difference, Wanted

from .shop import Shop

DLQ = "shop.charge.dlq"


def wanted(shop: Shop) -> Sequence[Wanted]:
    return topic_check.wanted(shop.admin, [shop.orders], [shop.charge])


def differences(shop: Shop) -> Sequence[Difference]:
    return topic_check.differences(shop.admin, wanted(shop))


def test_what_is_created_is_as_it_should_be(shop: Shop) -> None:
    assert [(row.topic, row.partitions) for row in topic_check.status(shop.admin, wanted(shop))] == [
        ("orders", None),
        (DLQ, None),
    ]
    assert topic_check.create(shop.admin, [shop.orders], [shop.charge]) == {"orders": True, DLQ: True}
    assert topic_check.create(shop.admin, [shop.orders], [shop.charge]) == {"orders": False, DLQ: False}
    assert differences(shop) == []


def test_what_is_missing_comes_with_its_command(shop: Shop) -> None:
    first, second = differences(shop)
    assert (first.topic, first.found) == ("orders", "missing")
    assert first.command.endswith("--create --topic orders --partitions 2")
    assert (second.topic, second.found) == (DLQ, "missing")
    assert "--config cleanup.policy=delete" in second.command
    assert "replication-factor" not in second.command, "the source's is not known before it exists"


def test_each_setting_of_a_derived_topic_is_compared(shop: Shop) -> None:
    topic_check.create(shop.admin, [shop.orders], [shop.charge])
    shop.admin.alter_topic_config(DLQ, {"retention.ms": "1000", "max.message.bytes": "9999999"}, 1.0)
    [row] = differences(shop)
    assert (row.what, row.found, row.wanted) == ("retention.ms", "1000", "-1")
    assert row.command.endswith(f"--entity-name {DLQ} --add-config retention.ms=-1")


def test_room_for_the_headers_is_asked_for_when_the_source_takes_larger_records(shop: Shop) -> None:
    topic_check.create(shop.admin, [shop.orders], [shop.charge])
    shop.admin.alter_topic_config("orders", {"max.message.bytes": "5000000"}, 1.0)
    [row] = differences(shop)
    assert (row.topic, row.what, row.wanted) == (DLQ, "max.message.bytes", str(5_000_000 + 64 * 1024))


def test_fewer_partitions_are_a_difference_and_more_are_none(shop: Shop) -> None:
    topic_check.create(shop.admin, [shop.orders], [shop.charge])
    shop.admin.add_partitions("orders", 3, 1.0)
    [row] = differences(shop)
    assert (row.topic, row.what, row.found, row.wanted) == (DLQ, "partitions", "2", "3")
    assert row.command.endswith(f"--alter --topic {DLQ} --partitions 3")
    shop.admin.add_partitions(DLQ, 8, 1.0)
    assert differences(shop) == []
