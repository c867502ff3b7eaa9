"""Avro schemas that follow from types, and types from which none follows."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import msgspec
import pytest

from streamq.model.errors import ConfigError
from streamq.serde.avro_derive import derive_schema
from streamq.serde.avro_guard import AvroNode
from streamq.serde.avro_schema import load_schema
from streamq.serde.base import Annotation


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Odd(enum.Enum):
    SPACED = "with space"


class Level(enum.IntEnum):
    LOW = 1


class Line(msgspec.Struct):
    sku: str
    count: int = 1


class Struct(msgspec.Struct, kw_only=True):
    text: str
    flag: bool
    number: float = 0.5
    note: str | None = None
    label: str | None = "none"
    lines: list[Line] = []
    again: Line | None = None
    sizes: dict[str, float] = {}
    at: datetime.datetime | None = None


@dataclass
class Data:
    day: datetime.date
    ident: uuid.UUID
    tags: list[str] = field(default_factory=list)


class Typed(TypedDict):
    data: bytes
    colour: Colour


class Tree(msgspec.Struct):
    children: list[Tree] = []


class Tagged(msgspec.Struct, tag="made", tag_field="kind"):
    size: Annotated[int, msgspec.Meta(ge=0)]


class Renamed(msgspec.Struct, rename="camel"):
    order_id: str


def test_a_struct_is_a_record_with_its_defaults() -> None:
    line = {
        "type": "record",
        "name": "Line",
        "fields": [{"name": "sku", "type": "string"}, {"name": "count", "type": "long", "default": 1}],
    }
    assert derive_schema(Struct) == {
        "type": "record",
        "name": "Struct",
        "fields": [
            {"name": "text", "type": "string"},
            {"name": "flag", "type": "boolean"},
            {"name": "number", "type": "double", "default": 0.5},
            {"name": "note", "type": ["null", "string"], "default": None},
            {"name": "label", "type": ["null", "string"]},
            {"name": "lines", "type": {"type": "array", "items": line}, "default": []},
            {"name": "again", "type": ["null", "Line"], "default": None},
            {"name": "sizes", "type": {"type": "map", "values": "double"}, "default": {}},
            {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
        ],
    }


@pytest.mark.parametrize(
    ("value_type", "fields"),
    [
        (
            Data,
            [
                {"name": "day", "type": {"type": "int", "logicalType": "date"}},
                {"name": "ident", "type": {"type": "string", "logicalType": "uuid"}},
                {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
            ],
        ),
        (
            Typed,
            [
                {"name": "data", "type": "bytes"},
                {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["red", "blue"]}},
            ],
        ),
        (Tree, [{"name": "children", "type": {"type": "array", "items": "Tree"}, "default": []}]),
        (Tagged, [{"name": "kind", "type": "string", "default": "made"}, {"name": "size", "type": "long"}]),
        (Renamed, [{"name": "orderId", "type": "string"}]),
    ],
)
def test_other_kinds_of_records(value_type: Annotation, fields: list[Mapping[str, Any]]) -> None:
    # TypedDicts come in the order that msgspec tells.
    derived = derive_schema(value_type)
    assert sorted(derived["fields"], key=str) == sorted(fields, key=str)


@pytest.mark.parametrize(
    ("value_type", "schema"),
    [
        (int, "long"),
        (int | str | None, ["null", "long", "string"]),
        (set[str], {"type": "array", "items": "string"}),
        (Odd, "string"),
        (Level, "long"),
        (Literal["a", "b"], "string"),
        (Literal[1, 2], "long"),
    ],
)
def test_what_is_no_record(value_type: Annotation, schema: AvroNode) -> None:
    assert derive_schema(value_type) == schema


@pytest.mark.parametrize("value_type", [Struct, Data, Typed, Tree, Tagged])
def test_what_is_derived_is_a_schema(value_type: Annotation) -> None:
    assert load_schema(derive_schema(value_type)).guarded == (value_type is Tree)


class Pair(NamedTuple):
    left: int


class One(msgspec.Struct, tag=True):
    x: int


class Two(msgspec.Struct, tag=True):
    y: int


class Optional(TypedDict):
    text: NotRequired[str]


class Listed(msgspec.Struct, array_like=True):
    text: str


class Dashed(msgspec.Struct, rename="kebab"):
    order_id: str


OTHER_LINE = msgspec.defstruct("Line", [("x", int)])


def having(*types: Annotation) -> Annotation:
    return msgspec.defstruct("Thing", [(f"part{index}", part) for index, part in enumerate(types)])


@pytest.mark.parametrize(
    ("value_type", "message"),
    [
        (
            having(decimal.Decimal),
            "value type Thing: no Avro schema follows from Thing.part0, which is Decimal "
            "(Avro needs a precision and a scale for it): pass schema=…",
        ),
        (having(Any), "from Thing.part0, which is Any (Avro needs to know what it is)"),
        (having(list[Pair]), "from Thing.part0[…], which is NamedTuple (use a msgspec.Struct or a dataclass)"),
        (having(tuple[int, str]), "from Thing.part0, which is Tuple"),
        (having(datetime.time), "from Thing.part0, which is Time"),
        (having(dict[int, str]), "from Thing.part0, which is a dict whose keys are not str"),
        (having(Optional), "from Thing.part0.text, which is not required"),
        (Listed, "from Listed, which is a Struct with array_like=True"),
        (having(One | Two), "from Thing.part0, which is a union of record, record"),
        (having(datetime.datetime | int), "from Thing.part0, which is a union of"),
        (Dashed, "from Dashed.order_id, which is named 'order-id'"),
        (having(Line, OTHER_LINE), "from Thing.part1, which is a second type of the name Line"),
        (dict, "from dict"),
    ],
)
def test_a_type_without_a_schema_names_its_field(value_type: Annotation, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        derive_schema(value_type)
    assert message in str(caught.value)
