"""The registry's adapter without a network: Confluent's registry in memory, and answers made up for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

import httpx2
import pytest
from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaReference, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from streamq.kafka.registry import QUIET_S, ConfluentRegistry
from streamq.model.errors import ConfigError, RetriableError, SerdeError
from streamq.serde import value_serde

COUNTRY = '{"type": "enum", "name": "Country", "symbols": ["DE", "FR"]}'


class ManualClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


class Client:
    """Stands where Confluent's client stands; each call does what the test says."""

    def __init__(self, **calls: Callable[..., Any]) -> None:
        self.__dict__.update(calls)


def raising(error: Exception) -> Callable[..., Any]:
    def call(*_: object) -> NoReturn:
        raise error

    return call


def registry_of(clock: ManualClock | None = None, **calls: Callable[..., Any]) -> ConfluentRegistry:
    registry = ConfluentRegistry("mock://user:secret@registry:8081/path", clock=clock)
    registry._client = Client(**calls)  # type: ignore[assignment]  # what the tests are about
    return registry


def test_what_is_registered_is_found_by_its_id() -> None:
    registry = ConfluentRegistry("mock://here")
    schema_id = registry.register("orders-value", '"string"')
    assert registry.register("orders-value", '"string"') == schema_id
    assert registry.schema_by_id(schema_id) == '"string"'


def test_an_unknown_id_is_the_payloads_fault() -> None:
    with pytest.raises(
        SerdeError, match="schema id 99: schema registry mock://here does not have it: Schema Not Found"
    ):
        ConfluentRegistry("mock://here").schema_by_id(99)


@pytest.mark.parametrize(
    "error",
    [
        SchemaRegistryError(404, -1, "Unknown Schema Registry Error: <html>"),
        SchemaRegistryError(404, 404, "not a path of mine"),
        SchemaRegistryError(401, 40101, "who are you"),
        SchemaRegistryError(403, 40301, "not for you"),
        SchemaRegistryError(429, 42901, "slowly"),
        SchemaRegistryError(500, 50001, "store"),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
        httpx2.InvalidURL("odd"),
        ValueError("no JSON"),
        TypeError("odd answer"),
        OSError("no route"),
    ],
)
def test_what_says_nothing_about_the_schema_is_waited_for(error: Exception) -> None:
    registry = registry_of(get_schema=raising(error), register_schema=raising(error), lookup_schema=raising(error))
    with pytest.raises(RetriableError) as caught:
        registry.schema_by_id(7)
    message = str(caught.value)
    assert message.startswith("schema registry mock://registry:8081/path gave no answer on schema id 7: ")
    assert message.endswith("check its address, that it runs, and this client's rights")
    assert "secret" not in message
    with pytest.raises(RetriableError):
        registry.register("orders-value", '"string"')


def test_after_silence_nobody_asks_for_a_while() -> None:
    clock, asked = ManualClock(), []

    def get_schema(schema_id: int) -> Schema:
        asked.append(schema_id)
        if len(asked) == 1:
            raise httpx2.ConnectError("refused")
        return Schema('"string"')

    registry = registry_of(clock, get_schema=get_schema)
    with pytest.raises(RetriableError, match="refused"):
        registry.schema_by_id(7)
    with pytest.raises(RetriableError, match="did not answer just now: schema id 8 waits"):
        registry.schema_by_id(8)
    assert asked == [7]
    clock.now_s += QUIET_S
    assert registry.schema_by_id(8) == '"string"'
    assert registry.schema_by_id(9) == '"string"'


@pytest.mark.parametrize("status", [409, 422])
def test_a_refused_schema_says_why(status: int) -> None:
    registry = registry_of(register_schema=raising(SchemaRegistryError(status, status * 100 + 1, "field removed")))
    with pytest.raises(SerdeError) as caught:
        registry.register("orders-value", '"string"')
    message = str(caught.value)
    assert message.startswith(f"subject orders-value: schema registry {registry.description} refuses the schema: ")
    assert f"field removed (HTTP {status}" in message
    assert "make it compatible with the subject's former versions" in message


