"""The producer of one process: hands records over in order, checks topics, waits for room, flushes.

A topic has a *line*. While the topic is checked and nothing waits, records go straight to the producer. What cannot go
straight (the first record of a topic, a full buffer) takes one of two ways: a thread waits where it stands; on an event
loop, which must not stand, the record queues in the topic's line, and a helper thread that lives as long as the line
does hands the queue over in order. Whoever comes while a line has a queue, queues behind it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from streamq.model.clock import Clock, Deadline
from streamq.model.errors import (
    BrokerError,
    FatalBrokerError,
    FencedError,
    PublishError,
    RecordTooLargeError,
    RetriableError,
    StreamqError,
)
from streamq.model.ports import Clients, ProducerPort
from streamq.model.records import OutgoingRecord, TopicSpec
from streamq.tasks.publication import Publication, describe_failure
from streamq.tasks.topic import AnyTopic
from streamq.tasks.topic_check import CALL_TIMEOUT_S, ensure_topic

logger = logging.getLogger(__name__)

RECHECK_S: Final = 0.05
"""A client may count a delivered record until its callback has returned, so the last signal can come a moment early:
who waits for room looks again after this long."""

QUEUED_RECORDS: Final = 100_000
"""Records that may queue on event loops' behalf, over all topics."""

FAILURES_LOGGED_EVERY_S: Final = 10.0


class _Queued:
    """A record in a line: handed over, or refused, before its deadline."""

    __slots__ = ("deadline", "left", "outgoing", "publication", "refusal")

    def __init__(self, outgoing: OutgoingRecord, publication: Publication, deadline: Deadline) -> None:
        self.outgoing = outgoing
        self.publication = publication
        self.deadline = deadline
        self.left: threading.Event | None = None  # made for a thread that waits until it has left the queue
        self.refusal: StreamqError | None = None


class _Connection(NamedTuple):
    """A cluster, and this process's producer on it."""

    clients: Clients
    producer: ProducerPort


class _Line:
    """One topic. `straight`: it is checked and nothing queues."""

    __slots__ = ("check", "checked", "queue", "spec", "straight")

    def __init__(self, spec: TopicSpec) -> None:
        self.spec = spec
        self.check = threading.Lock()
        self.checked = False
        self.straight = False
        self.queue: deque[_Queued] = deque()


