"""What a handler's signature tells, read once when the processor is declared."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from streamq.model.errors import ConfigError
from streamq.serde import accepts_none
from streamq.serde.annotations import is_union, type_name, unwrapped
from streamq.tasks.context import Context
from streamq.tasks.topic import AnyTopic

Handler = Callable[..., object]

_UNKNOWN = inspect.Parameter.empty
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Shape(NamedTuple):
    """How a handler is called: `async def` or `def`, with or without a context, and whether a tombstone reaches it
    (as None)."""

    is_async: bool
    takes_context: bool
    takes_none: bool


def place_of(handler: Handler) -> str:
    """File and line where a handler is written, as short as it can be; its type where there is no such place."""
    function = _function(handler)
    code = getattr(inspect.unwrap(function), "__code__", None)
    if not isinstance(code, types.CodeType):
        return f"an object of type {type(handler).__name__}"
    path = Path(code.co_filename)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}:{code.co_firstlineno}"


def name_of(handler: Handler) -> str | None:
    """A function's own name; None for what has none (a partial, an instance)."""
    name = getattr(handler, "__name__", None)
    return name if isinstance(name, str) else None


def shape_of(handler: object, name: str, topic: AnyTopic) -> Shape:
    """How to call a handler.

    Raises:
        ConfigError: it is no handler; the message shows its place and signature, and the wanted one.
    """
    if isinstance(handler, type) or not callable(handler):
        what = f"a class, {handler.__name__}" if isinstance(handler, type) else repr(handler)
        raise ConfigError(f"handler of processor {name!r} is {what}: use a function, {_wanted(name, topic)}")
    function = _function(handler)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _wrong(handler, name, topic, "is a generator (it has a `yield`), which would never run")
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError) as error:
        raise _wrong(handler, name, topic, f"has no signature that can be read ({error})") from error
    takes_context = _check_parameters(handler, name, topic, parameters)
    value_annotation = _resolved(function, parameters[0], topic)
    if value_annotation is _UNKNOWN:
        takes_none = accepts_none(topic.value_type) or _mentions_none(parameters[0].annotation)
    else:
        takes_none = accepts_none(value_annotation)
        if not fits(value_annotation, topic.value_type):
            expected, found = type_name(topic.value_type), type_name(value_annotation)
            problem = f"takes {found}, but the values of topic {topic.name!r} are {expected}"
            raise _wrong(handler, name, topic, problem)
    return Shape(inspect.iscoroutinefunction(function), takes_context, takes_none)


def fits(annotation: object, value_type: object) -> bool:
    """Whether a value of `value_type` may be given where `annotation` stands; True where that cannot be told. None is
    left out of it: tombstones are judged apart."""
    wanted, given = _parts(annotation), _parts(value_type)
    return all(any(_part_fits(one, other) for one in wanted) for other in given)


def _parts(annotation: object) -> list[object]:
    """The members of a union without None; any other type alone. `Annotated` and new types are looked through."""
    plain = unwrapped(annotation)
    if is_union(plain):
        return [part for member in get_args(plain) for part in _parts(member)]
    return [] if plain is None or plain is type(None) else [plain]


def _part_fits(wanted: object, given: object) -> bool:
    if wanted is Any or wanted is object or given is Any or given is object or wanted == given:
        return True
    wanted_class, given_class = get_origin(wanted) or wanted, get_origin(given) or given
    if not (isinstance(wanted_class, type) and isinstance(given_class, type)):
        return True
    try:
        if not issubclass(given_class, wanted_class):
            return False
    except TypeError:  # a TypedDict or a protocol cannot be asked
        return not typing.is_typeddict(wanted_class)
    wanted_args, given_args = get_args(wanted), get_args(given)
    if wanted_class is not given_class or len(wanted_args) != len(given_args):
        return True
    return all(fits(one, other) for one, other in zip(wanted_args, given_args, strict=True))


def _function(handler: Handler) -> Handler:
    """The function that runs: of an instance its `__call__`."""
    if inspect.isroutine(handler) or hasattr(handler, "func"):
        return handler
    called: Handler = type(handler).__call__.__get__(handler)
    return called


def _check_parameters(handler: Handler, name: str, topic: AnyTopic, parameters: list[inspect.Parameter]) -> bool:
    """Whether the second parameter takes the context.

    Raises:
        ConfigError: neither `(value)` nor `(value, ctx)` can be passed.
    """
    if any(p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is _UNKNOWN for p in parameters):
        raise _wrong(handler, name, topic, "needs an argument by keyword")
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        positional += [p for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL] * 2
    if not positional:
        raise _wrong(handler, name, topic, "takes no value")
    needed = sum(p.default is _UNKNOWN and p.kind in _POSITIONAL for p in positional)
    if needed > 2:
        raise _wrong(handler, name, topic, f"needs {needed} arguments, and there are two to give")
    if len(positional) == 1:
        return False
    second = positional[1]
    annotation = _resolved(_function(handler), second, topic)
    if second.default is not _UNKNOWN:
        # An option of the user's own (`def charge(order, retries=3)`) must not get a context by accident.
        return annotation is Context or second.name in {"ctx", "context"}
    if annotation is not _UNKNOWN and second.kind in _POSITIONAL and not fits(annotation, Context):
        raise _wrong(handler, name, topic, f"takes {type_name(annotation)} where its context comes")
    return True


def _resolved(function: Handler, parameter: inspect.Parameter, topic: AnyTopic) -> object:
    """A parameter's annotation as a type; `Parameter.empty` where there is none or its names cannot be found."""
    annotation: object = parameter.annotation
    if annotation is _UNKNOWN:
        return _UNKNOWN
    plain = inspect.unwrap(function)
    scope: dict[str, object] = getattr(plain, "__globals__", {})
    # A class made inside a function is no global; the topic's own type is the one that will be named most.
    local = {getattr(topic.value_type, "__name__", "?"): topic.value_type, "Context": Context}
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    for names in ({}, local):
        try:
            hints = typing.get_type_hints(holder, scope, {**names, **scope})
        except (NameError, AttributeError, TypeError, SyntaxError):
            hints = {"it": _UNKNOWN}  # what it cannot say, the topic says
        if hints["it"] is not _UNKNOWN:
            break
    resolved: object = hints["it"]
    return resolved


def _mentions_none(annotation: object) -> bool:
    """Whether an annotation that could not be evaluated speaks of None."""
    return isinstance(annotation, str) and ("None" in annotation or "Optional" in annotation)


def _wanted(name: str, topic: AnyTopic) -> str:
    value = type_name(topic.value_type)
    return f"`async def {name}(value: {value}, ctx: sq.Context)`, without ctx if it is not needed; `def` works too"


def _wrong(handler: Handler, name: str, topic: AnyTopic, problem: str) -> ConfigError:
    try:
        signature = str(inspect.signature(handler))
    except (TypeError, ValueError):
        signature = "(…)"
    shown = f"{name_of(handler) or type(handler).__name__}{signature}"
    return ConfigError(f"handler {shown} at {place_of(handler)} {problem}: use {_wanted(name, topic)}")
