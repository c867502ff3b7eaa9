"""What counts as a handler, how it is called, and what each wrong one is told."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, NewType, TypedDict

import msgspec
import pytest

import streamq as sq
from streamq.tasks.signature import Shape, fits, shape_of


class Order(msgspec.Struct):
    amount: float


class Gift(Order):
    note: str


class Invoice(msgspec.Struct):
    number: int


class Row(TypedDict):
    id: int


OrderId = NewType("OrderId", str)


def shape(handler: object, value: object = Order) -> Shape:
    topic = sq.App("shop").topic("orders", value=value)
    return shape_of(handler, "charge", topic)


def refusal(handler: object, value: object = Order) -> str:
    with pytest.raises(sq.ConfigError) as error:
        shape(handler, value)
    return str(error.value)


def test_async_and_plain_functions_with_and_without_context() -> None:
    async def both(order: Order, ctx: sq.Context) -> None: ...
    async def value(order: Order) -> None: ...
    def plain(order: Order, ctx: sq.Context) -> None: ...
    def untyped(order): ...  # type: ignore[no-untyped-def]  # users need not annotate

    assert shape(both) == Shape(is_async=True, takes_context=True, takes_none=False)
    assert shape(value) == Shape(is_async=True, takes_context=False, takes_none=False)
    assert shape(plain) == Shape(is_async=False, takes_context=True, takes_none=False)
    assert shape(untyped) == Shape(is_async=False, takes_context=False, takes_none=False)


def test_callable_objects_methods_and_partials() -> None:
    class Charge:
        async def __call__(self, order: Order, ctx: sq.Context) -> None: ...
        def method(self, order: Order) -> None: ...

    async def with_rate(rate: float, order: Order, ctx: sq.Context) -> None: ...

    assert shape(Charge()) == Shape(is_async=True, takes_context=True, takes_none=False)
    assert shape(Charge().method) == Shape(is_async=False, takes_context=False, takes_none=False)
    assert shape(functools.partial(with_rate, 0.5)) == Shape(is_async=True, takes_context=True, takes_none=False)


def test_a_second_parameter_with_a_default_is_the_users_own_unless_it_is_the_context() -> None:
    def retries(order: Order, retries: int = 3) -> None: ...
    def ctx(order: Order, ctx: object = None) -> None: ...
    def annotated(order: Order, where: sq.Context = None) -> None: ...  # type: ignore[assignment]  # a user's habit

    assert not shape(retries).takes_context
    assert shape(ctx).takes_context
    assert shape(annotated).takes_context


def test_a_wrapped_function_counts_as_its_own_signature() -> None:
    def traced(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def wrapper(*args: object) -> object:
            return function(*args)

        return wrapper

    @traced
    def charge(order: Order) -> None: ...

    assert not shape(charge).takes_context


@pytest.mark.parametrize("annotation", [Order | None, object, Any, "Order | None"])
def test_none_reaches_a_handler_that_is_annotated_for_it(annotation: object) -> None:
    def charge(order: object) -> None: ...

    charge.__annotations__["order"] = annotation
    assert shape(charge).takes_none


def test_none_reaches_a_handler_without_annotation_by_the_topics_type() -> None:
    def charge(order): ...  # type: ignore[no-untyped-def]  # users need not annotate

    assert shape(charge, Order | None).takes_none
    assert not shape(charge, Order).takes_none


def test_a_handler_that_says_it_takes_no_none_gets_none_whatever_the_topic_says() -> None:
    def charge(order: Order) -> None: ...

    assert not shape(charge, Order | None).takes_none


def test_annotations_with_names_of_a_function_are_understood() -> None:
    class Local(msgspec.Struct):
        x: int

    def charge(order: Local | None) -> None: ...
    def other(order: object) -> None: ...

    other.__annotations__["order"] = "Elsewhere | None"

    assert shape(charge, Local).takes_none
    assert shape(other, Local).takes_none


def test_too_few_and_too_many_parameters() -> None:
    def none() -> None: ...
    def three(order: Order, ctx: sq.Context, more: int) -> None: ...
    def keyword(order: Order, *, ctx: sq.Context) -> None: ...

    wanted = "use `async def charge(value: Order, ctx: sq.Context)`, without ctx if it is not needed; `def` works too"
    for handler, problem in (
        (none, "takes no value"),
        (three, "needs 3 arguments, and there are two to give"),
        (keyword, "needs an argument by keyword"),
    ):
        message = refusal(handler)
        assert message.startswith(f"handler {handler.__name__}(")
        assert "test_signature.py:" in message
        assert problem in message
        assert message.endswith(wanted)


def test_generators_never_run_and_are_refused() -> None:
    def generator(order: Order) -> Iterator[int]:
        yield 1

    async def async_generator(order: Order) -> AsyncIterator[int]:
        yield 1

    assert "is a generator (it has a `yield`), which would never run" in refusal(generator)
    assert "is a generator" in refusal(async_generator)


def test_classes_and_objects_that_cannot_be_called_are_refused() -> None:
    class Charge: ...

    assert "is a class, Charge: use a function" in refusal(Charge)
    assert "handler of processor 'charge' is <" in refusal(Charge())
    assert "is 5: use a function" in refusal(5)


def test_a_value_annotation_that_differs_from_the_topics_type_is_refused() -> None:
    def charge(order: Invoice) -> None: ...

    message = refusal(charge)
    assert "takes Invoice, but the values of topic 'orders' are Order" in message
    assert "use `async def charge(value: Order" in message


def test_a_context_annotation_that_is_none_is_refused() -> None:
    def charge(order: Order, number: int) -> None: ...

    assert "takes int where its context comes" in refusal(charge)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Order, Order, True),
        (Order | None, Order, True),
        (Order, Order | None, True),
        (Order, Gift, True),  # a handler may ask for less
        (Gift, Order, False),
        (Invoice, Order, False),
        (Order | Invoice, Order, True),
        (Order, Order | Invoice, False),
        (Order | Invoice, Invoice | Order, True),
        (dict, dict[str, int], True),
        (Mapping[str, Any], dict[str, int], True),
        (dict[str, Any], dict[str, int], True),
        (dict[str, str], dict[str, int], False),
        (list[int], dict[str, int], False),
        (Row, Row, True),
        (dict[str, Any], Row, True),
        (Row, Order, False),
        (OrderId, str, True),
        (str, OrderId, True),
        (Any, Order, True),
        (object, Order, True),
    ],
)
def test_which_annotations_fit_which_values(annotation: object, value: object, expected: bool) -> None:
    assert fits(annotation, value) is expected
