"""What the values of a filter are, and how they compare."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple, TypeGuard

Kind = Literal["text", "number", "time", "boolean", "null", "any"]
"""`any`: known only when a letter is looked at."""


class Moment(NamedTuple):
    """A time, in milliseconds since 1970 in UTC."""

    at_ms: int


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(time: datetime) -> Moment | None:
    """A time with a zone; None without one."""
    if time.tzinfo is None:
        return None
    return Moment((time - _EPOCH) // timedelta(milliseconds=1))


def kind_of(value: object) -> Kind:
    """What a value is; `any` for lists and objects, which compare with nothing."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "time" if isinstance(value, Moment) else "any"


def compare(sign: str, left: object, right: object) -> bool:
    """Whether this comparison holds. Values of different kinds are not equal and have no order; a text that says a time
    compares with a time as that."""
    left, right = _as_time(left, right), _as_time(right, left)
    if sign in ("==", "!="):
        return _equal(left, right) == (sign == "==")
    if isinstance(left, Moment) and isinstance(right, Moment):
        return _ordered(sign, left.at_ms, right.at_ms)
    if isinstance(left, str) and isinstance(right, str):
        return _holds(sign, less=left < right, more=left > right, equal=left == right)
    if _is_number(left) and _is_number(right):
        return _ordered(sign, left, right)
    return False


def contains(container: object, value: object) -> bool:
    """Whether a list has this value, or a text this text in it."""
    if isinstance(container, str) and isinstance(value, str):
        return value in container
    return isinstance(container, list) and any(compare("==", one, value) for one in container)


def _as_time(value: object, other: object) -> object:
    if isinstance(value, str) and isinstance(other, Moment):
        try:
            return moment_of(datetime.fromisoformat(value)) or value
        except ValueError:
            return value
    return value


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(left: object, right: object) -> bool:
    kind = kind_of(left)
    return kind != "any" and kind == kind_of(right) and left == right


def _ordered(sign: str, left: float, right: float) -> bool:
    return _holds(sign, less=left < right, more=left > right, equal=left == right)


def _holds(sign: str, *, less: bool, more: bool, equal: bool) -> bool:
    """All three are False where a number is none (NaN)."""
    return {"<": less, "<=": less or equal, ">": more, ">=": more or equal}[sign]
