"""JSON by msgspec: everything it can decode, built once, one call a record."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from streamq.serde.annotations import accepts_none, type_name, validate_type
from streamq.serde.base import Annotation, Part, no_tombstone, reason_of, shown, undecodable, unencodable

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode

_AT_PATH = re.compile(r"(?P<what>.*) - at `\$(?P<path>[^`]*)`$", re.DOTALL)
_STEP = re.compile(r"\.[^.\[]+|\[[^\]]*\]")
_MAX_DEPTH = 32


class JsonSerde(Generic[T]):
    """JSON of a Struct, dataclass, TypedDict, NamedTuple, dict, list, scalar or union of them.

    A value fits when what it is encoded to decodes as the type again: msgspec does not look at types when it encodes,
    and without that check a wrong value would be found at its consumer, as a dead letter, and not where it comes from.
    A float that JSON does not know (NaN, infinity) becomes null, and so fits only where None does.

    Raises (made):
        ConfigError: a type that cannot be decoded; names it.
    """

    name = "json"

    def __init__(self, value_type: Annotation, *, part: Part = "value") -> None:
        validate_type(value_type)
        self._type_name = type_name(value_type)
        self._part = part
        self._none_allowed = accepts_none(value_type)
        self._decode = msgspec.json.Decoder(value_type).decode
        self.quick = self._decode

    def encode(self, value: T, *, topic: str) -> bytes | None:
        """The value as JSON; None as a tombstone, where the type allows None.

        Raises:
            SerdeError: the value is not of the type; the message names the field and its value.
        """
        if value is None:
            if self._none_allowed:
                return None
            raise no_tombstone(topic, self._part, self._type_name)
        try:
            data = _encode(value)
            self._decode(data)
        except Exception as error:
            # Not only msgspec's errors: a __post_init__ and properties of the user's type run here.
            raise self._refusal(value, error, topic) from error
        return data

    def decode(self, data: bytes, *, topic: str) -> T:
        """The value of JSON text, checked against the type.

        Raises:
            SerdeError: no JSON, or not of the type; the message names the field.
        """
        try:
            return self._decode(data)  # type: ignore[no-any-return]  # the decoder was made of a runtime type
        except Exception as error:
            # Not only msgspec's errors: a __post_init__ of the user's type runs here.
            expected = f"valid JSON for {self._type_name}"
            raise undecodable(topic, self._part, expected, reason_of(error) if data else "it is empty", data) from error

    def _refusal(self, value: object, error: Exception, topic: str) -> Exception:
        found = _AT_PATH.match(str(error))
        if found:
            path = found["path"].lstrip(".")
            problem = f"{path} is {shown(_value_at(found['path'], value))}: {found['what']}"
        else:
            path, culprit = _culprit(value)
            problem = f"{path or self._part} is {shown(culprit)}: {reason_of(error)}"
        return unencodable(topic, self._part, problem, f"pass a value of type {self._type_name}")


def _value_at(path: str, value: object) -> object:
    """What stands at a path of msgspec's, as far as it can be followed (`[...]`, any item, ends it)."""
    for step in _STEP.finditer(path):
        parts = dict(_parts(value))
        if step[0] not in parts:
            break
        value = parts[step[0]]
    return value


def _culprit(value: object) -> tuple[str, object]:
    """The innermost part of a value that cannot be encoded, and the path to it. Only ever called after a failure."""
    path = ""
    for _ in range(_MAX_DEPTH):
        for name, child in _parts(value):
            if not _encodes(child):
                path, value = f"{path}{name}", child
                break
        else:
            break
    return path.lstrip("."), value


def _encodes(value: object) -> bool:
    with suppress(Exception):  # the same user's code that failed before
        _encode(value)
        return True
    return False


def _parts(value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [(f".{key}", child) for key, child in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{index}]", child) for index, child in enumerate(value)]
    if isinstance(value, msgspec.Struct):
        return [(f".{name}", getattr(value, name, None)) for name in value.__struct_fields__]
    if hasattr(value, "__dataclass_fields__"):
        return [(f".{name}", getattr(value, name, None)) for name in value.__dataclass_fields__]
    return []
