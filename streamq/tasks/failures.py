"""An exception as it is kept: its type, message, and stack without our own frames."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

from streamq.model.errors import StreamqError
from streamq.model.outcomes import STACK_CHARS, Failure

_OURS: Final = str(Path(__file__).resolve().parent.parent) + "/"
_FRAMES: Final = 50


def failure_of(error: BaseException) -> Failure:
    """What is kept of an exception. Never raises, whatever the exception's own methods do."""
    return Failure.of(_type_of(error), _message_of(error), _stack_of(error))


def _type_of(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__ == "builtins" or kind.__module__.startswith("streamq."):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:  # the user's own `__str__`
        if isinstance(second, KeyboardInterrupt):
            raise
        return f"(its message cannot be shown: {type(second).__name__})"


def _stack_of(error: BaseException) -> str:
    try:
        told = traceback.TracebackException.from_exception(error, limit=-_FRAMES, compact=True)
        _without_own_frames(told, all_ours_is_a_bug=not isinstance(error, StreamqError))
        return "".join(told.format())[-STACK_CHARS:]
    except BaseException as second:  # an exception whose attributes fight back
        if isinstance(second, KeyboardInterrupt):
            raise
        return f"(its stack cannot be shown: {type(second).__name__})"


def _without_own_frames(told: traceback.TracebackException, *, all_ours_is_a_bug: bool) -> None:
    """Leave the user's frames. Where an error of Python's comes from our frames alone it is our bug: they stay."""
    todo: list[traceback.TracebackException | None] = [told]
    while todo:
        one = todo.pop()
        if one is None:
            continue
        theirs = [frame for frame in one.stack if not frame.filename.startswith(_OURS)]
        if theirs or one is not told or not all_ours_is_a_bug:
            one.stack = traceback.StackSummary.from_list(theirs)
        todo += [one.__cause__, one.__context__, *(one.exceptions or ())]
