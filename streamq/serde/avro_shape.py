"""Between the user's type and the plain data that Avro knows."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec
from msgspec import inspect as mi

from streamq.model.errors import ConfigError
from streamq.serde.annotations import holds_model, is_model, type_name, validate_type, walk_type, without_none
from streamq.serde.base import Annotation, Datum, UserValue

_BUILTINS: Final = (bytes, datetime.datetime, datetime.date, datetime.time, decimal.Decimal, uuid.UUID)

_NOT_IN_JSON: Final = (
    mi.AnyType
    | mi.BytesType
    | mi.ByteArrayType
    | mi.DateTimeType
    | mi.DateType
    | mi.TimeType
    | mi.DecimalType
    | mi.UUIDType
    | mi.CustomType
)


class Shape(NamedTuple):
    """Two conversions, both checked against the user's type, built once. `to_datum` takes a value and gives dicts,
    lists and scalars; `from_datum` is the way back. Both raise whatever msgspec, pydantic or the user's type raises.
    """

    to_datum: Callable[[UserValue], Datum]
    from_datum: Callable[[Datum], UserValue]


def shape_of(value_type: Annotation) -> Shape:
    """The conversions of a type, None apart (a tombstone has no body).

    Raises:
        ConfigError: a type that cannot be decoded; names it.
    """
    validate_type(value_type)
    plain = without_none(value_type)
    return _model_shape(plain) if holds_model(plain) else _msgspec_shape(plain)


def _msgspec_shape(plain: Annotation) -> Shape:
    to_builtins, convert = msgspec.to_builtins, msgspec.convert
    info = mi.type_info(plain)
    # Naming these costs as much as the conversion itself, so they are named only where they can occur.
    if any(isinstance(node, _NOT_IN_JSON) for _, node in walk_type(info, "")):
        to_datum = partial(to_builtins, builtin_types=_BUILTINS)
    else:
        to_datum = partial(to_builtins)
    if isinstance(info, mi.StructType | mi.DataclassType):
        return Shape(to_datum, partial(convert, type=plain))
    # msgspec keeps what it knows of a class with the class, but works out any other type anew at each call.
    box = msgspec.defstruct("Box", [("value", plain)])
    return Shape(to_datum, lambda datum: convert({"value": datum}, box).value)  # type: ignore[attr-defined]  # made above


def _model_shape(plain: Annotation) -> Shape:
    if not is_model(plain):
        raise ConfigError(
            f"value type {type_name(plain)}: Avro takes one pydantic model, no container or union of them"
        )
    model = plain

    def to_datum(value: UserValue) -> Datum:
        if not isinstance(value, model):
            raise TypeError(f"it is of type {type(value).__name__}, not {model.__name__}")
        return value.model_dump(by_alias=True, warnings="error")

    return Shape(to_datum, model.model_validate)
