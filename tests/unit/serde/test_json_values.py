"""JSON: what fits goes through unchanged, and what does not is refused in words that help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import msgspec
import pytest

from streamq.model.errors import SerdeError
from streamq.serde import Serde, value_serde


class Line(msgspec.Struct):
    sku: str
    count: int


class Order(msgspec.Struct):
    order_id: str
    amount: float
    lines: list[Line] = []


class Renamed(msgspec.Struct, rename="camel"):
    order_id: str


class Picky(msgspec.Struct):
    count: int

    def __post_init__(self) -> None:
        if self.count == 13:
            raise RuntimeError("not thirteen")


class Tree(msgspec.Struct):
    children: list[Tree] = []


@dataclass
class Point:
    x: int
    y: int = 0


class Row(NamedTuple):
    left: int
    right: str


class Options(TypedDict, total=False):
    verbose: bool


def refusal(serde: Serde[Any], value: object) -> str:
    with pytest.raises(SerdeError) as caught:
        serde.encode(value, topic="orders")
    assert caught.value.part == "value"
    assert caught.value.raw is None
    return str(caught.value)


def complaint(serde: Serde[Any], data: bytes) -> str:
    with pytest.raises(SerdeError) as caught:
        serde.decode(data, topic="orders")
    assert caught.value.part == "value"
    assert caught.value.raw == data
    return str(caught.value)


@pytest.mark.parametrize(
    ("value_type", "value", "data"),
    [
        (Order, Order("a", 1.5, [Line("x", 2)]), b'{"order_id":"a","amount":1.5,"lines":[{"sku":"x","count":2}]}'),
        (Renamed, Renamed("a"), b'{"orderId":"a"}'),
        (Point, Point(1, 2), b'{"x":1,"y":2}'),
        (Row, Row(1, "b"), b'[1,"b"]'),
        (Options, {"verbose": True}, b'{"verbose":true}'),
        (dict, {"any": [1, None]}, b'{"any":[1,null]}'),
        (list[int], [1, 2], b"[1,2]"),
        (str, "text", b'"text"'),
        (int | str, 5, b"5"),
        (Order | None, Order("a", 1.0), b'{"order_id":"a","amount":1.0,"lines":[]}'),
        (Any, [{"a": None}], b'[{"a":null}]'),
    ],
)
def test_a_value_becomes_json_and_comes_back(value_type: object, value: object, data: bytes) -> None:
    serde = value_serde(value_type)
    assert serde.name == "json"
    assert serde.encode(value, topic="orders") == data
    assert serde.decode(data, topic="orders") == value


def test_json_of_other_producers_may_have_more_fields_and_spaces() -> None:
    data = b' { "order_id" : "a", "amount": 1, "coupon": {"x": []} } '
    assert value_serde(Order).decode(data, topic="orders") == Order("a", 1.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            Order("a", "much"),  # type: ignore[arg-type]  # the mistake under test
            "topic orders: the value cannot be encoded: amount is 'much': Expected `float`, got `str`: "
            "pass a value of type Order",
        ),
        (Order("a", 1.0, [Line("x", "two")]), "lines[0].count is 'two': Expected `int`, got `str`"),  # type: ignore[arg-type]  # as above
        (Order("a", 1.0, [object()]), "lines[0] is <object object at"),  # type: ignore[list-item]  # as above
        (Order("a", float("nan")), "amount is nan: Expected `float`, got `null`"),
        (Order("\ud800", 1.0), "order_id is '\\ud800': 'utf-8' codec can't encode"),
        ({"order_id": "a"}, "value is {'order_id': 'a'}: Object missing required field `amount`"),
        ("text", "value is 'text': Expected `object`, got `str`"),
        (5, "value is 5: Expected `object`, got `int`"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_where_it_is_published(value: object, message: str) -> None:
    assert message in refusal(value_serde(Order), value)


def test_a_refused_dataclass_names_its_field() -> None:
    assert "y is <object object at" in refusal(value_serde(Point), Point(1, object()))  # type: ignore[arg-type]  # the mistake under test


def test_a_renamed_field_is_named_as_it_stands_in_the_json() -> None:
    message = refusal(value_serde(Renamed), Renamed(5))  # type: ignore[arg-type]  # the mistake under test
    assert "orderId is Renamed(order_id=5): Expected `str`, got `int`" in message


def test_a_value_whose_repr_raises_is_refused_all_the_same() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert "value is <Rude, whose repr raises>" in refusal(value_serde(Order), Rude())


def test_a_long_value_is_cut_in_the_message() -> None:
    message = refusal(value_serde(Order), "x" * 10_000)
    assert len(message) < 400


def test_none_is_a_tombstone_where_the_type_allows_it() -> None:
    assert value_serde(Order | None).encode(None, topic="orders") is None


def test_none_is_refused_where_the_type_does_not_allow_it() -> None:
    assert refusal(value_serde(Order), None) == (
        "topic orders: the value cannot be encoded: value is None (a tombstone), and Order does not allow it: "
        "declare the topic with `Order | None`, or pass a value"
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"{", "Input data was truncated"),
        (b'{"order_id":"a","amount":1', "Input data was truncated"),
        (b"plain text", "JSON is malformed: invalid character (byte 0)"),
        (b"\x00\x00\x00\x00\x07ab", "JSON is malformed"),
        (b'{"order_id":"a","amount":1}x', "JSON is malformed: trailing characters"),
        (b'{"order_id":"\xff","amount":1}', "can't decode byte 0xff"),
        (b"null", "Expected `object`, got `null`"),
        (b"{}", "Object missing required field `order_id`"),
        (b'{"order_id":7,"amount":1}', "Expected `str`, got `int` - at `$.order_id`"),
        (b'{"order_id":"a","amount":1,"lines":[{"sku":"x","count":1.5}]}', "got `float` - at `$.lines[0].count`"),
    ],
)
def test_bytes_that_are_no_such_json_say_where_and_why(data: bytes, reason: str) -> None:
    message = complaint(value_serde(Order), data)
    assert message.startswith("topic orders: the value is not valid JSON for Order: ")
    assert reason in message


@pytest.mark.parametrize("value_type", [Any, dict, list, Tree])
def test_nesting_without_end_is_an_error_and_no_crash(value_type: object) -> None:
    deep = b'{"children":[' * 100_000 if value_type is not list else b"[" * 100_000
    assert "nested too deeply" in complaint(value_serde(value_type), deep)


def test_a_value_nested_without_end_is_refused() -> None:
    tree = Tree()
    for _ in range(5_000):
        tree = Tree([tree])
    assert "nested too deeply" in refusal(value_serde(Tree), tree)


def test_numbers_without_end_are_an_error() -> None:
    assert "out of range" in complaint(value_serde(int), b"9" * 100_000)


def test_what_a_types_own_check_raises_is_a_serde_error() -> None:
    assert "not thirteen" in complaint(value_serde(Picky), b'{"count":13}')
    assert value_serde(Picky).decode(b'{"count":12}', topic="orders") == Picky(12)
