"""Avro schemas that refer to others, made to stand for themselves. Needs no fastavro."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from streamq.serde.avro_guard import AvroNode

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
RECORDS: Final = frozenset({"record", "error"})
KINDS: Final = PRIMITIVES | RECORDS | {"enum", "fixed"} | {"array", "map"}


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
    if not isinstance(inner["type"], str) or inner["type"] not in KINDS:
        inner["type"] = _inlined(inner["type"], namespace, definitions)
    return inner
