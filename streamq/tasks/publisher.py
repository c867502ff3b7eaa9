"""Publishing: from a user's value to a record on its way."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final, Protocol

from streamq.model.clock import Clock, SystemClock
from streamq.model.errors import ConfigError
from streamq.model.ports import Clients
from streamq.model.records import Headers, OutgoingRecord
from streamq.tasks.arguments import check_partition, timestamp_ms
from streamq.tasks.publication import Publication
from streamq.tasks.session import Session
from streamq.tasks.topic import AnyTopic, K, Topic, V

logger = logging.getLogger(__name__)

EXIT_FLUSH_S: Final = 10.0
"""Seconds that the end of a process waits for what is not confirmed."""

HeadersLike = Mapping[str, str | bytes | None] | Iterable[tuple[str, str | bytes | None]]
"""Headers as a user gives them: text is written as UTF-8."""


class Publishing(Protocol):
    """Something that publishes: an app, its publisher, or what a transaction puts in its place."""

    @property
    def publish_timeout_s(self) -> float:
        """Seconds that a wait for room or for a confirmation lasts at most."""
        ...

    def publish(
        self,
        topic: Topic[K, V] | str,
        value: V,
        *,
        key: K | None = None,
        headers: HeadersLike | None = None,
        timestamp: datetime | None = None,
        partition: int | None = None,
    ) -> Publication:
        """Publish one record; see `App.publish`."""
        ...


class Publisher:
    """Publishes to the topics that an app declares. May be used from threads and from asyncio.

    `declared` gives the topic that a user means, or raises ConfigError. `clients` is asked at the first publish; what
    it gives belongs to one process. After a fork the child asks for its own: the parent's connections, threads and
    locks are of no use there.
    """

    def __init__(
        self,
        declared: Callable[[object], AnyTopic],
        clients: Callable[[], Clients],
        *,
        create_topics: bool = True,
        publish_timeout_s: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        self.publish_timeout_s = publish_timeout_s
        self._declared = declared
        self._clients = clients
        self._create_topics = create_topics
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._watches_exit = False
        _publishers.add(self)

    def publish(
        self,
        topic: Topic[K, V] | str,
        value: V,
        *,
        key: K | None = None,
        headers: HeadersLike | None = None,
        timestamp: datetime | None = None,
        partition: int | None = None,
    ) -> Publication:
        """Publish one record; see `App.publish`."""
        known = self._declared(topic)
        name = known.name
        outgoing = OutgoingRecord(
            name,
            known.key_serde.encode(key, topic=name) if key is not None else None,
            known.value_serde.encode(value, topic=name),
            _headers(headers) if headers else (),
            None if partition is None else check_partition(partition),
            None if timestamp is None else timestamp_ms(timestamp),
        )
        session = self._session
        if session is None or not session.usable:
            session = self._open()
        return session.publish(known, outgoing)

    def flush(self, timeout_s: float) -> int:
        """Wait at most `timeout_s` until everything published so far is confirmed or has failed. Returns how many
        records are still undecided. Blocks."""
        session = self._session
        return session.flush(timeout_s) if session is not None else 0

    def close(self, timeout_s: float) -> int:
        """Flush, then close the client. Returns how many records were not confirmed in time. Blocks. A later publish
        opens a new one."""
        with self._lock:
            session, self._session = self._session, None
        return session.close(timeout_s) if session is not None else 0

    def _open(self) -> Session:
        with self._lock:
            session = self._session
            if session is None or not session.usable:
                session = Session(
                    self._clients,
                    create_topics=self._create_topics,
                    timeout_s=self.publish_timeout_s,
                    clock=self._clock,
                )
                self._session = session
                self._watch_exit()
            return session

    def _watch_exit(self) -> None:
        if not self._watches_exit:
            self._watches_exit = True
            atexit.register(_flush_at_exit, weakref.ref(self))
            if "multiprocessing.util" in sys.modules:
                # Its children leave without the interpreter's own end.
                from multiprocessing.util import Finalize

                Finalize(None, _flush_at_exit, args=(weakref.ref(self),), exitpriority=0)

    def flush_at_exit(self) -> None:
        """The process ends: wait for what is not confirmed, and say how much was not."""
        undecided = self.close(EXIT_FLUSH_S)
        if undecided:
            logger.error(
                "%d published records were not confirmed before the process ended; they may be lost: "
                "wait for publications, or call app.flush(), before you leave",
                undecided,
                extra={"event": "publish.unconfirmed_at_exit", "count": undecided},
            )

    def after_fork(self) -> None:
        """In a child: forget the parent's client and locks."""
        self._lock = threading.Lock()
        self._watches_exit = False
        session, self._session = self._session, None
        if session is not None:
            session.inherited = True
            _keep_for_ever(session)


_publishers: weakref.WeakSet[Publisher] = weakref.WeakSet()


def _flush_at_exit(reference: weakref.ref[Publisher]) -> None:
    publisher = reference()
    if publisher is not None:
        publisher.flush_at_exit()


def _after_fork() -> None:
    for publisher in list(_publishers):
        publisher.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _keep_for_ever(session: Session) -> None:
    """Leave an inherited client alone: to free it, at any time up to the interpreter's end, would wait for threads
    that exist in the parent only."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


def _headers(headers: HeadersLike) -> Headers:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    encoded = []
    for name, value in pairs:
        if not isinstance(name, str) or not (value is None or isinstance(value, str | bytes)):
            raise ConfigError(f"header {name!r} is {value!r}: names are str, values str, bytes or None")
        encoded.append((name, value.encode() if isinstance(value, str) else value))
    return tuple(encoded)
