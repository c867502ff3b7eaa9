"""Avro by fastavro: Confluent's wire format with a Schema Registry, plain bodies without one.

Needs the extra `avro`; imported only where a topic is declared with it, so that nobody else needs fastavro.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from io import BytesIO
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from fastavro import schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.validation import ValidationError, validate

from streamq.model.errors import ConfigError, SerdeError
from streamq.serde.annotations import accepts_none, holds_model, type_name, without_none
from streamq.serde.avro_derive import derive_schema
from streamq.serde.avro_guard import AvroNode, check_body
from streamq.serde.avro_schema import AvroSchema, SchemaSource, load_schema
from streamq.serde.avro_shape import shape_of
from streamq.serde.base import (
    Annotation,
    Datum,
    Part,
    SchemaRegistry,
    no_tombstone,
    reason_of,
    shown,
    undecodable,
    unencodable,
)

T = TypeVar("T")

_MAGIC: Final = 0
_PREFIX_BYTES: Final = 5
_MAX_CACHED: Final = 1000

# Plain tuples are arrays, not fastavro's way to name the branch of a union. (Its type stubs do not know the option.)
_OPTIONS: Final[dict[str, Any]] = {"disable_tuple_notation": True}

# What fastavro raises at bodies and values that do not fit, found by fuzzing: there is no common base.
_READ_FAILURES: Final = (
    SchemaResolutionError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    EOFError,
    AttributeError,
    RecursionError,
    MemoryError,
)


_Read: TypeAlias = Callable[[bytes], Datum]
"""Reads the body of one writer's schema, behind the prefix if there is one."""


class AvroSerde(Generic[T]):
    """Values as Avro.

    With a registry: Confluent's wire format, a zero byte, the schema's id in four bytes (big-endian) and the body; the
    subject is `<topic>-value` or `<topic>-key` (TopicNameStrategy). The schema is registered at the first encoding for
    a topic. A body is read by the schema that wrote it, and resolved to the schema given here, if one is given; without
    one, what was written is matched to the type by field names, and what the type does not know is left out.

    Without a registry: the body alone. Writers and readers must have the very same schema; it cannot evolve.

    Without a schema, one is derived from the type (`avro_derive`).

    Blocks for the registry's time-out at most, and only at the first meeting with a schema id or topic.

    Raises (made):
        ConfigError: no schema, a broken one, or none that follows from the type; names what to give.
    """

    name = "avro"

    def __init__(
        self,
        value_type: Annotation,
        *,
        schema: SchemaSource | None = None,
        registry: SchemaRegistry | None = None,
        part: Part = "value",
    ) -> None:
        self._part = part
        self._type_name = type_name(value_type)
        self._none_allowed = accepts_none(value_type)
        self._to_datum, self._from_datum = shape_of(value_type)
        self._schema = _own_schema(value_type, schema)
        self._registry = registry
        self._resolves = schema is not None
        self._read_own = _reader_of(self._schema, None, 0)
        self._fits: Callable[[Any], object] = self._from_datum if schema is None else self._validate
        self._readers: dict[int, _Read] = {}
        self._prefixes: dict[str, bytes] = {}

    def encode(self, value: T, *, topic: str) -> bytes | None:
        """The value as Avro; None as a tombstone, where the type allows None.

        Raises:
            SerdeError: the value does not fit type or schema (the message names field and value), or the registry
                refuses the schema.
            RetriableError: the registry did not answer.
        """
        if value is None:
            if self._none_allowed:
                return None
            raise no_tombstone(topic, self._part, self._type_name)
        out = BytesIO()
        if self._registry is not None:
            out.write(self._prefixes.get(topic) or self._register(topic, self._registry))
        try:
            datum = self._to_datum(value)
            self._fits(datum)
            if self._schema.zoned:
                _refuse_naive(datum, "")
            schemaless_writer(out, self._schema.parsed, datum, strict_allow_default=True, disable_tuple_notation=True)
            data = out.getvalue()
            if self._schema.guarded:
                check_body(
                    self._schema.parsed, self._schema.named, data, 0 if self._registry is None else _PREFIX_BYTES
                )
        except Exception as error:
            # Not only fastavro's errors: validators and properties of the user's type run here.
            problem = f"{self._part} is {shown(value)}: {_complaint(error)}"
            raise unencodable(
                topic, self._part, problem, f"pass a value of type {self._type_name} that fits the schema"
            ) from error
        return data

    def decode(self, data: bytes, *, topic: str) -> T:
        """The value of a body.

        Raises:
            SerdeError: unknown magic byte or schema id, truncated, bytes left over, or not of the type.
            RetriableError: the registry did not answer, so nobody knows what these bytes are.
        """
        read = self._read_own if self._registry is None else self._read_of(data, topic, self._registry)
        try:
            datum = read(data)
        except _READ_FAILURES as error:
            raise undecodable(topic, self._part, "a whole Avro body of its schema", _complaint(error), data) from error
        try:
            return self._from_datum(datum)  # type: ignore[no-any-return]  # the shape was made of a runtime type
        except Exception as error:
            # Not only msgspec's errors: a __post_init__ or a validator of the user's type runs here.
            raise undecodable(topic, self._part, f"a {self._type_name}", reason_of(error), data) from error

    def _validate(self, datum: Datum) -> None:
        if not validate(datum, self._schema.parsed, raise_errors=False, **_OPTIONS):
            validate(datum, self._schema.parsed, raise_errors=True, **_OPTIONS)
        # What fits the schema need not fit the type, and would not come back.
        self._from_datum(datum)

    def _register(self, topic: str, registry: SchemaRegistry) -> bytes:
        subject = f"{topic}-{self._part}"
        try:
            schema_id = registry.register(subject, self._schema.text)
        except SerdeError as error:
            raise SerdeError(f"topic {topic}: {error}", part=self._part) from error
        prefix = bytes([_MAGIC]) + schema_id.to_bytes(_PREFIX_BYTES - 1, "big")
        self._prefixes[topic] = prefix
        return prefix

    def _read_of(self, data: bytes, topic: str, registry: SchemaRegistry) -> _Read:
        if len(data) < _PREFIX_BYTES or data[0] != _MAGIC:
            raise undecodable(topic, self._part, "Avro in Confluent's wire format", _prefix_complaint(data), data)
        schema_id = int.from_bytes(data[1:_PREFIX_BYTES], "big")
        return self._readers.get(schema_id) or self._fetch(schema_id, data, topic, registry)

    def _fetch(self, schema_id: int, data: bytes, topic: str, registry: SchemaRegistry) -> _Read:
        try:
            schema = load_schema(registry.schema_by_id(schema_id))
        except (SerdeError, ValueError) as error:
            expected = f"readable: its schema id {schema_id} is no use"
            raise undecodable(topic, self._part, expected, reason_of(error), data) from error
        # fastavro compares the two schemas at each call when given both, and resolves where it need not.
        same = not self._resolves or schema.parsed == self._schema.parsed
        read = _reader_of(schema, None if same else self._schema.parsed, _PREFIX_BYTES)
        if len(self._readers) >= _MAX_CACHED:
            self._readers.clear()
        self._readers[schema_id] = read
        return read


