"""What an app's topics should be, and each difference with the command that mends it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import streamq as sq
from streamq.ops import topic_check
from streamq.ops.topic_check import Difference, Wanted

from .shop import Order, Shop

DLQ = "shop.charge.dlq"
RETRY = "shop.charge.retry"
DERIVED = (DLQ, RETRY)
ALL = ("orders", *DERIVED)


def wanted(shop: Shop) -> Sequence[Wanted]:
    return topic_check.wanted(shop.admin, [shop.orders], [shop.charge])


def differences(shop: Shop) -> Sequence[Difference]:
    return topic_check.differences(shop.admin, wanted(shop))


def test_what_is_created_is_as_it_should_be(shop: Shop) -> None:
    assert [(row.topic, row.partitions) for row in topic_check.status(shop.admin, wanted(shop))] == [
        ("orders", None),
        (DLQ, None),
        (RETRY, None),
    ]
    assert topic_check.create(shop.admin, [shop.orders], [shop.charge]) == dict.fromkeys(ALL, "created")
    assert topic_check.create(shop.admin, [shop.orders], [shop.charge]) == dict.fromkeys(ALL, "there already")
    assert differences(shop) == []


def test_what_is_missing_comes_with_its_command(shop: Shop) -> None:
    first, second, third = differences(shop)
    assert (first.topic, first.found) == ("orders", "missing")
    assert first.command.endswith("--create --topic orders --partitions 2")
    assert (second.topic, second.found) == (DLQ, "missing")
    assert "--config cleanup.policy=delete" in second.command
    assert (third.topic, third.found) == (RETRY, "missing")
    assert third.command == second.command.replace(DLQ, RETRY), "made alike"
    assert "replication-factor" not in second.command, "the source's is not known before it exists"


@pytest.mark.parametrize("derived", [DLQ, RETRY])
@pytest.mark.parametrize(
    ("name", "value", "wish"),
    [
        ("retention.ms", "1000", "-1"),
        ("retention.bytes", "1000", "-1"),
        ("cleanup.policy", "compact", "delete"),
        ("min.insync.replicas", "2", "1"),
        ("message.timestamp.type", "LogAppendTime", "CreateTime"),
        ("message.timestamp.before.max.ms", "1000", "9223372036854775807"),
        ("message.timestamp.after.max.ms", "1000", "9223372036854775807"),
    ],
)
def test_each_setting_of_a_derived_topic_is_compared(
    shop: Shop, derived: str, name: str, value: str, wish: str
) -> None:
    topic_check.create(shop.admin, [shop.orders], [shop.charge])
    shop.admin.alter_topic_config(derived, {name: value, "max.message.bytes": "9999999"}, 1.0)
    [row] = differences(shop)
    assert (row.what, row.found, row.wanted) == (name, value, wish)
    assert row.command.endswith(f"--entity-name {derived} --add-config {name}={wish}")


def test_room_for_the_headers_is_asked_for_when_the_source_takes_larger_records(shop: Shop) -> None:
    topic_check.create(shop.admin, [shop.orders], [shop.charge])
    shop.admin.alter_topic_config("orders", {"max.message.bytes": "5000000"}, 1.0)
    wish = str(5_000_000 + 64 * 1024)
    assert [(row.topic, row.what, row.wanted) for row in differences(shop)] == [
        (DLQ, "max.message.bytes", wish),
        (RETRY, "max.message.bytes", wish),
    ]


def test_fewer_partitions_are_a_difference_and_more_are_none(shop: Shop) -> None:
    topic_check.create(shop.admin, [shop.orders], [shop.charge])
    shop.admin.add_partitions("orders", 3, 1.0)
    for row, name in zip(differences(shop), DERIVED, strict=True):
        assert (row.topic, row.what, row.found, row.wanted) == (name, "partitions", "2", "3")
        assert row.command.endswith(f"--alter --topic {name} --partitions 3")
    shop.admin.add_partitions(DLQ, 8, 1.0)
    shop.admin.add_partitions(RETRY, 8, 1.0)
    assert differences(shop) == []


def test_fewer_replicas_than_the_source_has_are_a_difference(shop: Shop) -> None:
    """The cluster in memory has one broker, so the wish is raised instead of the fact lowered."""
    topic_check.create(shop.admin, [shop.orders], [shop.charge])
    _, letters, parked = wanted(shop)
    assert parked.spec == letters.spec._replace(name=RETRY)
    assert letters.spec.replication_factor == 1, "the source's"
    wish = Wanted(letters.spec._replace(replication_factor=3), letters.purpose)
    [row] = topic_check.differences(shop.admin, [wish])
    assert (row.topic, row.what, row.found, row.wanted) == (DLQ, "replicas", "1", "3")
    assert "kafka-reassign-partitions.sh" in row.command
    assert f"FILE names 3 brokers as replicas of each partition of {DLQ}" in row.command
    assert topic_check.differences(shop.admin, [Wanted(letters.spec._replace(replication_factor=None), "")]) == []


def test_derived_topics_with_too_few_partitions_are_extended_and_a_declared_topic_is_not(shop: Shop) -> None:
    topic_check.create(shop.admin, [shop.orders], [shop.charge])
    shop.admin.add_partitions("orders", 3, 1.0)
    for row, name in zip(topic_check.pending(shop.admin, [shop.orders], [shop.charge]), DERIVED, strict=True):
        assert row.command.endswith(f"--alter --topic {name} --partitions 3")
    done = topic_check.create(shop.admin, [shop.orders], [shop.charge])
    assert done == {"orders": "there already", DLQ: "extended", RETRY: "extended"}
    assert differences(shop) == []

    app = sq.App("shop")
    app.topic("orders", value=Order, partitions=5)
    larger = app.topics["orders"]
    assert topic_check.pending(shop.admin, [larger], [shop.charge]) == []
    assert topic_check.create(shop.admin, [larger], [shop.charge]) == dict.fromkeys(ALL, "there already")
    [row] = topic_check.differences(shop.admin, topic_check.wanted(shop.admin, [larger], [shop.charge]))
    assert (row.topic, row.what, row.found, row.wanted) == ("orders", "partitions", "3", "5")
    assert "more partitions of orders move keys" in row.note, "said before anybody does it"
    assert "until `streamq lag` says 0 behind and 0 parked" in row.note
