"""Bounds for Avro bodies, checked before fastavro reads them.

Avro's length is no bound for what a body unfolds to, where its schema allows one of these:

- a type that contains itself: fastavro recurses in C without a limit, and some 20,000 levels, one byte each, end the
  process with a segmentation fault;
- an array of items that take no bytes (null, a record without fields): its count alone decides, up to 2^63;
- types nested so that each level doubles the last.

Of other schemas, depth and size follow from schema and length, and their bodies are not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

MAX_DEPTH: Final = 200
"""Levels of schema that one body may unfold to. fastavro reads as many on a C stack of half a megabyte (measured; macOS
gives a thread no more), and this walk takes two of Python's 1000 frames for each."""

MAX_UNGUARDED_NODES: Final = 2_000
"""What one record of a schema may unfold to, arrays taken once, without being walked."""

_FREE_NODES: Final = 10_000
_NODES_PER_BYTE: Final = 16

_VARINTS: Final = frozenset({"int", "long", "enum"})
_SIZED: Final = frozenset({"bytes", "string"})
_FIXED_SIZES: Final = {"null": 0, "boolean": 1, "float": 4, "double": 8}

AvroNode: TypeAlias = Any
"""A part of a schema as fastavro parses it: a name, a union's list, or a dict."""

Named = Mapping[str, AvroNode]


def needs_guard(schema: AvroNode, named: Named) -> bool:
    """Whether bodies of this (parsed) schema can unfold beyond what schema and length bound."""
    analysis = _Analysis(named)
    size = analysis.size(schema, ())
    return analysis.unbounded or size.depth > MAX_DEPTH or size.nodes > MAX_UNGUARDED_NODES


def check_body(schema: AvroNode, named: Named, data: bytes, start: int) -> None:
    """Walk a body without building anything.

    Raises:
        ValueError: it is deeper or has more items than its size justifies, or it is truncated.
    """
    _Walk(named, data, start).skip(schema, 0)


def _kind(schema: AvroNode) -> str:
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


class _Size(NamedTuple):
    """What a value unfolds to, arrays and maps taken with one item; `empty` if it may take no bytes."""

    nodes: int
    depth: int
    empty: bool


def _around(inner: Sequence[_Size], nodes: int, *, empty: bool) -> _Size:
    return _Size(1 + nodes, 1 + max((size.depth for size in inner), default=0), empty)


class _Analysis:
    """One pass over a schema, each named type sized once however often it is used."""

    def __init__(self, named: Named) -> None:
        self.unbounded = False
        self._named = named
        self._sizes: dict[str, _Size] = {}

    def size(self, schema: AvroNode, path: tuple[str, ...]) -> _Size:
        kind = _kind(schema)
        match kind:
            case "union":
                branches = [self.size(branch, path) for branch in schema]
                return _around(branches, max((size.nodes for size in branches), default=0), empty=False)
            case "record" | "error":
                return self._record(schema, path)
            case "array" | "map":
                item = self.size(schema["items" if kind == "array" else "values"], path)
                self.unbounded |= item.empty and kind == "array"  # a map's items have keys
                return _around([item], item.nodes, empty=False)
            case _ if kind in self._named:
                return self.size(self._named[kind], path)
            case _:
                return _Size(1, 1, kind == "null" or (kind == "fixed" and schema.get("size") == 0))

    def _record(self, schema: AvroNode, path: tuple[str, ...]) -> _Size:
        name = schema["name"]
        if name in path:
            self.unbounded = True
            return _Size(1, 1, empty=False)
        if name not in self._sizes:
            fields = [self.size(field["type"], (*path, name)) for field in schema["fields"]]
            nodes, empty = sum(size.nodes for size in fields), all(size.empty for size in fields)
            self._sizes[name] = _around(fields, nodes, empty=empty)
        return self._sizes[name]


class _Walk:
    """Skips one value, counting."""

    def __init__(self, named: Named, data: bytes, start: int) -> None:
        self._named = named
        self._data = data
        self._at = start
        self._nodes_left = _FREE_NODES + _NODES_PER_BYTE * len(data)
        self._compound: dict[str, Callable[[Any, int], None]] = {
            "union": self._union,
            "record": self._record,
            "error": self._record,
            "array": self._array,
            "map": self._map,
        }

    def skip(self, schema: AvroNode, depth: int) -> None:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise ValueError("it holds more items than its size allows for")
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
        kind = _kind(schema)
        compound = self._compound.get(kind)
        if compound is not None:
            compound(schema, depth + 1)
        elif kind in self._named:
            self.skip(self._named[kind], depth)
        else:
            self._scalar(kind, schema)

    def _scalar(self, kind: str, schema: AvroNode) -> None:
        if kind in _VARINTS:
            self._long()
        elif kind in _SIZED:
            self._advance(self._long())
        else:
            self._advance(schema["size"] if kind == "fixed" else _FIXED_SIZES[kind])

    def _union(self, schema: AvroNode, depth: int) -> None:
        branch = self._long()
        if not 0 <= branch < len(schema):
            raise ValueError(f"union branch {branch} is not one of {len(schema)}")
        self.skip(schema[branch], depth)

    def _record(self, schema: AvroNode, depth: int) -> None:
        for field in schema["fields"]:
            self.skip(field["type"], depth)

    def _array(self, schema: AvroNode, depth: int) -> None:
        items = schema["items"]
        self._blocks(lambda: self.skip(items, depth))

    def _map(self, schema: AvroNode, depth: int) -> None:
        values = schema["values"]

        def entry() -> None:
            self._advance(self._long())
            self.skip(values, depth)

        self._blocks(entry)

    def _blocks(self, skip_one: Callable[[], None]) -> None:
        while count := self._long():
            if count < 0:  # Avro: the block's size in bytes follows, which no reader needs to read it
                self._long()
            for _ in range(abs(count)):
                skip_one()

    def _advance(self, size: int) -> None:
        if not 0 <= size <= len(self._data) - self._at:
            raise ValueError(
                f"truncated: {size} bytes claimed at byte {self._at}, {len(self._data) - self._at} are left"
            )
        self._at += size

    def _long(self) -> int:
        number = shift = 0
        while True:
            if self._at >= len(self._data):
                raise ValueError(f"truncated at byte {self._at}")
            byte = self._data[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return (number >> 1) ^ -(number & 1)
            if shift > 63:
                raise ValueError(f"a number of more than 64 bits ends at byte {self._at}")
