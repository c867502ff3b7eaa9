"""From what a user declares to the serde that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, get_args

from streamq.model.errors import ConfigError
from streamq.serde.annotations import accepts_none, holds_model, type_name, unwrapped, validate_type, without_none
from streamq.serde.base import Part, SchemaRegistry, Serde, shown
from streamq.serde.json_values import JsonSerde
from streamq.serde.keys import IntKeySerde, StrKeySerde
from streamq.serde.raw import GuardedSerde, RawSerde

_FORMATS = ("json", "avro", "raw")

Schema = str | Mapping[str, Any] | Sequence[Any]


def value_serde(
    value_type: object,
    serde: str | Serde[Any] | None = None,
    *,
    registry: SchemaRegistry | None = None,
    schema: Schema | None = None,
) -> Serde[Any]:
    """The serde of a topic's values.

    `serde=None` is raw for bytes and JSON for any other type; "json", "avro" and "raw" say it; a `Serde` of the user's
    is taken as it is, and whatever it raises comes out as SerdeError. `schema` and `registry` are for "avro".

    Raises:
        ConfigError: the type cannot be decoded, the format is unknown, or what it needs is missing.
    """
    if schema is not None and serde != "avro":
        raise ConfigError(f"schema is given with serde {shown(serde)}: only serde='avro' has one")
    if serde is not None and not isinstance(serde, str):
        return _own_serde(serde, "value")
    is_bytes = unwrapped(without_none(value_type)) is bytes
    match serde or ("raw" if is_bytes else "json"):
        case "raw":
            if not is_bytes:
                raise ConfigError(f"value type {type_name(value_type)} with serde='raw': raw values are bytes")
            return RawSerde(none_allowed=accepts_none(value_type))
        case "json":
            return _json_serde(value_type)
        case "avro":
            return _avro_serde(value_type, registry, schema, "value")
        case unknown:
            raise ConfigError(f"serde is {unknown!r}: use one of {_listed(_FORMATS)}, or a Serde of your own")


def key_serde(
    key_type_or_serde: object = str, *, registry: SchemaRegistry | None = None, schema: Schema | None = None
) -> Serde[Any]:
    """The serde of a topic's keys: str (UTF-8), bytes, int (signed 64-bit big-endian, as Java's LongSerializer),
    "avro" with a schema, or a `Serde` of the user's. None as a key stays None: a record without a key.

    Raises:
        ConfigError: another type, or Avro without a schema.
    """
    if schema is not None and key_type_or_serde != "avro":
        raise ConfigError(f"key schema is given with key {shown(key_type_or_serde)}: only key='avro' has one")
    match unwrapped(without_none(key_type_or_serde)):
        case kind if kind is str or kind == "str":
            return StrKeySerde()
        case kind if kind is bytes or kind in ("bytes", "raw"):
            return RawSerde(part="key", none_allowed=True)
        case kind if kind is int or kind == "int":
            return IntKeySerde()
        case "avro":
            if schema is None:
                raise ConfigError("key is 'avro' without a schema: pass key_schema=…, an Avro schema")
            return _avro_serde(Any, registry, schema, "key")
        case kind if isinstance(kind, str | type) or get_args(kind):
            name = repr(kind) if isinstance(kind, str) else type_name(kind)
            raise ConfigError(f"key is {name}: use str, bytes, int, 'avro' with a schema, or a Serde of your own")
        case own:
            return _own_serde(own, "key")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _own_serde(serde: object, part: Part) -> Serde[Any]:
    if isinstance(serde, RawSerde | JsonSerde | StrKeySerde | IntKeySerde | GuardedSerde):
        return serde
    if isinstance(serde, type) or not isinstance(serde, Serde):
        raise ConfigError(
            f"{part} serde is {shown(serde)}: use one of {_listed(_FORMATS)}, "
            "or an object with name, encode(value, *, topic) and decode(data, *, topic)"
        )
    return GuardedSerde(serde, part=part)


def _json_serde(value_type: object) -> Serde[Any]:
    if not holds_model(value_type):
        return JsonSerde(value_type)
    validate_type(value_type)
    # pydantic is there, since a model is; others do without it.
    module = import_module("streamq.serde.models")
    serde: Serde[Any] = module.ModelSerde(value_type)
    return serde


def _avro_serde(value_type: object, registry: SchemaRegistry | None, schema: Schema | None, part: Part) -> Serde[Any]:
    try:
        module = import_module("streamq.serde.avro")
    except ImportError as error:
        raise ConfigError(
            f"{part} serde is 'avro', and {error.name} is not installed: pip install 'streamq[avro]'"
        ) from error
    serde: Serde[Any] = module.AvroSerde(value_type, schema=schema, registry=registry, part=part)
    return serde
