"""Avro schemas as they come (JSON text or objects), made ready for fastavro. Imports fastavro; see `avro`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import fastavro
import msgspec
from fastavro.schema import SchemaParseException

from streamq.serde.avro_guard import AvroNode, needs_guard

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_RECORDS: Final = frozenset({"record", "error"})
_NAMED: Final = _RECORDS | {"enum", "fixed"}
_KINDS: Final = PRIMITIVES | _NAMED | {"array", "map"}

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
    text = msgspec.json.encode(plain).decode()
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
    if not isinstance(node, Mapping):
        return [_without_wrappers(branch, depth + 1) for branch in node]
    kind = node["type"]
    if not isinstance(kind, str) or kind not in _KINDS:
        return _without_wrappers(kind, depth + 1)
    inner = dict(node)
    for attribute in ("items", "values"):
        if attribute in inner:
            inner[attribute] = _without_wrappers(inner[attribute], depth + 1)
    if kind in _RECORDS:
        inner["fields"] = [
            {**field, "type": _without_wrappers(field["type"], depth + 1)} if "type" in field else field
            for field in node.get("fields", ())
        ]
    return inner


def inline_references(main: str, references: Sequence[str]) -> str:
    """One schema that stands for itself: each type that `main` or a reference names, and another reference defines,
    is written out where it is first used. All are JSON texts.

    Raises:
        ValueError: one of them is no JSON or no schema.
    """
    try:
        definitions: dict[str, Any] = {}
        for text in references:
            node = msgspec.json.decode(text)
            name = _full_name(node["name"], node.get("namespace", ""))
            namespace, _, short = name.rpartition(".")
            definitions[name] = {**node, "name": short, "namespace": namespace}
        inlined = _inlined(msgspec.json.decode(main), "", definitions)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return msgspec.json.encode(inlined).decode()


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _inlined(node: AvroNode, namespace: str, definitions: dict[str, Any]) -> AvroNode:
    if isinstance(node, str):
        definition = None if node in PRIMITIVES else definitions.pop(_full_name(node, namespace), None)
        return node if definition is None else _inlined(definition, "", definitions)
    if isinstance(node, list):
        return [_inlined(branch, namespace, definitions) for branch in node]
    if "name" in node:
        full = _full_name(node["name"], node.get("namespace", namespace))
        namespace = full.rpartition(".")[0]
    inner = dict(node)
    for attribute in ("items", "values"):
        if attribute in inner:
            inner[attribute] = _inlined(inner[attribute], namespace, definitions)
    if isinstance(inner.get("fields"), list):
        inner["fields"] = [
            {**field, "type": _inlined(field["type"], namespace, definitions)} for field in inner["fields"]
        ]
    if not isinstance(inner["type"], str) or inner["type"] not in _KINDS:
        inner["type"] = _inlined(inner["type"], namespace, definitions)
    return inner
