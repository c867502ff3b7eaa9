"""An Avro schema from a user's type, where none is given."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any, Final

import msgspec
from msgspec import inspect as mi

from streamq.model.errors import ConfigError
from streamq.serde.annotations import type_name
from streamq.serde.avro_guard import AvroNode
from streamq.serde.base import Annotation

_AVRO_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

_SCALARS: Final[dict[type[mi.Type], Any]] = {
    mi.BoolType: "boolean",
    mi.IntType: "long",
    mi.FloatType: "double",
    mi.StrType: "string",
    mi.BytesType: "bytes",
    mi.DateTimeType: {"type": "long", "logicalType": "timestamp-millis"},
    mi.DateType: {"type": "int", "logicalType": "date"},
    mi.UUIDType: {"type": "string", "logicalType": "uuid"},
}

_Fields = mi.StructType | mi.DataclassType | mi.TypedDictType

_REMEDIES: Final[dict[type[mi.Type], str]] = {
    mi.DecimalType: "Avro needs a precision and a scale for it",
    mi.AnyType: "Avro needs to know what it is",
    mi.TupleType: "Avro's arrays have one item type and no fixed length; use list",
    mi.NamedTupleType: "use a msgspec.Struct or a dataclass",
}


def derive_schema(value_type: object) -> AvroNode:
    """The schema of a Struct, dataclass or TypedDict: int is long, float is double, `T | None` a union with null,
    list an array, dict[str, T] a map, an Enum of texts an enum, datetime timestamp-millis (microseconds are cut off),
    date and UUID their logical types. Fields that have a default get it, so that the schema can evolve.

    Raises:
        ConfigError: names the field that has no one Avro type; give a schema then.
    """
    name = type_name(value_type)
    return _Deriver(name).schema(mi.type_info(value_type), name)


class _Deriver:
    def __init__(self, root: str) -> None:
        self._root = root
        self._named: dict[str, Any] = {}

    def schema(self, info: mi.Type, path: str) -> AvroNode:
        while isinstance(info, mi.Metadata):
            info = info.type
        scalar = _SCALARS.get(type(info))
        if scalar is not None:
            return dict(scalar) if isinstance(scalar, dict) else scalar
        match info:
            case mi.UnionType():
                return self._union(info, path)
            case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
                return {"type": "array", "items": self.schema(info.item_type, f"{path}[…]")}
            case mi.DictType():
                return self._map(info, path)
            case mi.StructType() | mi.DataclassType() | mi.TypedDictType():
                return self._record(info, path)
            case _:
                return self._special(info, path)

    def _special(self, info: mi.Type, path: str) -> AvroNode:
        match info:
            case mi.EnumType():
                return self._enum(info, path)
            case mi.LiteralType():
                return "long" if all(isinstance(value, int) for value in info.values) else "string"
            case mi.NoneType():
                return "null"
            case _:
                raise self._refusal(path, type(info).__name__.removesuffix("Type"), _REMEDIES.get(type(info), ""))

    def _refusal(self, path: str, what: str, why: str = "") -> ConfigError:
        reason = f" ({why})" if why else ""
        return ConfigError(
            f"value type {self._root}: no Avro schema follows from {path}, which is {what}{reason}: pass schema=…"
        )

    def _union(self, info: mi.UnionType, path: str) -> AvroNode:
        # null first: a default of None must be of the first branch.
        parts = sorted(info.types, key=lambda part: not isinstance(part, mi.NoneType))
        branches = [self.schema(part, path) for part in parts]
        kinds = [branch["type"] if isinstance(branch, dict) else branch for branch in branches]
        compound = sum(isinstance(part, _Fields) for part in parts)
        if len(set(kinds)) < len(kinds) or compound > 1:
            raise self._refusal(path, f"a union of {', '.join(str(kind) for kind in kinds)}", "which branch is it?")
        return branches

    def _map(self, info: mi.DictType, path: str) -> AvroNode:
        if not isinstance(info.key_type, mi.StrType):
            raise self._refusal(path, "a dict whose keys are not str", "Avro's maps have text keys")
        return {"type": "map", "values": self.schema(info.value_type, f"{path}[…]")}

    def _enum(self, info: mi.EnumType, path: str) -> AvroNode:
        values = [member.value for member in info.cls]
        if all(isinstance(value, int) for value in values):  # msgspec knows Enums of texts and of numbers only
            return "long"
        if not all(_AVRO_NAME.match(value) for value in values):
            return "string"
        if self._defined(info.cls, path):
            return info.cls.__name__
        return {"type": "enum", "name": info.cls.__name__, "symbols": values}

    def _defined(self, cls: Annotation, path: str) -> bool:
        """Whether a type was defined before, under its name; takes the name for it otherwise."""
        name = cls.__name__
        if not _AVRO_NAME.match(name):
            raise self._refusal(path, f"of type {name}", "Avro's names have letters, digits and _ only")
        if name not in self._named:
            self._named[name] = cls
            return False
        if self._named[name] != cls:
            raise self._refusal(path, f"a second type of the name {name}", "Avro knows types by their names")
        return True

    def _record(self, info: _Fields, path: str) -> AvroNode:
        name = info.cls.__name__
        if self._defined(info.cls, path):
            return name
        if getattr(info, "array_like", False):
            raise self._refusal(path, "a Struct with array_like=True", "it has no field names on the wire")
        fields = [self._tag(info)] if isinstance(info, mi.StructType) and info.tag_field else []
        fields += [self._field(field, f"{path}.{field.name}", info) for field in info.fields]
        return {"type": "record", "name": name, "fields": fields}

    def _tag(self, info: mi.StructType) -> AvroNode:
        kind = "long" if isinstance(info.tag, int) else "string"
        return {"name": info.tag_field, "type": kind, "default": info.tag}

    def _field(self, field: mi.Field, path: str, owner: mi.Type) -> AvroNode:
        if not _AVRO_NAME.match(field.encode_name):
            raise self._refusal(path, f"named {field.encode_name!r}", "Avro's names have letters, digits and _ only")
        if isinstance(owner, mi.TypedDictType) and not field.required:
            raise self._refusal(path, "not required", "a record has all its fields; use `T | None`")
        schema = self.schema(field.type, path)
        return {"name": field.encode_name, "type": schema} | _default(field, schema)


def _default(field: mi.Field, schema: AvroNode) -> dict[str, Any]:
    """The default of a field, as far as Avro can say it: of the first branch of a union, in JSON."""
    if field.default_factory in {list, dict}:
        return {"default": field.default_factory()} if isinstance(schema, dict) else {}
    default = field.default
    if default is msgspec.NODEFAULT or isinstance(schema, dict):
        return {}
    first = schema[0] if isinstance(schema, list) else schema
    fits = {"null": default is None, "boolean": isinstance(default, bool), "string": isinstance(default, str)}
    number = isinstance(default, int | float) and not isinstance(default, bool)
    fits |= {"long": number and isinstance(default, int), "double": number and isfinite(default)}
    if not (isinstance(first, str) and fits.get(first, False)):
        return {}
    return {"default": float(default) if first == "double" else msgspec.to_builtins(default)}
