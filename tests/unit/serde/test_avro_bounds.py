"""Avro bodies and schemas that would take all memory or all of the stack."""

from __future__ import annotations

from typing import Any

import pytest

from streamq.serde import value_serde
from streamq.serde.avro_guard import AvroNode
from streamq.serde.avro_schema import load_schema

from .avro_cases import (
    Order,
    Registry,
    Tree,
    complaint,
    refusal,
)


@pytest.mark.parametrize("heirs", [False, True])
def test_nesting_without_end_is_an_error_and_no_crash(heirs: bool) -> None:
    level = b"\x02\x00\x02" if heirs else b"\x02\x02"
    serde = value_serde(Tree, "avro")
    assert "nested deeper than 200 levels" in complaint(serde, level * 500_000)


@pytest.mark.parametrize(("levels", "message"), [(30_000, "nested too deeply"), (150, "nested deeper than 200 levels")])
@pytest.mark.parametrize("registry", [None, Registry()])
def test_a_value_that_is_nested_too_deeply_to_be_decoded_is_refused(
    levels: int, message: str, registry: Registry | None
) -> None:
    tree = Tree(0)
    for _ in range(levels):
        tree = Tree(0, [], tree)
    assert message in refusal(value_serde(Tree, "avro", registry=registry), tree)


def test_moderate_nesting_goes_through() -> None:
    tree = Tree(0)
    for _ in range(60):
        tree = Tree(0, [], tree)
    serde = value_serde(Tree, "avro")
    data = serde.encode(tree, topic="t")
    assert data is not None
    assert serde.decode(data, topic="t") == tree


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "record", "name": "Nothing", "fields": []}},
        {"type": "array", "items": {"type": "fixed", "name": "Nothing", "size": 0}},
    ],
)
def test_a_count_without_bytes_behind_it_is_an_error_and_takes_no_memory(schema: AvroNode) -> None:
    serde = value_serde(list, "avro", schema=schema)
    huge = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"
    assert "more items than its size allows for" in complaint(serde, huge)
    assert len(serde.decode(b"\x06\x00", topic="t")) == 3


def test_a_schema_that_doubles_at_each_level_is_bounded() -> None:
    schema: AvroNode = {"type": "record", "name": "L0", "fields": []}
    for level in range(1, 41):
        fields = [{"name": "a", "type": schema}, {"name": "b", "type": f"L{level - 1}"}]
        schema = {"type": "record", "name": f"L{level}", "fields": fields}
    serde = value_serde(dict, "avro", schema=schema)
    assert "more items than its size allows for" in complaint(serde, b"")


def test_a_schema_that_is_deep_without_being_nested_is_bounded() -> None:
    fields: Any = [{"name": "f0", "type": {"type": "record", "name": "L0", "fields": []}}]
    for level in range(1, 400):
        inner = {"type": "record", "name": f"L{level}", "fields": [{"name": "a", "type": f"L{level - 1}"}]}
        fields.append({"name": f"f{level}", "type": ["null", inner]})
    serde = value_serde(dict, "avro", schema={"type": "record", "name": "Root", "fields": fields})
    assert len(serde.decode(b"\x00" * 399, topic="t")) == 400
    assert "nested deeper than 200 levels" in complaint(serde, b"\x00" * 398 + b"\x02")


def test_wide_records_are_read_without_being_walked_first() -> None:
    wide = {"type": "record", "name": "Wide", "fields": [{"name": f"f{i}", "type": "int"} for i in range(1000)]}
    assert not load_schema(wide).guarded


def test_a_schema_nested_without_end_is_no_schema() -> None:
    registry = Registry()
    registry.schemas[7] = '{"type":"array","items":' * 100_000 + '"int"' + "}" * 100_000
    serde = value_serde(Order, "avro", registry=registry)
    assert "its schema id 7 is no use" in complaint(serde, b"\x00\x00\x00\x00\x07")
    registry.schemas[7] = '{"type":"array","items":' * 400 + '"int"' + "}" * 400
    assert "nested deeper than 300 levels" in complaint(serde, b"\x00\x00\x00\x00\x07")
