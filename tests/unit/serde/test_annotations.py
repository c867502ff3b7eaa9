"""What is read off a type: whether tombstones may come, and whether it can be decoded at all."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Annotated, Any, NewType

import msgspec
import pydantic
import pytest

from streamq.model.errors import ConfigError
from streamq.serde import accepts_none, validate_type


class Order(msgspec.Struct):
    order_id: str


class Model(pydantic.BaseModel):
    order_id: str


class Plain:
    pass


class Holder(msgspec.Struct):
    things: dict[str, list[Plain]]


Name = NewType("Name", str)
Maybe = NewType("Maybe", str | None)  # type: ignore[valid-newtype]  # a union, which the checker refuses and users write


@pytest.mark.parametrize(
    "value_type",
    [
        Order | None,
        # As text: the linter would write both as above.
        eval("typing.Optional[Order]", {"typing": typing, "Order": Order}),
        eval("typing.Union[None, str, int]", {"typing": typing}),
        None,
        type(None),
        Any,
        object,
        Annotated[Order | None, "note"],
        Annotated[Order, "note"] | None,
        Maybe,
        Model | None,
    ],
)
def test_none_is_allowed(value_type: object) -> None:
    assert accepts_none(value_type)


@pytest.mark.parametrize(
    "value_type", [Order, str, bytes, dict, dict[str, None], list[Order | None], int | str, Name, Model, "Order | None"]
)
def test_none_is_not_allowed(value_type: object) -> None:
    assert not accepts_none(value_type)


@pytest.mark.parametrize(
    "value_type",
    [
        Order,
        Order | None,
        dict,
        list[Order],
        int,
        Any,
        object,
        Name,
        Annotated[int, msgspec.Meta(gt=0)],
        Model,
        list[Model],
    ],
)
def test_what_can_be_decoded_passes(value_type: object) -> None:
    validate_type(value_type)


@pytest.mark.parametrize(
    ("value_type", "message"),
    [
        (
            Plain,
            "value type Plain cannot be decoded: it is of type Plain, which no JSON stands for: use a msgspec.Struct",
        ),
        (Holder, "value type Holder cannot be decoded: Holder.things[…][…] is of type Plain"),
        (Plain | None, "value type Plain | None cannot be decoded"),
        (Callable, "Callable"),
        (None, "value type is None: name the type of the values"),
        ("Order", "value type is the text 'Order': pass the class itself, without quotes"),
        (list[int] | set[int], "Type unions may not contain more than one array-like"),
        (Order | Holder, "value type Order | Holder cannot be decoded: "),
    ],
)
def test_what_cannot_be_decoded_is_refused_with_a_remedy(value_type: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_type(value_type)
    assert message in str(caught.value)
