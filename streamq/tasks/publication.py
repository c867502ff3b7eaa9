"""What `publish` returns: one record on its way, and how it went."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Protocol

from streamq.model.errors import BrokerError, OutcomeUnknownError, PublishError, RecordTooLargeError, StreamqError
from streamq.model.records import Delivery

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger(__name__)


class Origin(Protocol):
    """Where publications come from: the producer of one process, as far as a publication needs it."""

    @property
    def description(self) -> str:
        """The bootstrap servers."""
        ...

    @property
    def timeout_s(self) -> float:
        """How long a wait lasts that says nothing else."""
        ...

    @property
    def inherited(self) -> bool:
        """Whether this process is a fork of the one that published."""
        ...

    def on_settled(self, topic: str, error: StreamqError | None) -> None:
        """One publication came to its end. Must neither block nor raise."""
        ...


class _Shared:
    """What all publications of a process share: one lock, held for a few instructions, and the loops that wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wakers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Waker] = weakref.WeakKeyDictionary()

    def after_fork(self) -> None:
        """In a child: a thread of the parent may have held the lock in the moment of the fork."""
        self.lock = threading.Lock()
        self.wakers = weakref.WeakKeyDictionary()


class _Waker:
    """Wakes what waits on one event loop. Deliveries come by the hundred, and a loop is nudged once for all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Weak, or the dictionary that holds this by its loop would keep the loop for ever.
        self._loop = weakref.ref(loop)
        self._ready: deque[asyncio.Future[None]] = deque()
        self._nudged = False

    def wake(self, future: asyncio.Future[None]) -> None:
        """From any thread."""
        self._ready.append(future)
        loop = self._loop()
        if self._nudged or loop is None:
            return
        self._nudged = True
        try:
            loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            self._ready.clear()  # the loop is closed: nobody waits there any more

    def _drain(self) -> None:
        # Lowered before the queue is read, so that what is appended from here on nudges again.
        self._nudged = False
        while self._ready:
            future = self._ready.popleft()
            if not future.done():
                future.set_result(None)


_shared = _Shared()


os.register_at_fork(after_in_child=_shared.after_fork)


class Publication:
    """One published record. It is confirmed when it is written to all in-sync replicas.

    Wait for it with `await publication` or `publication.result()`; both give the `Delivery` (topic, partition, offset,
    timestamp) or raise what went wrong. It may be asked from any thread, any number of times.
    """

    __slots__ = ("_callbacks", "_origin", "_outcome", "_topic")

    def __init__(self, origin: Origin, topic: str) -> None:
        self._origin = origin
        self._topic = topic
        self._outcome: Delivery | StreamqError | None = None
        self._callbacks: list[Callable[[Publication], None]] | None = None

    def __repr__(self) -> str:
        outcome = self._outcome
        if outcome is None:
            return f"<Publication to {self._topic}: not confirmed yet>"
        state = f"confirmed at {outcome}" if isinstance(outcome, Delivery) else f"failed: {outcome}"
        return f"<Publication to {self._topic}: {state}>"

    def done(self) -> bool:
        """Whether it is confirmed or has failed. Never blocks."""
        return self._outcome is not None

    def result(self, timeout_s: float | None = None) -> Delivery:
        """Wait until it is confirmed, at most `timeout_s` seconds (None: the app's `publish_timeout_s`). Blocks the
        calling thread: in a coroutine, `await` the publication instead.

        Raises:
            PublishError: not confirmed. The message says why and whether it may have been written all the same; the
                cause is in `__cause__`.
            TopicConfigError: the topic does not exist and may not be created; the message has the command.
        """
        outcome = self._outcome
        if outcome is None:
            outcome = self._wait(timeout_s)
        if isinstance(outcome, Delivery):
            return outcome
        raise self._error(outcome) from (outcome if isinstance(outcome, BrokerError) else outcome.__cause__)

    def __await__(self) -> Generator[object, None, Delivery]:
        """Wait on the event loop, at most the app's `publish_timeout_s`; raises what `result` raises."""
        if self._outcome is None:
            yield from self._until_settled()
        return self.result(0.0)

    def add_done_callback(self, callback: Callable[[Publication], None]) -> None:
        """Call `callback(publication)` once it is done, at once if it is. It runs on the producer's thread, so it must
        not block; what it raises is logged."""
        with _shared.lock:
            if self._outcome is None:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        self._call(callback)

    def _settle(self, outcome: Delivery | StreamqError) -> None:
        """How it went, told once by the producer."""
        with _shared.lock:
            self._outcome = outcome
            callbacks, self._callbacks = self._callbacks, None
        self._origin.on_settled(self._topic, None if isinstance(outcome, Delivery) else outcome)
        for callback in callbacks or ():
            self._call(callback)

    def _call(self, callback: Callable[[Publication], None]) -> None:
        try:
            callback(self)
        except Exception:
            logger.exception(
                "A callback of a publication raised; the publication itself is not affected",
                extra={"event": "publish.callback_raised", "topic": self._topic},
            )

    def _wait(self, timeout_s: float | None) -> Delivery | StreamqError:
        if self._origin.inherited:
            raise PublishError(
                f"topic {self._topic}: this record was published by the parent process, before the fork: "
                "its outcome is known there only"
            )
        wait_s = self._origin.timeout_s if timeout_s is None else timeout_s
        if wait_s > 0:
            settled = threading.Event()
            self.add_done_callback(lambda _: settled.set())
            settled.wait(wait_s)
        if self._outcome is None:
            raise PublishError(
                f"topic {self._topic}: not confirmed by {self._origin.description} within {wait_s:g} s, and may still "
                "be written later: check that the brokers can be reached, or wait longer (timeout_s, publish_timeout_s)"
            )
        return self._outcome

    def _until_settled(self) -> Generator[object, None, None]:
        import asyncio  # who awaits has it: others start sooner without

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waker = _shared.wakers.get(loop)
        if waker is None:
            waker = _shared.wakers[loop] = _Waker(loop)
        wake = waker.wake
        self.add_done_callback(lambda _: wake(future))
        # Bounded like every wait; the result then says that nothing was confirmed.
        timer = loop.call_later(self._origin.timeout_s, wake, future)
        try:
            yield from future.__await__()
        finally:
            timer.cancel()

    def _error(self, cause: StreamqError) -> StreamqError:
        """What went wrong, in the user's words; a new object for each who asks, so that tracebacks do not pile up."""
        if not isinstance(cause, BrokerError):
            return type(cause)(str(cause))
        return PublishError(describe_failure(self._topic, self._origin.description, cause))


def describe_failure(topic: str, brokers: str, cause: BrokerError) -> str:
    """Why a record was not confirmed, and what to do."""
    if isinstance(cause, RecordTooLargeError):
        what = "not written: it is larger than the topic takes"
        remedy = "publish less at once, or raise the topic's max.message.bytes"
    elif isinstance(cause, OutcomeUnknownError):
        what = f"not confirmed by {brokers}, and may have been written"
        remedy = "check that the brokers can be reached; publish it again where a repeat does no harm"
    else:
        what = f"not written by {brokers}"
        remedy = "mend that and publish it again"
    return f"topic {topic}: {what} ({cause}): {remedy}"
