"""Dead letters as they are listed and shown."""

from __future__ import annotations

from typing import cast

import pytest

import streamq as sq
from streamq.model.errors import ConfigError
from streamq.model.records import TopicPartition
from streamq.ops import dead_letters
from streamq.ops.dead_letters import DeadLetter, Whole, shown_value
from streamq.tasks.topic import AnyTopic

from .shop import Shop

DLQ = TopicPartition("shop.charge.dlq", 0)


def listed(shop: Shop, key: str | None = None, reason: str | None = None) -> list[DeadLetter]:
    return list(dead_letters.letters(shop.admin, shop.reader, shop.charge, shop.clock, key=key, reason=reason))


def show(shop: Shop, partition: int, offset: int) -> Whole:
    return dead_letters.whole(shop.admin, shop.reader, shop.charge, shop.clock, partition, offset)


def test_a_letter_tells_where_it_came_from_and_why(shop: Shop) -> None:
    shop.create("orders", "shop.charge.dlq")
    shop.bury(1, key=b"ada")
    assert listed(shop) == [
        DeadLetter(
            1,
            0,
            "ada",
            "attempts",
            "ValueError",
            "it broke",
            5,
            "orders",
            1,
            7,
            1_800_000_000_000,
            "shop.charge",
            "open",
        )
    ]
    assert dead_letters.count(shop.admin, shop.charge) == 1


def test_filters_leave_out_what_does_not_fit(shop: Shop) -> None:
    shop.create("orders", "shop.charge.dlq")
    for key, reason in ((b"ada", "attempts"), (b"bob", "rejected"), (b"ada", "rejected")):
        shop.bury(0, key=key, reason=reason)
    assert [letter.offset for letter in listed(shop, key="ada")] == [0, 2]
    assert [letter.offset for letter in listed(shop, reason="rejected")] == [1, 2]
    assert [letter.offset for letter in listed(shop, key="ada", reason="rejected")] == [2]


def test_no_topic_is_no_letter(shop: Shop) -> None:
    assert listed(shop) == []
    assert dead_letters.count(shop.admin, shop.charge) == 0


def test_letters_before_a_marker_and_after_retention_are_all_there_is(shop: Shop) -> None:
    shop.create("orders", "shop.charge.dlq")
    for _ in range(3):
        shop.bury(0)
    shop.cluster.append_marker(DLQ)
    shop.cluster.delete_records(DLQ, 1)
    assert [letter.offset for letter in listed(shop)] == [1, 2]


def test_what_somebody_else_wrote_is_shown_without_context(shop: Shop) -> None:
    shop.create("orders", "shop.charge.dlq")
    shop.cluster.append(DLQ, b"x", None, (("streamq.attempts", b"many"), ("streamq.reason", None)))
    [letter] = listed(shop)
    assert (letter.key, letter.reason, letter.attempts, letter.source_topic) == (None, "unknown", None, "")


def test_a_letter_is_shown_whole(shop: Shop) -> None:
    shop.create("orders", "shop.charge.dlq")
    shop.bury(0, value=b'{"amount": 1, "unknown": true}')
    whole = show(shop, 0, 0)
    assert whole.value == {"amount": 1, "unknown": True}, "nothing is left out that the type does not know"
    assert whole.stack == "Traceback: it broke"
    assert whole.headers["user"] == "own"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, None), (b"plain", "plain"), (b"\x00\xff", "00 ff"), (b"[1]", [1]), (b'{"amount": ', '{"amount": ')],
)
def test_values_are_shown_as_json_text_or_hexadecimal(shop: Shop, value: bytes | None, shown: object) -> None:
    assert shown_value(shop.orders, value) == shown


def test_a_binary_format_is_shown_decoded() -> None:
    schema = {"type": "record", "name": "Order", "fields": [{"name": "amount", "type": "double"}]}
    topic = sq.App("avro").topic("orders", value=dict, serde="avro", schema=schema)
    encoded = topic.value_serde.encode({"amount": 2.5}, topic="orders")
    assert encoded is not None
    assert shown_value(cast("AnyTopic", topic), encoded) == {"amount": 2.5}


def test_a_place_without_a_letter_says_where_they_are(shop: Shop) -> None:
    shop.create("orders", "shop.charge.dlq")
    with pytest.raises(ConfigError, match=r"no dead letter stands at 0:3 of shop\.charge\.dlq: there are none at all"):
        show(shop, 0, 3)
    shop.bury(0)
    shop.bury(0)
    with pytest.raises(ConfigError, match="there are 0:0 to 0:1"):
        show(shop, 0, 3)
    with pytest.raises(ConfigError, match="no dead letter stands at 9:0"):
        show(shop, 9, 0)
    shop.cluster.append_marker(DLQ)
    with pytest.raises(ConfigError, match="the offset holds none"):
        show(shop, 0, 2)
