"""From a declaration to its serde: what is chosen, what is refused, and what is imported for it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from streamq.model.errors import ConfigError, RetriableError, SerdeError
from streamq.serde import Serde, key_serde, value_serde
from streamq.serde.avro_guard import AvroNode
from streamq.serde.base import UserValue


class Order(msgspec.Struct):
    order_id: str


class Upper:
    """A serde as a user writes one, with ways to go wrong."""

    name = "upper"

    def encode(self, value: UserValue, *, topic: str) -> bytes | None:
        if value == "down":
            raise RetriableError("the key server is down")
        if value == "number":
            return 5  # type: ignore[return-value]  # the mistake under test
        if value == "none":
            return None
        return None if value is None else str(value.upper()).encode()

    def decode(self, data: bytes, *, topic: str) -> UserValue:
        if data == b"down":
            raise RetriableError("the key server is down")
        if data == b"own":
            raise SerdeError("my own words")
        if data == b"zero":
            return 1 // 0
        return data.decode().lower()


def test_bytes_are_raw_and_all_else_is_json_unless_said_otherwise() -> None:
    assert value_serde(bytes).name == "raw"
    assert value_serde(bytes | None).name == "raw"
    assert value_serde(bytes, "json").name == "json"
    assert value_serde(Order).name == "json"
    assert value_serde(dict).name == "json"
    assert value_serde(Order, "avro").name == "avro"


@pytest.mark.parametrize(
    ("serde", "schema", "message"),
    [
        ("xml", None, "serde is 'xml': use one of 'json', 'avro', 'raw', or a Serde of your own"),
        ("raw", None, "value type Order with serde='raw': raw values are bytes"),
        (Upper, None, "value serde is <class"),
        (object(), None, "or an object with name, encode(value, *, topic) and decode(data, *, topic)"),
        ("json", "int", "schema is given with serde 'json': only serde='avro' has one"),
        (None, {"type": "int"}, "schema is given with serde None"),
        ("avro", "{", "schema for value type Order is no Avro schema"),
        ("avro", {"type": "recrod", "name": "R"}, "UnknownType: recrod"),
        ("avro", {"type": "record", "name": "R", "fields": [{"name": "x"}]}, "Record field 'x' is missing 'type'"),
        ("avro", [], "an empty part"),
        ("avro", 5, "no Avro schema"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(serde: UserValue, schema: AvroNode, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        value_serde(Order, serde, schema=schema)
    assert message in str(caught.value)


def test_raw_bytes_go_through_untouched() -> None:
    serde = value_serde(bytes)
    assert serde.encode(b"\x00\xff", topic="blobs") == b"\x00\xff"
    assert serde.encode(bytearray(b"ab"), topic="blobs") == b"ab"
    assert serde.encode(memoryview(b"ab"), topic="blobs") == b"ab"
    assert serde.decode(b"", topic="blobs") == b""
    assert value_serde(bytes | None).encode(None, topic="blobs") is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "text",
            "topic blobs: the value cannot be encoded: value is 'text', no bytes: encode it, or declare the topic",
        ),
        (None, "value is None (a tombstone), and bytes does not allow it"),
    ],
)
def test_what_is_no_bytes_is_refused_as_raw(value: object, message: str) -> None:
    with pytest.raises(SerdeError) as caught:
        value_serde(bytes).encode(value, topic="blobs")
    assert message in str(caught.value)


def test_a_users_serde_is_used() -> None:
    serde: Serde[Any] = value_serde(str, Upper())
    assert serde.name == "upper"
    assert serde.encode("a", topic="t") == b"A"
    assert serde.decode(b"A", topic="t") == "a"
    assert serde.encode(None, topic="t") is None
    assert key_serde(Upper()).encode(None, topic="t") is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "5: AttributeError: 'int' object has no attribute 'upper': mend the value or serde 'upper'"),
        ("number", "serde 'upper' returned 5 for 'number': encode() must return bytes, or None for None"),
        ("none", "serde 'upper' returned None for 'none'"),
    ],
)
def test_what_a_users_serde_gets_wrong_in_encoding_is_a_serde_error(value: object, message: str) -> None:
    with pytest.raises(SerdeError) as caught:
        value_serde(str, Upper()).encode(value, topic="t")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "topic t: the value is not for serde 'upper': UnicodeDecodeError"),
        (b"zero", "ZeroDivisionError: integer division or modulo by zero"),
        (b"own", "my own words"),
    ],
)
def test_what_a_users_serde_raises_in_decoding_carries_the_bytes(data: bytes, message: str) -> None:
    with pytest.raises(SerdeError) as caught:
        value_serde(str, Upper()).decode(data, topic="t")
    assert message in str(caught.value)
    assert caught.value.raw == data
    with pytest.raises(SerdeError) as caught:
        key_serde(Upper()).decode(data, topic="t")
    assert caught.value.part == "key"


def test_a_users_serde_may_say_that_it_has_to_wait() -> None:
    serde = value_serde(str, Upper())
    with pytest.raises(RetriableError):
        serde.encode("down", topic="t")
    with pytest.raises(RetriableError):
        serde.decode(b"down", topic="t")


def run_python(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_nothing_is_imported_that_is_not_needed() -> None:
    run_python(
        "import sys; from streamq.serde import key_serde, value_serde; import streamq.kafka.registry\n"
        "value_serde(dict); value_serde(bytes); key_serde(int)\n"
        "assert not {'fastavro', 'pydantic', 'confluent_kafka.schema_registry', 'httpx2'} & set(sys.modules)"
    )


@pytest.mark.parametrize(
    ("package", "declaration", "message"),
    [
        ("fastavro", "value_serde(dict, 'avro', schema='int')", "'avro', and fastavro is not installed"),
        ("httpx2", "ConfluentRegistry('mock://x')", "needs httpx2, which is not installed"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_brings_it(
    package: str, declaration: str, message: str
) -> None:
    run_python(
        f"import sys; sys.modules[{package!r}] = None\n"
        "from streamq.model.errors import ConfigError\n"
        "from streamq.serde import value_serde; from streamq.kafka.registry import ConfluentRegistry\n"
        "try:\n"
        f"    {declaration}\n"
        "except ConfigError as error:\n"
        f"    assert {message!r} in str(error) and \"pip install 'streamq[avro]'\" in str(error), error\n"
        "else:\n"
        "    raise AssertionError('no error')"
    )
