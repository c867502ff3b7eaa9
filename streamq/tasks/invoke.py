"""From a processor's handler to one call that takes a record and returns an outcome.

What ends an attempt, and what it comes to:

    returned, all publications confirmed    Done
    a publication failed (caught or not)    Retry
    `Reject`                                Dead: rejected
    `RetryLater`                            Retry after its delay
    any other exception                     Retry, with type, message and stack
    bytes that do not decode                Dead: undecodable, at once
    the schema registry is away             Retry that does not count
    a tombstone nobody asked for            Dead: tombstone

This is the hot path: for a handler that returns, nothing is made but the value, the context and, for `async def`, one
coroutine around the handler's.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, cast

from streamq.model.clock import Clock, Deadline, SystemClock
from streamq.model.errors import RetriableError, SerdeError, StreamqError
from streamq.model.handlers import AsyncHandler, BoundHandler, SyncHandler
from streamq.model.outcomes import DONE, Dead, Failure, Outcome, Retry
from streamq.model.records import Record
from streamq.tasks.context import Binding, Context
from streamq.tasks.failures import failure_of
from streamq.tasks.processor import Processor
from streamq.tasks.publisher import Publishing
from streamq.tasks.signals import Reject, RetryLater
from streamq.tasks.signature import Handler

_ENDS_THREAD: Final = (KeyboardInterrupt, GeneratorExit)
"""What is not the handler's to raise: the user's Ctrl-C, and the end of a coroutine that is thrown away."""

AsyncFunction = Callable[..., Coroutine[object, object, object]]


def bind(
    processor: Processor, publisher: Publishing, *, is_replay: bool = False, clock: Clock | None = None
) -> BoundHandler:
    """One call for one attempt: decoding, context and exceptions included. Immutable and usable by any number of
    threads; `publisher` is where the handler's publications go, `clock` bounds the wait for them in a thread."""
    binding = Binding(processor.name, processor.group, processor.topic, publisher, is_replay)
    if processor.shape.is_async:
        return AsyncHandler(_async_call(processor, binding))
    return SyncHandler(_sync_call(processor, binding, clock or SystemClock()))


def _async_call(processor: Processor, binding: Binding) -> Callable[[Record, int], Coroutine[object, object, Outcome]]:
    handler = cast("AsyncFunction", _with_context(processor))
    decode, topic = processor.topic.value_serde.decode, processor.topic.name
    takes_none = processor.shape.takes_none

    async def call(record: Record, attempt: int) -> Outcome:
        data = record.value
        try:
            value = None if data is None else decode(data, topic=topic)
        except BaseException as error:
            if isinstance(error, _ENDS_THREAD):
                raise
            return _not_decoded(error)
        if value is None and not takes_none:
            return _tombstone(record)
        context = Context(binding, record, attempt)
        outcome: Outcome = DONE
        try:
            await handler(value, context)
        except BaseException as error:
            context._over = True
            if isinstance(error, _ENDS_THREAD) or _cancelled_from_outside(error):
                raise
            outcome = _raised(error, context)
        context._over = True
        if context._publications is None and context._failed_publish is None:
            return outcome
        return await _confirmed(outcome, context)

    return call


def _sync_call(processor: Processor, binding: Binding, clock: Clock) -> Callable[[Record, int], Outcome]:
    handler, timeout_s = _with_context(processor), binding.publisher.publish_timeout_s
    decode, topic = processor.topic.value_serde.decode, processor.topic.name
    takes_none = processor.shape.takes_none

    def call(record: Record, attempt: int) -> Outcome:
        data = record.value
        try:
            value = None if data is None else decode(data, topic=topic)
        except BaseException as error:
            if isinstance(error, _ENDS_THREAD):
                raise
            return _not_decoded(error)
        if value is None and not takes_none:
            return _tombstone(record)
        context = Context(binding, record, attempt)
        outcome: Outcome = DONE
        try:
            returned = handler(value, context)
            outcome = DONE if returned is None else _returned(returned)
        except BaseException as error:
            context._over = True
            if isinstance(error, _ENDS_THREAD):
                raise
            outcome = _raised(error, context)
        context._over = True
        if context._publications is None and context._failed_publish is None:
            return outcome
        return _confirmed_standing(outcome, context, Deadline(clock, timeout_s))

    return call


# Before the handler.


def _with_context(processor: Processor) -> Handler:
    handler = processor.handler
    if processor.shape.takes_context:
        return handler
    return lambda value, _context: handler(value)


def _not_decoded(error: BaseException) -> Outcome:
    match error:
        case SerdeError():
            return Dead("undecodable", failure_of(error))
        case RetriableError():
            return Retry(failure_of(error), counts=False)
        case _:
            return Retry(failure_of(error))


def _tombstone(record: Record) -> Dead:
    what = "tombstone" if record.value is None else "null"
    message = (
        f"topic {record.topic}: the value is a {what}, and the handler takes no None: "
        "annotate its value with `| None` to get them"
    )
    return Dead("tombstone", Failure.of("SerdeError", message))


# After the handler.


def _raised(error: BaseException, context: Context) -> Outcome:
    if error is context._no_fault:
        return _not_decoded(error)
    match error:
        case Reject():
            return Dead("rejected", failure_of(error))
        case RetryLater():
            return Retry(failure_of(error), error.delay_s)
        case _:
            return Retry(failure_of(error))


def _returned(returned: object) -> Outcome:
    """A `def` handler may return what it likes, but not work that nobody would do."""
    if inspect.iscoroutine(returned):
        returned.close()
    elif not (isinstance(returned, Awaitable) or inspect.isgenerator(returned) or inspect.isasyncgen(returned)):
        return DONE
    what = type(returned).__name__
    message = f"the handler is no `async def` and returned a {what}, which nobody awaits: declare it `async def`"
    return Retry(Failure.of("HandlerError", message))


def _cancelled_from_outside(error: BaseException) -> bool:
    """Whether somebody cancelled this task; a CancelledError that the handler raised by itself is an error of its."""
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _confirmed(outcome: Outcome, context: Context) -> Outcome:
    """The outcome, once everything that was published is confirmed; Retry if something is not."""
    if isinstance(outcome, Retry):
        return outcome
    if context._failed_publish is not None:
        return _publish_failed(context._failed_publish)
    for publication in context._publications or ():
        try:
            await publication
        except StreamqError as error:
            return _publish_failed(error)
    return outcome


def _confirmed_standing(outcome: Outcome, context: Context, deadline: Deadline) -> Outcome:
    """The same on a thread, which it blocks, at most for the publisher's time-out altogether."""
    if isinstance(outcome, Retry):
        return outcome
    if context._failed_publish is not None:
        return _publish_failed(context._failed_publish)
    for publication in context._publications or ():
        try:
            publication.result(deadline.remaining_s())
        except StreamqError as error:
            return _publish_failed(error)
    return outcome


def _publish_failed(error: StreamqError) -> Retry:
    # A RetriableError: the schema registry did not answer when the value was encoded.
    return Retry(failure_of(error), counts=not isinstance(error, RetriableError))
