"""Topics at a worker's start: what is created, what is extended, what is an error with the command that mends it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamq.config import ProcessorConfig
from streamq.model.errors import TopicConfigError
from streamq.model.records import TopicSpec
from streamq.ops.topic_check import wanted
from streamq.ops.topics import ensure_processor_topics

from .shop import Shop

DLQ = "shop.charge.dlq"
RETRY = "shop.charge.retry"


def ensure(shop: Shop, *, create: bool = True) -> int:
    return ensure_processor_topics(shop.admin, shop.charge, create=create, timeout_s=5.0)


def partitions(shop: Shop, topic: str) -> int:
    return len(shop.cluster.partitions(topic))


def test_all_topics_are_created(shop: Shop) -> None:
    assert ensure(shop) == 2
    assert [partitions(shop, name) for name in ("orders", DLQ, RETRY)] == [2, 2, 2]


@pytest.mark.parametrize("derived", [DLQ, RETRY])
def test_derived_topics_follow_their_source(shop: Shop, derived: str) -> None:
    config = {"max.message.bytes": "2000000", "min.insync.replicas": "1", "retention.ms": "1000"}
    shop.admin.create_topic(TopicSpec("orders", 5, None, config), 1.0)
    assert ensure(shop) == 5
    found = shop.admin.topic_config(derived, 1.0)
    assert partitions(shop, derived) == 5
    assert found["max.message.bytes"] == str(2_000_000 + 64 * 1024), "room for the headers"
    assert {
        name: found[name]
        for name in (
            "cleanup.policy",
            "retention.ms",
            "retention.bytes",
            "message.timestamp.type",
            "message.timestamp.before.max.ms",
            "message.timestamp.after.max.ms",
            "min.insync.replicas",
        )
    } == {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "message.timestamp.type": "CreateTime",
        "message.timestamp.before.max.ms": "9223372036854775807",
        "message.timestamp.after.max.ms": "9223372036854775807",
        "min.insync.replicas": "1",
    }


def test_too_few_partitions_are_extended_and_more_are_accepted(shop: Shop) -> None:
    shop.create("orders", DLQ, RETRY)
    shop.admin.add_partitions("orders", 4, 1.0)
    assert ensure(shop) == 4
    assert (partitions(shop, DLQ), partitions(shop, RETRY)) == (4, 4)
    shop.admin.add_partitions(DLQ, 9, 1.0)
    shop.admin.add_partitions(RETRY, 7, 1.0)
    assert ensure(shop, create=False) == 4
    assert (partitions(shop, DLQ), partitions(shop, RETRY)) == (9, 7)


def test_where_creating_is_forbidden_the_command_is_told(shop: Shop) -> None:
    with pytest.raises(TopicConfigError, match="topic orders does not exist, and creating topics is forbidden") as told:
        ensure(shop, create=False)
    assert "`kafka-topics.sh --bootstrap-server BROKERS --create --topic orders --partitions 2`" in str(told.value)
    shop.create("orders")
    with pytest.raises(TopicConfigError, match=r"topic shop\.charge\.dlq of processor charge does") as told:
        ensure(shop, create=False)
    assert "--create --topic shop.charge.dlq --partitions 2" in str(told.value)
    assert "--config retention.ms=-1" in str(told.value)
    assert partitions(shop, DLQ) == 0
    shop.create(DLQ)
    with pytest.raises(TopicConfigError, match=r"retry topic shop\.charge\.retry of processor charge does") as told:
        ensure(shop, create=False)
    assert "--create --topic shop.charge.retry --partitions 2" in str(told.value)
    assert partitions(shop, RETRY) == 0


def test_where_extending_is_forbidden_the_command_is_told(shop: Shop) -> None:
    shop.create("orders", DLQ, RETRY)
    shop.admin.add_partitions("orders", 4, 1.0)
    for kind, name in (("dead-letter", DLQ), ("retry", RETRY)):
        with pytest.raises(TopicConfigError, match=f"{kind} topic {name} has 2 partitions, its source orders") as told:
            ensure(shop, create=False)
        assert f"`kafka-topics.sh --bootstrap-server BROKERS --alter --topic {name} --partitions 4`" in str(told.value)
        assert partitions(shop, name) == 2
        shop.admin.add_partitions(name, 4, 1.0)


def test_a_replay_parks_by_itself_and_shares_the_dead_letters(shop: Shop) -> None:
    own = "shop.charge.replay.r"
    assert ensure_processor_topics(shop.admin, shop.charge, create=True, timeout_s=5.0, group=own) == 2
    assert [partitions(shop, name) for name in (DLQ, f"{own}.retry", RETRY)] == [2, 2, 0]


def test_a_partition_that_is_one_lane_parks_nothing(shop: Shop) -> None:
    whole = replace(shop.charge, config=ProcessorConfig(ordering="partition"))
    assert ensure_processor_topics(shop.admin, whole, create=True, timeout_s=5.0) == 2
    assert (partitions(shop, DLQ), partitions(shop, RETRY)) == (2, 0)
    assert [one.purpose for one in wanted(shop.admin, (), [whole])] == ["dead letters of charge"]
