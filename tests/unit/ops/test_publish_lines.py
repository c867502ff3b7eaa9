"""Publishing a file: each line is published, or refused with its number and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

import streamq as sq
from streamq.model.errors import ConfigError, RecordTooLargeError, SerdeError
from streamq.ops.publishing import Publishes, Summary, key_bytes, key_from_text, key_of, publish_lines, value_of
from streamq.testing import MemoryCluster

from .shop import Order


@pytest.fixture
def app() -> Iterator[sq.App]:
    """An app on a cluster in memory that gives up soon."""
    app = sq.App("shop", publish_timeout_s=0.2)
    app.topic("orders", value=Order, partitions=2)
    app.topic("maybe", value=Order | None)
    app.topic("raw", value=bytes, key=int)
    app.use(MemoryCluster())
    yield app
    app.use(None)


def cluster(app: sq.App) -> MemoryCluster:
    return cast("MemoryCluster", app.clients)


def lines(app: sq.App, *texts: str, topic: str = "orders") -> Summary:
    return publish_lines(cast("Publishes", app.publish), app.topics[topic], [text.encode() for text in texts])


def refusals(summary: Summary) -> dict[int, str]:
    return {one.line: one.error for one in summary.refused}


def test_lines_carry_key_headers_and_partition(app: sq.App) -> None:
    summary = lines(
        app, '{"value": {"amount": 1}, "key": "a", "headers": {"h": "x"}, "partition": 1}', "", '{"value":{"amount":2}}'
    )
    assert summary == Summary(2, ())
    first = next(record for record in cluster(app).records("orders") if record.key == b"a")
    assert (first.partition, first.headers) == (1, (("h", b"x"),))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "line is not usable: JSON is malformed"),
        ('{"value": {"amount": 1}', "line is not usable: Input data was truncated"),
        ('{"key": "k"}', "Object missing required field `value`"),
        ('{"values": 1, "value": {}}', "Object contains unknown field `values`"),
        (
            '{"value": {"amount": "much"}}',
            r"value is not a Order of topic orders: Expected `float`, got `str` - at `\$",
        ),
        ('{"value": null}', "value is not a Order of topic orders: Expected `object`, got `null`"),
        ('{"value": {"amount": 1}, "key": 1.5}', "key is 1.5 of type float, and the topic's keys are str"),
        ('{"value": {"amount": 1}, "partition": -1}', "partition is -1"),
        ('{"value": {"amount": 1}, "headers": {"h": 1}}', "Expected `str`, got `int`"),
    ],
)
def test_a_bad_line_is_refused_and_the_others_go_on(app: sq.App, line: str, message: str) -> None:
    summary = lines(app, '{"value": {"amount": 1}}', line, '{"value": {"amount": 2}}')
    assert summary.published == 2
    assert list(refusals(summary)) == [2]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(refusals(summary)[2])


def test_null_is_a_tombstone_where_the_type_has_room_for_it(app: sq.App) -> None:
    assert lines(app, '{"key": "k", "value": null}', topic="maybe").published == 1
    assert [record.value for record in cluster(app).records("maybe")] == [None]


def test_a_record_that_is_too_large_is_one_line_s_fault(app: sq.App) -> None:
    cluster(app).create_topic("orders", 1, {"max.message.bytes": "2000"})
    large = '{"value": {"amount": 1, "note": "' + "x" * 5_000 + '"}}'
    summary = lines(app, large, '{"value": {"amount": 2}}')
    assert (summary.published, summary.stopped_at) == (1, None)
    assert "larger than the topic takes" in refusals(summary)[1]


def test_it_stops_where_the_brokers_take_no_more(app: sq.App) -> None:
    lines(app, '{"value": {"amount": 1}}')
    app.close()  # the next publish opens a new client, and asks for the topic
    cluster(app).away()
    summary = lines(app, *['{"value": {"amount": 2}}'] * 3)
    assert (summary.published, summary.stopped_at, list(refusals(summary))) == (0, 1, [1])
    cluster(app).back()


def test_a_missing_topic_stops_it_at_once() -> None:
    app = sq.App("shop", create_topics=False)
    app.topic("orders", value=Order)
    app.use(MemoryCluster())
    summary = lines(app, *['{"value": {"amount": 2}}'] * 3)
    assert (summary.published, summary.stopped_at) == (0, 1)
    assert "orders" in refusals(summary)[1]
    app.use(None)


def test_a_refusal_of_the_producer_names_its_line(app: sq.App) -> None:
    lines(app, '{"value": {"amount": 1}}')
    cluster(app).faults.refuse_produces(error=RecordTooLargeError("too large"))
    summary = lines(app, '{"value": {"amount": 1}}', '{"value": {"amount": 2}}')
    assert (summary.published, list(refusals(summary))) == (1, [1])


def test_progress_counts_bytes(app: sq.App) -> None:
    seen: list[int] = []
    publish_lines(
        cast("Publishes", app.publish), app.topics["orders"], [b'{"value": {"amount": 1}}\n', b"\n"], seen.append
    )
    assert seen == [25, 1]


def test_keys_are_of_the_topic_s_type(app: sq.App) -> None:
    orders, raw = app.topics["orders"], app.topics["raw"]
    assert key_of(orders, 5) == "5"
    assert key_of(raw, "5") == 5
    assert key_bytes(raw, "5") == b"\0\0\0\0\0\0\0\5"
    assert key_bytes(orders, "a") == b"a"
    assert key_bytes(orders, None) is None
    with pytest.raises(ConfigError, match="key is 'five': topic raw has whole numbers as keys"):
        key_bytes(raw, "five")


def test_other_keys_are_given_as_json(app: sq.App) -> None:
    schema = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]}
    topic = app.topic("keyed", value=bytes, key="avro", key_schema=schema)
    assert key_from_text(topic, '{"id": 7}') == {"id": 7}
    assert key_bytes(topic, '{"id": 7}') == b"\x0e"
    assert key_from_text(topic, "plain") == "plain"


def test_raw_values_are_taken_as_they_are(app: sq.App) -> None:
    assert value_of(app.topics["raw"], b"\xff") == b"\xff"
    with pytest.raises(SerdeError, match="value is not a Order of topic orders"):
        value_of(app.topics["orders"], b"\xff")
