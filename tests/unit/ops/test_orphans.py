"""What is parked or given up and has no processor any more is named, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streamq.config import ProcessorConfig
from streamq.core.journal_records import KeyState, Settled, encode
from streamq.model.records import TopicPartition
from streamq.ops import topic_check
from streamq.ops.orphans import Orphan, orphans

from .journal import RETRY, entry, write
from .shop import Shop

OLD_RETRY = TopicPartition("shop.old.retry", 0)
OLD_DLQ = TopicPartition("shop.old.dlq", 1)


def found(shop: Shop) -> Sequence[Orphan]:
    return orphans(shop.admin, shop.reader, "shop", shop.app.processors.values(), shop.clock)


def park(shop: Shop, place: TopicPartition) -> None:
    for record in (entry(1, b"a"), entry(2, b"b"), KeyState(b"c", "held")):
        payload = encode(record)
        shop.cluster.append(place, payload.value, payload.key, payload.headers)


def test_what_a_renamed_processor_left_behind_is_named(shop: Shop) -> None:
    shop.create(OLD_RETRY.topic, OLD_DLQ.topic)
    assert found(shop) == [], "they hold nothing"
    park(shop, OLD_RETRY)
    shop.cluster.append(OLD_DLQ, b"{}")
    letters, parked = found(shop)
    assert (letters.topic, letters.holds) == ("shop.old.dlq", "1 open dead letters")
    assert (parked.topic, parked.holds) == ("shop.old.retry", "2 parked records and 1 keys that stand")
    assert parked.wanted == "a processor 'old'"
    assert 'Declare it under its old name, `name="old"`' in parked.remedy
    assert "`kafka-topics.sh --bootstrap-server BROKERS --delete --topic shop.old.retry`" in parked.remedy


def test_what_is_worked_off_is_no_orphan(shop: Shop) -> None:
    shop.create(OLD_RETRY.topic)
    park(shop, OLD_RETRY)
    for record in (Settled((0, 1)), KeyState(b"c", "cleared")):
        payload = encode(record)
        shop.cluster.append(OLD_RETRY, payload.value, payload.key, payload.headers)
    assert found(shop) == []


def test_topics_of_processors_of_replays_and_of_others_are_none(shop: Shop) -> None:
    others = ("shop.charge.replay.r.retry", "shopping.old.retry", "shop.dlq", "shop.retry", "other.charge.dlq")
    shop.create(RETRY, "shop.charge.dlq", *others)
    write(shop, entry(1))
    shop.bury(0)
    for name in others:
        shop.cluster.append(TopicPartition(name, 0), b"{}")
    assert found(shop) == []


def test_a_journal_that_cannot_be_read_is_named_all_the_same(shop: Shop) -> None:
    shop.create(OLD_RETRY.topic)
    shop.cluster.append(OLD_RETRY, b"nonsense")
    [row] = found(shop)
    assert row.holds.startswith("parked records that cannot be counted (offset 0: a record of the retry topic")


def test_a_processor_that_parks_no_more_leaves_what_it_has_parked(shop: Shop) -> None:
    shop.create(RETRY)
    write(shop, entry(1))
    whole = replace(shop.charge, config=ProcessorConfig(ordering="partition"))
    [row] = orphans(shop.admin, shop.reader, "shop", [whole], shop.clock)
    assert (row.topic, row.wanted) == (RETRY, "nothing")
    assert "processor 'charge' does not read them under ordering='partition'" in row.remedy


def test_it_is_a_difference_without_a_command(shop: Shop) -> None:
    shop.create(OLD_RETRY.topic)
    park(shop, OLD_RETRY)
    [row] = topic_check.unworked(shop.admin, shop.reader, "shop", shop.app.processors.values(), shop.clock)
    assert (row.topic, row.what, row.command) == ("shop.old.retry", "processor", "")
    assert row.note.startswith("shop.old.retry holds 2 parked records")