def test_who_may_only_read_gets_the_id_of_a_schema_that_is_there() -> None:
    registry = registry_of(
        register_schema=raising(SchemaRegistryError(403, 40301, "read only")),
        lookup_schema=lambda subject, schema: RegisteredSchema(
            schema_id=5, guid=None, schema=schema, subject=subject, version=1
        ),
    )
    assert registry.register("orders-value", '"string"') == 5


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (Schema("{}", "JSON"), "schema id 7 at mock://registry:8081/path is JSON: this topic's serde is Avro"),
        (Schema('syntax = "proto3"', "PROTOBUF"), "is PROTOBUF"),
    ],
)
def test_a_schema_of_another_kind_is_refused(schema: Schema, message: str) -> None:
    with pytest.raises(SerdeError) as caught:
        registry_of(get_schema=lambda _: schema).schema_by_id(7)
    assert message in str(caught.value)


def refers(text: str, *subjects: str) -> Schema:
    return Schema(text, "AVRO", [SchemaReference(name=subject, subject=subject, version=1) for subject in subjects])


def test_what_a_schema_refers_to_is_inlined_through_any_number_of_steps() -> None:
    address = '{"type": "record", "name": "Address", "fields": [{"name": "country", "type": "Country"}]}'
    person = '{"type": "record", "name": "Person", "fields": [{"name": "home", "type": "Address"}]}'
    versions = {"address": refers(address, "country"), "country": refers(COUNTRY)}
    registry = registry_of(
        get_schema=lambda _: refers(person, "address", "country"),
        get_version=lambda subject, version: RegisteredSchema(
            schema_id=1, guid=None, schema=versions[subject], subject=subject, version=version
        ),
    )
    inlined = json.loads(registry.schema_by_id(7))
    country = inlined["fields"][0]["type"]["fields"][0]["type"]
    assert country["symbols"] == ["DE", "FR"]


def test_references_without_end_are_bounded() -> None:
    registry = registry_of(
        get_schema=lambda _: refers(COUNTRY, "s0"),
        get_version=lambda subject, version: RegisteredSchema(
            schema_id=1, guid=None, schema=refers(COUNTRY, f"s{int(subject[1:]) + 1}"), subject=subject, version=version
        ),
    )
    with pytest.raises(SerdeError, match="refers to a broken schema: more than 100 references"):
        registry.schema_by_id(7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("localhost:8081", "schema registry url is"),
        ("", "give one that begins with http:// or https://, for instance http://localhost:8081"),
        ({}, "schema registry url is 'None'"),
        (
            {"url": "http://a", "no.such.setting": 1},
            "schema registry http://a: Unrecognized properties: no.such.setting",
        ),
        ({"url": "http://a", "ssl.ca.location": "/no/such/file"}, "schema registry http://a: "),
    ],
)
def test_settings_that_cannot_work_are_refused_before_any_connection(
    settings: str | Mapping[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        ConfluentRegistry(settings)
    assert message in str(caught.value)


def test_no_secret_is_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        ConfluentRegistry("ftp://user:secret@host")
    assert "secret" not in str(caught.value)
    assert ConfluentRegistry("http://u:secret@a:1, http://u:secret@b:2").description == "http://a:1,http://b:2"


def test_a_forked_child_makes_its_own_client(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ConfluentRegistry("mock://here")
    before = registry._client
    schema_id = registry.register("orders-value", '"string"')
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(SerdeError):  # the registry in memory belongs to its client
        registry.schema_by_id(schema_id)
    assert registry._client is not before


def test_confluents_own_serializers_read_what_is_written_and_write_what_is_read() -> None:
    registry = ConfluentRegistry("mock://here")
    schema = json.dumps(
        {
            "type": "record",
            "name": "Order",
            "fields": [
                {"name": "order_id", "type": "string"},
                {"name": "amount", "type": "double"},
                {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
                {"name": "note", "type": ["null", "string"], "default": None},
            ],
        }
    )
    serde = value_serde(dict, "avro", registry=registry, schema=schema)
    value = {"order_id": "ä", "amount": 1.5, "at": datetime(2026, 11, 20, 8, tzinfo=UTC), "note": None}
    theirs = AvroSerializer(registry._client, schema)(value, SerializationContext("orders", MessageField.VALUE))
    ours = serde.encode(value, topic="orders")
    assert ours == theirs
    assert serde.decode(theirs, topic="orders") == value
    assert AvroDeserializer(registry._client)(ours, SerializationContext("orders", MessageField.VALUE)) == value