class Session:
    """See the module. All methods may be called from any thread."""

    def __init__(
        self, make_clients: Callable[[], Clients], *, create_topics: bool, timeout_s: float, clock: Clock
    ) -> None:
        self.timeout_s = timeout_s
        self.inherited = False
        self.usable = True
        self._make_clients = make_clients
        self._connection: _Connection | None = None
        self._connecting = threading.Lock()
        self._create_topics = create_topics
        self._clock = clock
        # Guards the lines' queues; signalled when records are delivered (if somebody waits) and leave a queue.
        self._changed = threading.Condition()
        self._waiting = 0
        self._queued = 0
        self._lines: dict[str, _Line] = {}
        self._failures = 0
        self._failures_logged_at: float | None = None

    @property
    def description(self) -> str:
        """The bootstrap servers, once they are known."""
        return "the brokers" if self._connection is None else self._connection.clients.description

    def publish(self, topic: AnyTopic, outgoing: OutgoingRecord) -> Publication:
        """Hand a record over. On an event loop this never blocks; in a thread it may, at most `timeout_s`.

        Raises:
            PublishError: no room within `timeout_s`, or the client refuses the record.
            TopicConfigError: the topic is missing (in a thread; on an event loop the publication raises it).
        """
        publication = Publication(self, outgoing.topic)
        line = self._lines.get(outgoing.topic)
        if line is None:
            line = self._lines.setdefault(outgoing.topic, _Line(topic.spec))
        if line.straight and self._try_produce(outgoing, publication):
            return publication
        item = _Queued(outgoing, publication, Deadline(self._clock, self.timeout_s))
        if _on_event_loop():
            self._queue(line, item)
        else:
            self._publish_standing(line, item)
        return publication

    def on_settled(self, topic: str, error: StreamqError | None) -> None:
        """A publication came to its end: there may be room now. Called on the producer's thread."""
        if self._waiting:
            with self._changed:
                self._changed.notify_all()
        if error is not None:
            self._count_failure(topic, error)

    def flush(self, timeout_s: float) -> int:
        """Wait at most `timeout_s` until everything published so far is confirmed or has failed. Returns how many
        records are still undecided."""
        deadline = Deadline(self._clock, timeout_s)
        with self._changed:
            self._waiting += 1
            while self._queued and not deadline.expired():
                self._changed.wait(min(RECHECK_S, deadline.remaining_s()))
            self._waiting -= 1
            queued = self._queued
        connection = self._connection
        return queued + (connection.producer.flush(deadline.remaining_s()) if connection is not None else 0)

    def close(self, timeout_s: float) -> int:
        """Flush, then end the client. Returns how many records were not confirmed in time."""
        deadline = Deadline(self._clock, timeout_s)
        undecided = self.flush(timeout_s)
        self.usable = False
        if self._connection is not None:
            self._connection.producer.close(deadline.remaining_s())
        return undecided

    # In a thread.

    def _publish_standing(self, line: _Line, item: _Queued) -> None:
        with self._changed:
            behind = bool(line.queue)
            if behind:
                item.left = threading.Event()
                self._append(line, item)
        if item.left is None:
            refusal = self._hand_over(line, item)
        else:
            # The helper gives up by the same deadline; the margin is for what it does just then.
            item.left.wait(item.deadline.remaining_s() + CALL_TIMEOUT_S)
            refusal = item.refusal if item.left.is_set() else self._no_room(item)
        if refusal is not None:
            raise refusal

    # On an event loop.

    def _queue(self, line: _Line, item: _Queued) -> None:
        with self._changed:
            if self._queued >= QUEUED_RECORDS:
                raise PublishError(
                    f"topic {line.spec.name}: {self._queued} records wait for {self.description} already: "
                    "await some publications before publishing more, and check that the brokers can be reached"
                )
            self._append(line, item)

    # Lines.

    def _append(self, line: _Line, item: _Queued) -> None:
        """Under the lock."""
        line.straight = False
        line.queue.append(item)
        self._queued += 1
        if len(line.queue) == 1:
            threading.Thread(
                target=self._serve, args=(line,), name=f"streamq-publish-{line.spec.name}", daemon=True
            ).start()

    def _serve(self, line: _Line) -> None:
        """Hand over a line's queue; one helper thread a line, as long as it has one."""
        while True:
            item = line.queue[0]
            refusal = self._hand_over(line, item)
            with self._changed:
                # Only now does it leave the queue: nobody may overtake it.
                line.queue.popleft()
                self._queued -= 1
                more = bool(line.queue)
                line.straight = line.checked and not more
                self._changed.notify_all()
            if item.left is not None:
                item.refusal = refusal
                item.left.set()
            elif refusal is not None:
                item.publication._settle(refusal)
            if not more:
                return

    def _hand_over(self, line: _Line, item: _Queued) -> StreamqError | None:
        """Check the topic if it is the first record, then wait for room. Blocks until the item's deadline at most.
        Returns why it was refused; None if the producer has it."""
        try:
            self._check(line, item.deadline)
            self._produce_when_room(item)
        except StreamqError as error:
            return error
        return None

    def _check(self, line: _Line, deadline: Deadline) -> None:
        if line.checked:
            return
        if deadline.expired() or not line.check.acquire(timeout=deadline.remaining_s()):
            raise PublishError(
                f"topic {line.spec.name}: not published, because {self.description} did not say in time whether it "
                "exists: check bootstrap_servers and that the brokers can be reached"
            )
        try:
            if not line.checked:
                clients, create = self._connected().clients, self._create_topics
                ensure_topic(clients, line.spec, create=create, deadline=deadline, clock=self._clock)
        except BrokerError as error:
            raise PublishError(describe_failure(line.spec.name, self.description, error)) from error
        finally:
            line.check.release()
        with self._changed:
            line.checked = True
            line.straight = not line.queue

    def _connected(self) -> _Connection:
        """The client, made at the first need of it: here, and so never on an event loop, since that takes a while."""
        with self._connecting:
            if self._connection is None:
                clients = self._make_clients()
                self._connection = _Connection(clients, clients.producer())
            return self._connection

    def _produce_when_room(self, item: _Queued) -> None:
        with self._changed:
            # Raised before the attempt, so that a delivery after it cannot go unnoticed.
            self._waiting += 1
            try:
                while not self._try_produce(item.outgoing, item.publication):
                    if item.deadline.expired():
                        raise self._no_room(item)
                    self._changed.wait(min(RECHECK_S, item.deadline.remaining_s()))
            finally:
                self._waiting -= 1

    def _try_produce(self, outgoing: OutgoingRecord, publication: Publication) -> bool:
        """False if there is no room now, or no client yet.

        Raises:
            PublishError: the client does not take this record.
        """
        connection = self._connection
        if connection is None:
            return False
        try:
            connection.producer.produce(outgoing, publication._settle)
        except RetriableError:
            return False
        except (FatalBrokerError, FencedError) as error:
            if not isinstance(error, RecordTooLargeError):
                self.usable = False  # the client is no more: the next publish makes a new one
            raise PublishError(describe_failure(outgoing.topic, self.description, error)) from error
        return True

    def _no_room(self, item: _Queued) -> PublishError:
        return PublishError(
            f"topic {item.outgoing.topic}: no room for the record within publish_timeout_s={self.timeout_s:g}: the "
            f"records published before it are not confirmed by {self.description}. Check that the brokers can be "
            "reached; if they are only slow, publish slower (wait for publications) or raise publish_timeout_s"
        )

    def _count_failure(self, topic: str, error: StreamqError) -> None:
        self._failures += 1
        now = self._clock.monotonic()
        if self._failures_logged_at is not None and now - self._failures_logged_at < FAILURES_LOGGED_EVERY_S:
            return
        count, self._failures, self._failures_logged_at = self._failures, 0, now
        logger.warning(
            "Published records were not confirmed; who waits for their publications gets the error, others lost them",
            extra={"event": "publish.failed", "topic": topic, "count": count, "error": str(error)},
        )


def _on_event_loop() -> bool:
    import asyncio  # not with the module: a command that publishes nothing starts sooner without

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
