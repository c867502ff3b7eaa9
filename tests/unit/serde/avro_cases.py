"""Types, a registry and complaints for tests of Avro."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
import pydantic
import pytest

from streamq.model.errors import SerdeError
from streamq.serde import Serde


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(msgspec.Struct):
    sku: str
    count: int


class Order(msgspec.Struct):
    order_id: str
    amount: float
    note: str | None = None
    lines: list[Line] = []


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []
    heir: Tree | None = None


class Everything(msgspec.Struct, kw_only=True):
    text: str
    data: bytes
    at: datetime.datetime
    day: datetime.date
    ident: uuid.UUID
    colour: Colour
    second: Colour | None = None
    sizes: dict[str, int] = {}
    either: int | str = 0
    names: tuple[str, ...] = ()
    numbers: set[int] = set()
    flag: bool = False
    tree: Tree | None = None


class Model(pydantic.BaseModel):
    order_id: str
    amount: float


class Registry:
    """A registry in memory that can be made to fail."""

    def __init__(self) -> None:
        self.schemas: dict[int, str] = {}
        self.subjects: dict[tuple[str, str], int] = {}
        self.failure: Exception | None = None
        self.asked = 0

    def schema_by_id(self, schema_id: int) -> str:
        self._called()
        if schema_id not in self.schemas:
            raise SerdeError(f"schema id {schema_id}: there is none")
        return self.schemas[schema_id]

    def register(self, subject: str, schema: str) -> int:
        self._called()
        schema_id = self.subjects.setdefault((subject, schema), len(self.schemas) + 1)
        self.schemas[schema_id] = schema
        return schema_id

    def _called(self) -> None:
        self.asked += 1
        if self.failure is not None:
            raise self.failure


ORDER = Order("a", 1.5, None, [Line("x", 2)])
ORDER_BODY = b"\x02a" + b"\x00\x00\x00\x00\x00\x00\xf8\x3f" + b"\x00" + b"\x02\x02x\x04\x00"

POINT: Mapping[str, Any] = {
    "type": "record",
    "name": "Point",
    "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int", "default": 0}],
}


def complaint(serde: Serde[Any], data: bytes) -> str:
    with pytest.raises(SerdeError) as caught:
        serde.decode(data, topic="orders")
    assert (caught.value.part, caught.value.raw) == ("value", data)
    return str(caught.value)


def refusal(serde: Serde[Any], value: object) -> str:
    with pytest.raises(SerdeError) as caught:
        serde.encode(value, topic="orders")
    assert (caught.value.part, caught.value.raw) == ("value", None)
    return str(caught.value)
