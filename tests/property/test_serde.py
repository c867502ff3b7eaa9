"""Serdes against all values and all bytes: what goes in comes out, and nothing raises but the contract's errors."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq.model.errors import SerdeError
from streamq.serde import Serde, key_serde, value_serde


class Line(msgspec.Struct):
    sku: str
    count: int


class Order(msgspec.Struct):
    order_id: str
    amount: float
    paid: bool
    at: datetime.datetime
    note: str | None = None
    lines: list[Line] = []
    sizes: dict[str, int] = {}
    data: bytes = b""


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []
    heir: Tree | None = None


class Model(pydantic.BaseModel):
    order_id: str
    lines: list[tuple[str, int]] = []
    heir: Model | None = None


texts = st.text(st.characters(exclude_categories=["Cs"]))
longs = st.integers(-(2**63), 2**63 - 1)
instants = st.datetimes(
    min_value=datetime.datetime.fromisoformat("0002-01-01"),
    max_value=datetime.datetime.fromisoformat("9998-01-01"),
    timezones=st.just(datetime.UTC),
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
orders = st.builds(
    Order,
    order_id=texts,
    amount=st.floats(allow_nan=False, allow_infinity=False),
    paid=st.booleans(),
    at=instants,
    note=st.none() | texts,
    lines=st.lists(st.builds(Line, sku=texts, count=longs), max_size=3),
    sizes=st.dictionaries(texts, longs, max_size=3),
    data=st.binary(),
)
trees: st.SearchStrategy[Tree] = st.recursive(
    st.builds(Tree, value=longs, children=st.just([]), heir=st.none()),
    lambda inner: st.builds(Tree, value=longs, children=st.lists(inner, max_size=3), heir=st.none() | inner),
    max_leaves=20,
)
models = st.builds(Model, order_id=texts, lines=st.lists(st.tuples(texts, longs), max_size=3), heir=st.none())
json_like: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | longs | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=20,
)

JSON_ORDER = value_serde(Order)
AVRO_ORDER = value_serde(Order, "avro")
JSON_TREE = value_serde(Tree)
AVRO_TREE = value_serde(Tree, "avro")
JSON_MODEL = value_serde(Model)
ANY_JSON = value_serde(dict[str, Any])
CASES = [
    (JSON_ORDER, orders),
    (AVRO_ORDER, orders),
    (JSON_TREE, trees),
    (AVRO_TREE, trees),
    (JSON_MODEL, models),
    (ANY_JSON, st.dictionaries(texts, json_like, max_size=4)),
    (key_serde(str), texts),
    (key_serde(int), longs),
    (key_serde(bytes), st.binary()),
]
NAMES = ["order", "avro order", "tree", "avro tree", "model", "dict", "str key", "int key", "bytes key"]


def check_decode(serde: Serde[Any], data: bytes) -> None:
    """Decoding gives a value or a SerdeError with the bytes, whatever they are."""
    try:
        serde.decode(data, topic="orders")
    except SerdeError as error:
        assert error.raw == data
        assert str(error).startswith("topic orders: the ")


@pytest.mark.parametrize(("serde", "values"), CASES, ids=NAMES)
@given(data=st.data())
def test_what_is_encoded_is_decoded(serde: Serde[Any], values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    value = data.draw(values)
    encoded = serde.encode(value, topic="orders")
    assert encoded is not None
    assert serde.decode(encoded, topic="orders") == value


@pytest.mark.parametrize(("serde", "values"), CASES, ids=NAMES)
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_are_a_value_or_an_error(serde: Serde[Any], values: object, data: bytes) -> None:
    check_decode(serde, data)


@pytest.mark.parametrize(("serde", "values"), CASES, ids=NAMES)
@given(data=st.data())
def test_damaged_payloads_are_a_value_or_an_error(
    serde: Serde[Any], values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    encoded = serde.encode(data.draw(values), topic="orders")
    assert encoded is not None
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(encoded))] * 2)))
    middle = data.draw(st.binary(max_size=12) | st.just(encoded[start:end] * 2))
    check_decode(serde, encoded[:start] + middle + encoded[end:])


@pytest.mark.parametrize(("serde", "values"), CASES, ids=NAMES)
@given(value=json_like | st.binary() | st.integers() | st.floats() | st.text() | st.builds(object))
def test_any_value_is_encoded_so_that_it_can_be_decoded_or_is_refused(
    serde: Serde[Any], values: object, value: object
) -> None:
    try:
        encoded = serde.encode(value, topic="orders")
    except SerdeError as error:
        assert error.raw is None
        return
    if encoded is None:
        assert value is None
    else:
        serde.decode(encoded, topic="orders")
