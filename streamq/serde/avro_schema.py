"""Avro schemas as they come (JSON text or objects), made ready for fastavro. Imports fastavro; see `avro`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import fastavro
import msgspec
from fastavro.schema import SchemaParseException

from streamq.serde.avro_guard import AvroNode, needs_guard
from streamq.serde.avro_references import KINDS, PRIMITIVES, RECORDS

SchemaSource = str | Mapping[str, Any] | Sequence[Any]

_MAX_JSON_DEPTH: Final = 300

# What fastavro raises for a schema that is none, measured with broken ones: no common base.
_SCHEMA_FAILURES: Final = (SchemaParseException, ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """A schema ready for use. `text` is what a registry gets, `parsed` and `named` are fastavro's; `guarded` says that
    bodies are to be checked before they are read; `zoned` that times in it are instants, so that a naive one is wrong.
    """

    text: str
    parsed: Any
    named: Mapping[str, Any]
    guarded: bool
    zoned: bool


def load_schema(source: SchemaSource) -> AvroSchema:
    """Parse a schema: JSON text, its object, or the name of a primitive type.

    Raises:
        ValueError: it is no Avro schema; says why.
    """
    try:
        plain = _without_wrappers(_as_json(source), 0)
        named: dict[str, Any] = {}
        parsed = fastavro.parse_schema(plain, named_schemas=named)
        guarded = needs_guard(parsed, named)
    except _SCHEMA_FAILURES as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    given = isinstance(source, str) and source not in PRIMITIVES
    text = str(source) if given else msgspec.json.encode(plain).decode()
    zoned = '"timestamp-' in text and '"local-timestamp-' not in text
    return AvroSchema(text=text, parsed=parsed, named=named, guarded=guarded, zoned=zoned)


def _as_json(source: SchemaSource) -> AvroNode:
    if not isinstance(source, str):
        return source
    return source if source in PRIMITIVES else msgspec.json.decode(source)


def _without_wrappers(node: AvroNode, depth: int) -> AvroNode:
    """The same schema in the form that fastavro takes: Java's parser also lets {"type": X} stand for X."""
    if depth > _MAX_JSON_DEPTH:
        raise ValueError(f"the schema is nested deeper than {_MAX_JSON_DEPTH} levels")
    if isinstance(node, str):
        return node
    if not node:
        raise ValueError("it has an empty part, where a type should be")
    if not isinstance(node, Mapping):
        return [_without_wrappers(branch, depth + 1) for branch in node]
    kind = node["type"]
    if not isinstance(kind, str) or kind not in KINDS:
        return _without_wrappers(kind, depth + 1)
    return _without_inner_wrappers(dict(node), kind, depth + 1)


def _without_inner_wrappers(node: dict[str, Any], kind: str, depth: int) -> AvroNode:
    for attribute in ("items", "values"):
        if attribute in node:
            node[attribute] = _without_wrappers(node[attribute], depth)
    if kind in RECORDS:
        node["fields"] = [
            {**field, "type": _without_wrappers(field["type"], depth)} if "type" in field else field
            for field in node.get("fields", ())
        ]
    return node
