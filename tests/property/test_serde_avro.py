"""Avro under schemas that nobody chose: any bytes under any schema stay within bounds and contract."""

from __future__ import annotations

import io
import itertools
from typing import Any

from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from streamq.model.errors import SerdeError
from streamq.serde import value_serde
from streamq.serde.avro_guard import AvroNode, check_body
from streamq.serde.avro_schema import load_schema

SCALARS = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
LOGICAL = [
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "local-timestamp-millis"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 3},
]


def compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda values: {"type": "map", "values": values}, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda kinds: {"type": "record", "fields": kinds}),
        st.lists(st.sampled_from(["Root", *SCALARS[1:]]), min_size=1, max_size=3, unique=True).map(
            lambda kinds: ["null", *kinds]
        ),
        st.integers(0, 3).map(lambda size: {"type": "fixed", "size": size}),
        st.just({"type": "enum", "symbols": ["A", "B"]}),
    )


bodies = st.recursive(st.sampled_from(SCALARS) | st.sampled_from(LOGICAL), compound, max_leaves=8)


def named(node: AvroNode, numbers: itertools.count[int]) -> AvroNode:
    """The drawn schema with a name of its own for each type that needs one."""
    if isinstance(node, list):
        return [named(branch, numbers) for branch in node]
    if not isinstance(node, dict):
        return node
    node = dict(node)
    for attribute in ("items", "values"):
        if attribute in node:
            node[attribute] = named(node[attribute], numbers)
    if node["type"] in {"record", "enum", "fixed"}:
        node["name"] = f"T{next(numbers)}"
    if "fields" in node:
        node["fields"] = [{"name": f"f{i}", "type": named(kind, numbers)} for i, kind in enumerate(node["fields"])]
    return node


schemas = bodies.map(
    lambda kind: {
        "type": "record",
        "name": "Root",
        "fields": [{"name": "body", "type": named(kind, itertools.count())}],
    }
)
byte_runs = st.lists(
    st.binary(max_size=8) | st.sampled_from([b"\x02", b"\x00", b"\x80" * 10 + b"\x01", b"\xff" * 9 + b"\x01"]),
    max_size=60,
).map(b"".join)


@given(schema=schemas, data=byte_runs)
def test_any_bytes_under_any_schema_are_a_value_or_an_error(schema: AvroNode, data: bytes) -> None:
    serde = value_serde(dict[str, Any], "avro", schema=schema)
    try:
        serde.decode(data, topic="t")
    except SerdeError as error:
        assert error.raw == data


@given(
    values=st.recursive(st.none() | st.integers(-5, 5) | st.text(max_size=3), lambda inner: st.lists(inner, max_size=4))
)
def test_the_guard_passes_what_fastavro_wrote_and_ends_where_it_ends(values: AvroNode) -> None:
    schema = load_schema(
        {
            "type": "record",
            "name": "N",
            "fields": [{"name": "v", "type": ["null", "long", "string", {"type": "array", "items": "N"}]}],
        }
    )
    assert schema.guarded

    def wrapped(node: AvroNode) -> AvroNode:
        return {"v": [wrapped(child) for child in node] if isinstance(node, list) else node}

    out = io.BytesIO(b"")
    schemaless_writer(out, parse_schema(schema.parsed), wrapped(values))
    body = out.getvalue()
    check_body(schema.parsed, schema.named, body, 0)
    check_body(schema.parsed, schema.named, b"12345" + body, 5)