def _own_schema(value_type: Annotation, schema: SchemaSource | None) -> AvroSchema:
    name = type_name(value_type)
    if schema is None:
        if holds_model(value_type):
            raise ConfigError(
                f"value type {name} with serde='avro': no schema follows from a pydantic model: pass schema=…"
            )
        schema = derive_schema(without_none(value_type))
    try:
        return load_schema(schema)
    except ValueError as error:
        raise ConfigError(f"schema for value type {name} is no Avro schema: {reason_of(error)}") from error


def _reader_of(writer: AvroSchema, reader: AvroNode | None, start: int) -> _Read:
    """What is the same for all bodies of a schema, worked out once. `reader=None`: read as it was written."""
    parsed, named, guarded = writer.parsed, writer.named, writer.guarded

    def read(data: bytes) -> Datum:
        if guarded:
            check_body(parsed, named, data, start)
        body = BytesIO(data)
        if start:
            body.seek(start)
        datum = schemaless_reader(body, parsed, reader)
        if body.tell() != len(data):
            raise ValueError(f"{len(data) - body.tell()} bytes are left over behind it")
        return datum

    return read


def _prefix_complaint(data: bytes) -> str:
    if data and data[0] != _MAGIC:
        hint = ", it looks like JSON" if data[:1] in b'{["' else ""
        return f"it starts with byte {data[0]:#04x}, not with the magic byte 0{hint}"
    return f"truncated: it has {len(data)} bytes, and magic byte and schema id alone take {_PREFIX_BYTES}"


def _complaint(error: Exception) -> str:
    match error:
        case ValidationError():
            return reason_of(ValueError("; ".join(str(part) for part in error.errors)))
        case EOFError():
            return f"truncated {error}".rstrip()
        case IndexError() | KeyError():
            return "it holds a branch, symbol or number that its schema does not have"
        case msgspec.ValidationError() | ValueError():
            return reason_of(error)
        case _:
            return f"{type(error).__name__}: {reason_of(error)}"


def _refuse_naive(datum: Datum, path: str) -> None:
    """A time without a zone would be taken for one of this machine's zone: another one elsewhere."""
    if isinstance(datum, dict):
        for name, child in datum.items():
            _refuse_naive(child, f"{path}.{name}" if path else str(name))
    elif isinstance(datum, list | tuple):
        for index, child in enumerate(datum):
            _refuse_naive(child, f"{path}[{index}]")
    elif isinstance(datum, datetime) and datum.tzinfo is None:
        raise ValueError(f"{path or 'value'} is {datum.isoformat()}, a time without a zone: use an aware datetime")
