"""Avro values, with a registry and without: the wire format, schemas that change, and everything that can be wrong."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from typing import Any

import msgspec
import pytest

from streamq.kafka.registry import ConfluentRegistry
from streamq.model.errors import ConfigError, RetriableError, SerdeError
from streamq.serde import value_serde
from streamq.serde.avro_guard import AvroNode
from streamq.serde.base import Annotation

from .avro_cases import (
    ORDER,
    ORDER_BODY,
    POINT,
    Colour,
    Everything,
    Line,
    Model,
    Order,
    Registry,
    Tree,
    complaint,
    refusal,
)


def test_without_a_registry_the_body_stands_alone() -> None:
    serde = value_serde(Order, "avro")
    assert serde.encode(ORDER, topic="orders") == ORDER_BODY
    assert serde.decode(ORDER_BODY, topic="orders") == ORDER


def test_with_a_registry_magic_byte_and_schema_id_come_first() -> None:
    registry = Registry()
    serde = value_serde(Order, "avro", registry=registry)
    assert serde.encode(ORDER, topic="orders") == b"\x00\x00\x00\x00\x01" + ORDER_BODY
    assert [subject for subject, _ in registry.subjects] == ["orders-value"]
    assert serde.decode(b"\x00\x00\x00\x00\x01" + ORDER_BODY, topic="orders") == ORDER


def test_the_registry_is_asked_once_a_topic_and_once_a_schema() -> None:
    registry = Registry()
    serde = value_serde(Order, "avro", registry=registry)
    for _ in range(3):
        data = serde.encode(ORDER, topic="orders")
        assert data is not None
        serde.decode(data, topic="orders")
    assert registry.asked == 2
    serde.encode(ORDER, topic="returns")
    assert registry.asked == 3


def test_confluents_own_client_takes_the_schema_and_gives_it_back() -> None:
    registry = ConfluentRegistry("mock://here")
    serde = value_serde(Order, "avro", registry=registry)
    data = serde.encode(ORDER, topic="orders")
    assert data is not None
    assert value_serde(Order, "avro", registry=registry).decode(data, topic="orders") == ORDER


def test_every_type_comes_back_as_it_was() -> None:
    value = Everything(
        text="ä",
        data=b"\x00",
        at=datetime.datetime(2026, 11, 20, 8, 0, 0, 123_000, tzinfo=datetime.UTC),
        day=datetime.date(1969, 12, 31),
        ident=uuid.UUID(int=7),
        colour=Colour.RED,
        second=Colour.BLUE,
        sizes={"s": -1},
        either="text",
        names=("rec", "x"),
        numbers={1, 2},
        flag=True,
        tree=Tree(1, [Tree(2)], Tree(3)),
    )
    serde = value_serde(Everything, "avro")
    data = serde.encode(value, topic="t")
    assert data is not None
    assert serde.decode(data, topic="t") == value


def test_microseconds_are_cut_off() -> None:
    class At(msgspec.Struct):
        at: datetime.datetime

    serde = value_serde(At, "avro")
    moment = datetime.datetime(2026, 11, 20, 8, 0, 0, 123_456, tzinfo=datetime.UTC)
    data = serde.encode(At(moment), topic="t")
    assert data is not None
    assert serde.decode(data, topic="t") == At(moment.replace(microsecond=123_000))


def test_a_given_schema_resolves_what_others_wrote() -> None:
    registry = Registry()
    old = {**POINT, "fields": [{"name": "x", "type": "int"}, {"name": "gone", "type": "string"}]}
    data = value_serde(dict, "avro", registry=registry, schema=old).encode({"x": 1, "gone": "g"}, topic="points")
    assert data is not None
    # y is not there and gets its default; what is gone is left out.
    assert value_serde(dict, "avro", registry=registry, schema=POINT).decode(data, topic="points") == {"x": 1, "y": 0}


def test_without_a_given_schema_what_others_wrote_is_matched_by_field_names() -> None:
    registry = Registry()
    foreign = {
        "type": "record",
        "name": "com.acme.SalesOrder",
        "fields": [
            {"name": name, "type": kind} for name, kind in (("order_id", "string"), ("x", "int"), ("amount", "int"))
        ],
    }
    writer = value_serde(dict, "avro", registry=registry, schema=foreign)
    data = writer.encode({"order_id": "a", "x": 1, "amount": 2}, topic="orders")
    assert data is not None
    assert value_serde(Order, "avro", registry=registry).decode(data, topic="orders") == Order("a", 2.0)


def test_a_schema_that_does_not_resolve_is_the_bodys_fault() -> None:
    registry = Registry()
    data = value_serde(dict, "avro", registry=registry, schema=POINT).encode({"x": 1}, topic="points")
    assert data is not None
    wanted = {**POINT, "fields": [{"name": "z", "type": "string"}]}
    assert "z" in complaint(value_serde(dict, "avro", registry=registry, schema=wanted), data)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("string", "text"),
        ('{"type": "array", "items": "long"}', [1, 2]),
        ({"type": {"type": "map", "values": {"type": "long"}}}, {"a": 1}),
        (["null", {"type": "map", "values": "long"}], {"a": 1}),
        ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, decimal.Decimal("12.34")),
        ({"type": "fixed", "name": "F", "size": 2}, b"ab"),
    ],
)
def test_schemas_come_as_text_or_objects(schema: AvroNode, value: object) -> None:
    serde = value_serde(Any, "avro", schema=schema)
    data = serde.encode(value, topic="t")
    assert data is not None
    assert serde.decode(data, topic="t") == value


def test_pydantic_models_take_a_given_schema() -> None:
    fields = [{"name": "order_id", "type": "string"}, {"name": "amount", "type": "double"}]
    serde = value_serde(Model | None, "avro", schema={"type": "record", "name": "Model", "fields": fields})
    data = serde.encode(Model(order_id="a", amount=1.0), topic="t")
    assert data is not None
    assert serde.decode(data, topic="t") == Model(order_id="a", amount=1.0)
    assert "it is of type dict, not Model" in refusal(serde, {"order_id": "a", "amount": 1.0})


@pytest.mark.parametrize(
    ("value_type", "schema", "message"),
    [
        (Model, None, "no schema follows from a pydantic model: pass schema="),
        (list[Model], "string", "Avro takes one pydantic model, no container or union of them"),
    ],
)
def test_models_that_avro_cannot_take_are_refused(value_type: Annotation, schema: AvroNode, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        value_serde(value_type, "avro", schema=schema)
    assert message in str(caught.value)


def test_none_is_a_tombstone_only_where_the_type_allows_it() -> None:
    assert value_serde(Order | None, "avro").encode(None, topic="orders") is None
    assert "a tombstone" in refusal(value_serde(Order, "avro"), None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            Order("a", "much"),  # type: ignore[arg-type]  # the mistake under test
            "Expected `float`, got `str` - at `$.amount`: pass a value of type Order that fits the schema",
        ),
        (Order("a", 1.0, None, [Line("x", 2**70)]), "1180591620717411303424"),
        (Order("a", 1.0, "\ud800"), "surrogates not allowed"),
        ({"order_id": "a"}, "value is {'order_id': 'a'}: Object missing required field `amount`"),
        (object(), "Encoding objects of type object is unsupported"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused(value: object, message: str) -> None:
    text = refusal(value_serde(Order, "avro"), value)
    assert text.startswith("topic orders: the value cannot be encoded: value is ")
    assert message in text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"x": 2**40}, "Point.x is <1099511627776> of type <class 'int'> expected int"),
        ({"x": "1"}, "Point.x is <1> of type <class 'str'> expected int"),
        ({"y": 1}, "Field(Point.x) is None expected int"),
        ({"x": 1, "z": 1}, "record contains more fields than the schema specifies: z"),
        (5, "expected"),
    ],
)
def test_a_value_that_does_not_fit_a_given_schema_is_refused(value: object, message: str) -> None:
    assert message in refusal(value_serde(Any, "avro", schema=POINT), value)


def test_a_value_that_fits_a_given_schema_but_not_its_type_is_refused() -> None:
    fields = [{"name": "order_id", "type": ["string", "long"]}, {"name": "amount", "type": "double"}]
    serde = value_serde(Order, "avro", schema={"type": "record", "name": "Order", "fields": fields})
    message = refusal(serde, Order(5, 1.0))  # type: ignore[arg-type]  # the mistake under test
    assert "Expected `str`, got `int` - at `$.order_id`" in message


def test_a_time_without_a_zone_is_refused_since_it_means_another_time_on_another_machine() -> None:
    class Visit(msgspec.Struct):
        times: list[datetime.datetime]

    naive = datetime.datetime.fromisoformat("2026-11-20T08:00:00")
    message = refusal(value_serde(Visit, "avro"), Visit([naive]))
    assert "times[0] is 2026-11-20T08:00:00, a time without a zone: use an aware datetime" in message


def test_a_local_timestamp_takes_a_time_without_a_zone() -> None:
    serde = value_serde(Any, "avro", schema={"type": "long", "logicalType": "local-timestamp-millis"})
    naive = datetime.datetime.fromisoformat("2026-11-20T08:00:00")
    data = serde.encode(naive, topic="t")
    assert data is not None
    assert serde.decode(data, topic="t") == naive


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the value is not Avro in Confluent's wire format: truncated: it has 0 bytes"),
        (b"\x00\x00\x00", "truncated: it has 3 bytes, and magic byte and schema id alone take 5"),
        (b'{"order_id": "a"}', "it starts with byte 0x7b, not with the magic byte 0, it looks like JSON"),
        (b"\x01" + b"\x00" * 20, "it starts with byte 0x01, not with the magic byte 0"),
        (b"\x00\x00\x00\x00\x09" + ORDER_BODY, "its schema id 9 is no use: schema id 9: there is none"),
        (b"\x00\x00\x00\x00\x02" + ORDER_BODY, "its schema id 2 is no use: UnknownType"),
        (b"\x00\x00\x00\x00\x01", "the value is not a whole Avro body of its schema: truncated"),
        (b"\x00\x00\x00\x00\x01" + ORDER_BODY[:-1], "truncated"),
        (b"\x00\x00\x00\x00\x01" + ORDER_BODY + b"xy", "2 bytes are left over behind it"),
        (b"\x00\x00\x00\x00\x01" + b"\x02\xff" + ORDER_BODY[2:], "codec can't decode byte 0xff"),
        (
            b"\x00\x00\x00\x00\x01" + ORDER_BODY[:10] + b"\x09",
            "a branch, symbol or number that its schema does not have",
        ),
    ],
)
def test_bytes_that_are_no_such_avro_say_why(data: bytes, message: str) -> None:
    registry = Registry()
    serde = value_serde(Order, "avro", registry=registry)
    serde.encode(ORDER, topic="orders")
    registry.schemas[2] = '{"type": "recrod", "name": "Order"}'
    assert message in complaint(serde, data)


def test_a_body_of_a_type_that_is_not_the_users_names_the_field() -> None:
    registry = Registry()
    data = value_serde(dict, "avro", registry=registry, schema=POINT).encode({"x": 1}, topic="points")
    assert data is not None
    assert "the value is not a Order: Object missing required field `order_id`" in complaint(
        value_serde(Order, "avro", registry=registry), data
    )


def test_a_registry_that_does_not_answer_is_waited_for_and_not_taken_for_a_bad_payload() -> None:
    registry = Registry()
    data = value_serde(Order, "avro", registry=registry).encode(ORDER, topic="orders")
    assert data is not None
    serde = value_serde(Order, "avro", registry=registry)
    registry.failure = RetriableError("registry down")
    with pytest.raises(RetriableError):
        serde.decode(data, topic="orders")
    with pytest.raises(RetriableError):
        serde.encode(ORDER, topic="orders")
    registry.failure = None
    assert serde.decode(data, topic="orders") == ORDER
    assert serde.encode(ORDER, topic="orders") == data


def test_a_schema_that_the_registry_refuses_is_the_publishers_error() -> None:
    registry = Registry()
    registry.failure = SerdeError("subject orders-value: not compatible")
    assert "topic orders: subject orders-value: not compatible" in refusal(
        value_serde(Order, "avro", registry=registry), ORDER
    )


def test_what_is_registered_is_the_schema_as_given() -> None:
    registry = Registry()
    value_serde(dict, "avro", registry=registry, schema=POINT).encode({"x": 1}, topic="points")
    assert json.loads(registry.schemas[1]) == POINT
