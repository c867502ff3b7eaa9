"""Schemas that refer to others come out as one that stands for itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamq.serde.avro_references import inline_references
from streamq.serde.avro_schema import load_schema

ADDRESS = {
    "type": "record",
    "name": "Address",
    "namespace": "com.acme",
    "fields": [{"name": "country", "type": "com.geo.Country"}],
}
COUNTRY = {"type": "enum", "name": "com.geo.Country", "symbols": ["DE", "FR"]}
PERSON = {
    "type": "record",
    "name": "Person",
    "namespace": "com.acme",
    "fields": [
        {"name": "home", "type": "Address"},
        {"name": "work", "type": ["null", "com.acme.Address"]},
        {"name": "known", "type": {"type": "array", "items": "com.geo.Country"}},
        {"name": "by", "type": {"type": "map", "values": {"type": "Address"}}},
        {"name": "self", "type": ["null", "Person"]},
        {"name": "age", "type": "int"},
    ],
}


def test_each_type_is_written_out_where_it_is_first_used() -> None:
    text = inline_references(json.dumps(PERSON), [json.dumps(COUNTRY), json.dumps(ADDRESS)])
    schema = load_schema(text)
    assert set(schema.named) == {"com.acme.Person", "com.acme.Address", "com.geo.Country"}
    assert text.count("symbols") == 1


def test_a_definition_without_a_namespace_stays_without_one() -> None:
    plain = {"type": "enum", "name": "Plain", "symbols": ["a"]}
    outer: Any = {"type": "record", "name": "a.Outer", "fields": [{"name": "x", "type": "Plain"}]}
    # Inside namespace a, "Plain" means a.Plain: the plain one is not it, and stays undefined.
    with pytest.raises(ValueError, match="UnknownType"):
        load_schema(inline_references(json.dumps(outer), [json.dumps(plain)]))
    outer["name"] = "Outer"
    assert set(load_schema(inline_references(json.dumps(outer), [json.dumps(plain)])).named) == {"Outer", "Plain"}


@pytest.mark.parametrize(
    ("main", "reference"),
    [("{", "{}"), (json.dumps(PERSON), "{"), (json.dumps(PERSON), "{}"), ("5", json.dumps(COUNTRY)), ("{}", "[]")],
)
def test_what_is_no_schema_is_a_value_error(main: str, reference: str) -> None:
    with pytest.raises(ValueError, match="Error"):
        inline_references(main, [reference])
