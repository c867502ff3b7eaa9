"""Topics of raw bytes: what a line of JSON and a command's argument stand for."""

from __future__ import annotations

from typing import cast

import pytest

import streamq as sq
from streamq.ops.publishing import Publishes, publish_lines, value_of
from streamq.testing import MemoryCluster


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('"hell\\u00f6"', "hellö".encode()),
        ('{"a": [1]}', b'{"a": [1]}'),
        ("17", b"17"),
        ("null", None),
    ],
)
def test_a_text_stands_for_its_bytes_and_null_for_a_tombstone(value: str, written: bytes | None) -> None:
    app = sq.App("shop", publish_timeout_s=5.0)
    raw = app.topic("raw", value=bytes | None)
    cluster = MemoryCluster()
    app.use(cluster)
    assert publish_lines(
        cast("Publishes", app.publish), app.topics["raw"], [b'{"value": %s}' % value.encode()]
    ).published
    assert [record.value for record in cluster.records(raw.name)] == [written]
    app.use(None)


def test_null_is_refused_where_the_type_has_no_room_for_a_tombstone() -> None:
    app = sq.App("shop", publish_timeout_s=5.0)
    app.topic("raw")
    app.use(MemoryCluster())
    summary = publish_lines(cast("Publishes", app.publish), app.topics["raw"], [b'{"value": null}'])
    assert (summary.published, [one.line for one in summary.refused]) == (0, [1])
    assert "None" in summary.refused[0].error
    app.use(None)


def test_an_argument_is_taken_as_it_is_also_where_tombstones_are_allowed() -> None:
    """And not as base64, which is how JSON would carry bytes."""
    topic = sq.App("shop").topic("raw", value=bytes | None)
    assert value_of(topic, b'"aGVsbG8="') == b'"aGVsbG8="'
