"""pydantic models: by pydantic's own rules, and never anything but the contract's errors."""

from __future__ import annotations

import pydantic
import pytest

from streamq.model.errors import SerdeError
from streamq.serde import value_serde
from streamq.serde.base import UserValue


class Line(pydantic.BaseModel):
    sku: str
    count: int = pydantic.Field(gt=0)


class Order(pydantic.BaseModel):
    order_id: str = pydantic.Field(alias="orderId")
    lines: list[Line] = []


class Rude(pydantic.BaseModel):
    count: int

    @pydantic.field_validator("count")
    @classmethod
    def no_thirteen(cls, count: int) -> int:
        if count == 13:
            raise RuntimeError("not thirteen")
        return count


class Tree(pydantic.BaseModel):
    children: list[Tree] = []


ORDER = Order(orderId="a", lines=[Line(sku="x", count=2)])


@pytest.mark.parametrize(
    ("value_type", "value", "data"),
    [
        (Order, ORDER, b'{"orderId":"a","lines":[{"sku":"x","count":2}]}'),
        (Order | None, ORDER, b'{"orderId":"a","lines":[{"sku":"x","count":2}]}'),
        (list[Line], [Line(sku="x", count=1)], b'[{"sku":"x","count":1}]'),
    ],
)
def test_a_model_becomes_json_and_comes_back(value_type: object, value: object, data: bytes) -> None:
    serde = value_serde(value_type)
    assert serde.name == "json"
    assert serde.encode(value, topic="orders") == data
    assert serde.decode(data, topic="orders") == value


def test_none_is_a_tombstone_only_where_the_type_allows_it() -> None:
    assert value_serde(Order | None).encode(None, topic="orders") is None
    with pytest.raises(SerdeError, match="a tombstone"):
        value_serde(Order).encode(None, topic="orders")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the value is not valid JSON for Order: Invalid JSON: EOF while parsing"),
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"{}", "Field required - at `orderId`"),
        (b'{"orderId":"a","lines":[{"sku":"x","count":0}]}', "Input should be greater than 0 - at `lines.0.count`"),
        (b'{"orderId":5,"lines":5}', "at `orderId`; Input should be a valid"),
    ],
)
def test_bytes_that_are_no_such_model_say_where_and_why(data: bytes, message: str) -> None:
    with pytest.raises(SerdeError) as caught:
        value_serde(Order).decode(data, topic="orders")
    assert message in str(caught.value)
    assert caught.value.raw == data


def test_nesting_without_end_is_an_error_and_no_crash() -> None:
    with pytest.raises(SerdeError, match="recursion limit exceeded"):
        value_serde(Tree).decode(b'{"children":[' * 100_000, topic="trees")


def test_what_a_validator_raises_is_a_serde_error() -> None:
    with pytest.raises(SerdeError, match="RuntimeError: not thirteen"):
        value_serde(Rude).decode(b'{"count":13}', topic="t")


def broken_after_it_was_made() -> Order:
    order = ORDER.model_copy(deep=True)
    order.lines[0].count = "two"  # type: ignore[assignment]  # the mistake under test
    return order


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"orderId": "a"}, "value is {'orderId': 'a'}: it is of type dict: pass a value of type Order"),
        (broken_after_it_was_made(), "field_name='count', input_value='two', input_type=str"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(value: UserValue, message: str) -> None:
    with pytest.raises(SerdeError) as caught:
        value_serde(Order).encode(value, topic="orders")
    assert message in str(caught.value)
