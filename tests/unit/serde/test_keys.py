"""Keys: their bytes decide the partition, so they are those of Java's serializers; a missing key stays missing."""

from __future__ import annotations

from typing import Any

import pytest

from streamq.model.errors import ConfigError, SerdeError
from streamq.serde import Serde, key_serde


def refusal(serde: Serde[Any], key: object) -> str:
    with pytest.raises(SerdeError) as caught:
        serde.encode(key, topic="orders")
    assert caught.value.part == "key"
    return str(caught.value)


def complaint(serde: Serde[Any], data: bytes) -> str:
    with pytest.raises(SerdeError) as caught:
        serde.decode(data, topic="orders")
    assert (caught.value.part, caught.value.raw) == ("key", data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key_type", "key", "data"),
    [
        (str, "käse", "käse".encode()),
        (str, "", b""),
        ("str", "a", b"a"),
        (str | None, "a", b"a"),
        (bytes, b"\x00\xff", b"\x00\xff"),
        # LongSerializer writes eight bytes, the highest first, in two's complement.
        (int, 1, b"\0\0\0\0\0\0\0\x01"),
        (int, -1, b"\xff" * 8),
        (int, 2**63 - 1, b"\x7f" + b"\xff" * 7),
        (int, -(2**63), b"\x80" + b"\0" * 7),
    ],
)
def test_a_key_becomes_bytes_and_comes_back(key_type: object, key: object, data: bytes) -> None:
    serde = key_serde(key_type)
    assert serde.encode(key, topic="orders") == data
    assert serde.decode(data, topic="orders") == key


@pytest.mark.parametrize("key_type", [str, bytes, int])
def test_no_key_stays_no_key(key_type: object) -> None:
    assert key_serde(key_type).encode(None, topic="orders") is None


def test_keys_are_text_unless_said_otherwise() -> None:
    assert key_serde().name == "str"


@pytest.mark.parametrize(
    ("key_type", "key", "message"),
    [
        (str, 5, "key is 5 of type int, and the topic's keys are str: pass str, or declare the topic with key=bytes"),
        (str, b"a", "key is b'a' of type bytes, and the topic's keys are str"),
        (str, "\ud800", "surrogates not allowed"),
        (int, "5", "key is '5' of type str, and the topic's keys are int"),
        (int, True, "key is True of type bool"),
        (int, 2**63, "key is 9223372036854775808, beyond 64 bits"),
        (bytes, "a", "key is 'a', no bytes"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(key_type: object, key: object, message: str) -> None:
    text = refusal(key_serde(key_type), key)
    assert text.startswith("topic orders: the key cannot be encoded: ")
    assert message in text


@pytest.mark.parametrize(
    ("key_type", "data", "message"),
    [
        (str, b"a\xff", "the key is not UTF-8 text: invalid start byte at byte 1"),
        (int, b"\0\0\0\x01", "the key is not a 64-bit number: it has 4 bytes, not 8"),
        (int, b"", "it has 0 bytes, not 8"),
    ],
)
def test_bytes_that_are_no_such_key_say_why(key_type: object, data: bytes, message: str) -> None:
    assert message in complaint(key_serde(key_type), data)


@pytest.mark.parametrize(
    ("key_type", "message"),
    [
        (float, "key is float: use str, bytes, int, 'avro' with a schema, or a Serde of your own"),
        (dict[str, int], "key is dict[str, int]: use str"),
        ("text", "key is 'text': use str"),
        ("avro", "key is 'avro' without a schema"),
        (object(), "key serde is <object object"),
    ],
)
def test_another_kind_of_key_is_refused_when_declared(key_type: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        key_serde(key_type)
    assert message in str(caught.value)


def test_a_schema_without_avro_is_refused() -> None:
    with pytest.raises(ConfigError, match="only key='avro' has one"):
        key_serde(str, schema="string")


def test_avro_keys() -> None:
    schema = {"type": "record", "name": "Key", "fields": [{"name": "region", "type": "string"}]}
    serde = key_serde("avro", schema=schema)
    data = serde.encode({"region": "eu"}, topic="orders")
    assert data == b"\x04eu"
    assert serde.decode(data, topic="orders") == {"region": "eu"}
    assert serde.encode(None, topic="orders") is None
    assert "the key cannot be encoded" in refusal(serde, {"region": 5})
    assert "the key is not a whole Avro body" in complaint(serde, b"\x04e")
