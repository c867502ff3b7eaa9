"""What can be read off a user's type annotation before any record comes."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

import msgspec
from msgspec import inspect as mi

from streamq.model.errors import ConfigError
from streamq.serde.base import Annotation

NONE_TYPE = type(None)


def type_name(value_type: object) -> str:
    """A type as the user wrote it, for messages."""
    if value_type is NONE_TYPE:
        return "None"
    if is_union(value_type):
        return " | ".join(type_name(part) for part in get_args(value_type))
    if isinstance(value_type, type) and not get_args(value_type):
        return value_type.__qualname__.split("<locals>.")[-1]
    return str(value_type).replace("typing.", "")


def is_union(value_type: object) -> bool:
    """Whether it is `A | B`, `Union[A, B]` or `Optional[A]`."""
    return get_origin(value_type) in {Union, types.UnionType}


def unwrapped(value_type: object) -> object:
    """The type behind `Annotated`, `NewType` and `type X = …`."""
    while (inner := _inner(value_type)) is not None:
        value_type = inner
    return value_type


def _inner(value_type: object) -> object | None:
    if get_origin(value_type) is Annotated:
        first: object = get_args(value_type)[0]
        return first
    inner: object | None = getattr(value_type, "__supertype__", None)
    if inner is None and not isinstance(value_type, type):
        inner = getattr(value_type, "__value__", None)
    return inner


def accepts_none(value_type: object) -> bool:
    """Whether an annotation allows None, so that a tombstone reaches the handler as None: `None`, `Optional[X]`,
    `X | None`, and `Any` and `object`, which allow everything. A string annotation is not evaluated: False."""
    plain = unwrapped(value_type)
    if is_union(plain):
        return any(accepts_none(part) for part in get_args(plain))
    return plain is None or plain is NONE_TYPE or plain is Any or plain is object


def without_none(value_type: object) -> Annotation:
    """The annotation without its None, for formats in which None is only ever a tombstone."""
    plain = unwrapped(value_type)
    if not is_union(plain):
        return value_type
    rest = tuple(part for part in get_args(plain) if part is not NONE_TYPE)
    return reduce(or_, rest) if rest else NONE_TYPE


def is_model(value_type: object) -> TypeGuard[type[Any]]:
    """Whether it is a pydantic model class. pydantic is not imported for that: where nobody has, there is none."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(value_type, type) and issubclass(value_type, pydantic.BaseModel)


def holds_model(value_type: object) -> bool:
    """Whether a pydantic model stands anywhere in the annotation: `Model`, `Model | None`, `list[Model]`, …"""
    plain = unwrapped(value_type)
    return is_model(plain) or any(holds_model(part) for part in get_args(plain))


def validate_type(value_type: object) -> None:
    """Refuse, when a topic is declared, what could never be decoded.

    Raises:
        ConfigError: names the type and what to use instead.
    """
    if value_type is None or value_type is NONE_TYPE:
        raise ConfigError("value type is None: name the type of the values, for instance bytes, dict or a Struct")
    if isinstance(value_type, str):
        raise ConfigError(f"value type is the text {value_type!r}: pass the class itself, without quotes")
    if holds_model(value_type):
        return
    name = type_name(value_type)
    try:
        info = mi.type_info(value_type)
        msgspec.json.Decoder(value_type)
    except Exception as error:
        # Resolving the annotations of a user's class runs what they name.
        raise ConfigError(f"value type {name} cannot be decoded: {error}") from error
    for path, node in walk_type(info, name):
        if isinstance(node, mi.CustomType) and node.cls is not object:
            where = "it" if path == name else path
            raise ConfigError(
                f"value type {name} cannot be decoded: {where} is of type {type_name(node.cls)}, which no JSON "
                "stands for: use a msgspec.Struct, dataclass, TypedDict, pydantic model, dict, list or scalar, "
                "or a Serde of your own"
            )


def walk_type(info: mi.Type, path: str) -> Iterator[tuple[str, mi.Type]]:
    """All types inside a type, with the path to each; a recursive type is entered once."""
    todo = [(path, info)]
    seen: set[object] = set()
    while todo:
        path, node = todo.pop()
        cls = getattr(node, "cls", None)
        if cls is not None and not isinstance(node, mi.CustomType):
            if cls in seen:
                continue
            seen.add(cls)
        yield path, node
        todo.extend(_children(path, node))


def _children(path: str, node: mi.Type) -> Iterator[tuple[str, mi.Type]]:
    for field in getattr(node, "fields", ()):
        yield f"{path}.{field.name}", field.type
    for attribute in ("type", "item_type", "key_type", "value_type"):
        child = getattr(node, attribute, None)
        if isinstance(child, mi.Type):
            yield (path if attribute == "type" else f"{path}[…]"), child
    for attribute in ("types", "item_types"):
        for child in getattr(node, attribute, ()):
            yield path, child
