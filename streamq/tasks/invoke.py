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

This is the hot path: for a handler that returns, nothing is made but the value, the context if it takes one and, for
`async def`, one coroutine around the handler's.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, cast

from streamq.model.clock import Clock, Deadline, SystemClock
from streamq.model.errors import RetriableError, SerdeError, StreamqError
from streamq.model.handlers import AsyncCall, AsyncHandler, BoundHandler, SyncCall, SyncHandler
from streamq.model.outcomes import DONE, Dead, Failure, Outcome, Retry
from streamq.model.records import Record
from streamq.serde.base import quick_decoder
from streamq.tasks.context import Binding, Context
from streamq.tasks.failures import failure_of
from streamq.tasks.processor import Processor
from streamq.tasks.publisher import Publishing
from streamq.tasks.signals import Reject, RetryLater

_ENDS_THREAD: Final = (KeyboardInterrupt, GeneratorExit)
"""What is not the handler's to raise: the user's Ctrl-C, and the end of a coroutine that is thrown away."""

AsyncFunction = Callable[..., Coroutine[object, object, object]]


def bind(
    processor: Processor, publisher: Publishing, *, is_replay: bool = False, clock: Clock | None = None
) -> BoundHandler:
    """One call for one attempt: decoding, context and exceptions included. Immutable and usable by any number of
    threads; `publisher` is where the handler's publications go, `clock` bounds the wait for them in a thread."""
    binding = Binding(processor.name, processor.group, processor.topic, publisher, is_replay)
    match processor.shape.is_async, processor.shape.takes_context:
        case True, True:
            return AsyncHandler(_async_with_context(processor, binding))
        case True, _:
            return AsyncHandler(_async_plain(processor))
        case _, True:
            return SyncHandler(_sync_with_context(processor, binding, clock or SystemClock()))
        case _:
            return SyncHandler(_sync_plain(processor))


# Four calls that differ in a line or two, and are written out: each line here is paid for every record.


def _async_plain(processor: Processor) -> AsyncCall:
    handler, takes_none, decoding = (
        cast("AsyncFunction", processor.handler),
        processor.shape.takes_none,
        Decoding(processor),
    )
    quick = decoding.quick

    async def call(record: Record, attempt: int) -> Outcome:
        data = record.value
        try:
            value = None if data is None else quick(data)
        except BaseException as error:
            if isinstance(error, _ENDS_THREAD):
                raise
            return decoding.failed(error, data)
        if value is None and not takes_none:
            return _tombstone(record)
        try:
            await handler(value)
        except BaseException as error:
            if isinstance(error, _ENDS_THREAD) or _cancelled_from_outside(error):
                raise
            return _raised(error, None)
        return DONE

    return call


def _async_with_context(processor: Processor, binding: Binding) -> AsyncCall:
    handler, takes_none, decoding = (
        cast("AsyncFunction", processor.handler),
        processor.shape.takes_none,
        Decoding(processor),
    )
    quick = decoding.quick

    async def call(record: Record, attempt: int) -> Outcome:
        data = record.value
        try:
            value = None if data is None else quick(data)
        except BaseException as error:
            if isinstance(error, _ENDS_THREAD):
                raise
            return decoding.failed(error, data)
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


def _sync_plain(processor: Processor) -> SyncCall:
    handler, takes_none, decoding = processor.handler, processor.shape.takes_none, Decoding(processor)
    quick = decoding.quick

    def call(record: Record, attempt: int) -> Outcome:
        data = record.value
        try:
            value = None if data is None else quick(data)
        except BaseException as error:
            if isinstance(error, _ENDS_THREAD):
                raise
            return decoding.failed(error, data)
        if value is None and not takes_none:
            return _tombstone(record)
        try:
            returned = handler(value)
        except BaseException as error:
            if isinstance(error, _ENDS_THREAD):
                raise
            return _raised(error, None)
        return DONE if returned is None else _returned(returned)

    return call


def _sync_with_context(processor: Processor, binding: Binding, clock: Clock) -> SyncCall:
    handler, takes_none, decoding = processor.handler, processor.shape.takes_none, Decoding(processor)
    quick, timeout_s = decoding.quick, binding.publisher.publish_timeout_s

    def call(record: Record, attempt: int) -> Outcome:
        data = record.value
        try:
            value = None if data is None else quick(data)
        except BaseException as error:
            if isinstance(error, _ENDS_THREAD):
                raise
            return decoding.failed(error, data)
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


class Decoding:
    """How a processor's values are decoded: at once, and with the reason where that fails."""

    def __init__(self, processor: Processor) -> None:
        self._serde, self._topic = processor.topic.value_serde, processor.topic.name
        self.quick = quick_decoder(self._serde, self._topic)

    def failed(self, error: BaseException, data: bytes | None) -> Outcome:
        """The outcome where `quick` raised; raises what is not the record's fault."""
        if data is None or isinstance(error, SerdeError | RetriableError):
            return _not_decoded(error)
        try:
            self._serde.decode(data, topic=self._topic)
        except BaseException as reason:
            if isinstance(reason, _ENDS_THREAD):
                raise
            return _not_decoded(reason)
        return _not_decoded(error)  # the user's type took it at the second look


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


def _raised(error: BaseException, context: Context | None) -> Outcome:
    if context is not None and error is context._no_fault:
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
