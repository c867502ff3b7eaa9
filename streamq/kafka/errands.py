"""What a thread of its own does with a librdkafka consumer on behalf of its owner, one after the other.

Commits, so that their answers come without polls, also while the owner waits in a revocation, and however long a broker
does not answer (librdkafka then repeats a commit for ever); waking librdkafka; and the end of the consumer, which must
not come while anything else is under way.

librdkafka's consumer may be called from any thread. The binding (confluent-kafka 2.16.1) lets one caller at a time into
it and makes others wait: for the end of a poll, or of a revocation. It takes a caller for the same by the identity that
this context variable holds, else the thread's; so the thread says for whom it acts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.cimpl import _reentry_identity_var as _identity

from streamq.kafka.commits import Points, commit
from streamq.model.ports import CommitAnswer

_WAKE_S: Final = 1.0


class Errands:
    """The owner's thread makes it, sends and closes; nothing of it blocks but `Thread.join` on what `close` gives."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._owner = threading.get_ident()
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._to_wake: dict[tuple[str, int], KafkaPartition] = {}  # the owner adds, the thread takes: one step each
        self._thread = threading.Thread(target=self._run, name="streamq-errands", daemon=True)
        self._started = False

    def commit(self, points: Points) -> Future[CommitAnswer]:
        """Send one commit. The answer never raises."""
        answer: Future[CommitAnswer] = Future()
        self._send(lambda: answer.set_result(commit(self._consumer, points)))
        return answer

    def wake(self, places: Sequence[KafkaPartition]) -> None:
        """librdkafka's thread for a broker sees what was resumed when it next wakes: up to a second later, if it has
        nothing else to fetch there. A question to the partition's leader wakes it. Other errands come first, and a
        partition that is to be woken already is asked about once."""
        self._to_wake.update({(place.topic, place.partition): place for place in places})
        self._send(_nothing)

    def close(self) -> threading.Thread:
        """Leave the group and end the consumer when all is done that was sent. Returns the thread that does it."""
        self._send(self._consumer.close)
        self._jobs.put(None)
        return self._thread

    def _send(self, job: Callable[[], object]) -> None:
        self._jobs.put(job)
        if not self._started:
            self._started = True
            self._owner = threading.get_ident()
            self._thread.start()

    def _run(self) -> None:
        _identity.set(self._owner)
        while True:
            try:
                job = self._jobs.get(block=not self._to_wake)
            except Empty:
                _, place = self._to_wake.popitem()
                self._ask(place)
                continue
            if job is None:
                return
            job()

    def _ask(self, place: KafkaPartition) -> None:
        with suppress(KafkaException, RuntimeError):  # no answer, or closed: it only comes a little later then
            self._consumer.get_watermark_offsets(place, timeout=_WAKE_S)


def _nothing() -> None:
    """Lets the thread look."""
