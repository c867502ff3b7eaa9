"""Runs an app's processors in a test: the real worker, without threads, over a cluster in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Final, TypeVar, overload

from streamq.app import App
from streamq.config import WorkerConfig
from streamq.core.marks import decode_mark
from streamq.model.clock import Deadline, SystemClock
from streamq.model.errors import ConfigError, StreamqError
from streamq.model.ports import AdminPort, ProducerPort
from streamq.model.records import Delivery, NextOffset
from streamq.runtime.owner import Owner
from streamq.tasks.processor import Processor
from streamq.tasks.publisher import HeadersLike
from streamq.tasks.topic import AnyTopic, K, Topic, V
from streamq.testing.clock import ManualClock
from streamq.testing.letters import DeadLetter, decoded, read_letter
from streamq.testing.memory import MemoryCluster
from streamq.testing.watch import ErrorWatch
from streamq.wiring import begin, make_owner, prepare_inline

T = TypeVar("T")
STEP_S: Final = 2.0
"""The clock moves on by at most this between two rounds: commits and sessions go on as in real life."""
ANSWER_S: Final = 10.0


class HarnessError(StreamqError):
    """The app did not come to rest in time, or streamq logged an error that the test did not expect."""


def harness(app: App, *, worker: WorkerConfig | None = None, clock: ManualClock | None = None) -> Harness:
    """A harness for all processors of an app. Use it as a context manager:

        with sq.testing.harness(app) as h:
            h.publish(orders, Order("1", "ada", 9.5), key="ada")
            h.run_until_idle()
            assert h.dead_letters("charge") == []

    Inside, the app is connected to a cluster in memory on which its topics are there and empty. `clock` starts at the
    machine's time unless it is given, and moves only while the harness runs.
    """
    return Harness(app, worker or WorkerConfig(), clock or ManualClock(SystemClock().time()))


class Harness:
    """See `harness`. Nothing happens between its methods: they run the worker's loop on the caller's thread (inside a
    running event loop on a thread of their own, while the caller waits), `def` handlers directly, coroutines on a
    private event loop, one attempt after the other."""

    def __init__(self, app: App, worker: WorkerConfig, clock: ManualClock) -> None:
        self.clock = clock
        self.cluster = MemoryCluster(clock=clock)
        self._app = app
        self._worker = worker
        self._longest_step_s = min(STEP_S, worker.session_timeout_s / 4)
        self._admin: AdminPort = self.cluster.admin()
        self._producer: ProducerPort = self.cluster.producer()
        self._owners: dict[str, Owner] = {}
        self._errors = ErrorWatch()

    # Life cycle

    def __enter__(self) -> Harness:
        with ExitStack() as undo:
            undo.enter_context(self._errors)
            self._app.use(self.cluster)
            undo.callback(self._app.use, None)
            self._aside(self._start)
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        with self._errors:
            try:
                self._aside(self._stop)
            finally:
                self._app.use(None)
        if error is None and self._errors.unexpected:
            told = "\n  ".join(self._errors.unexpected)
            raise HarnessError(
                f"streamq logged errors that the test does not expect (h.expect_errors names their events):\n  {told}"
            )

    def _start(self) -> None:
        for topic in self._app.topics.values():
            self._admin.create_topic(topic.spec, ANSWER_S)
        self._start_owners()

    def _start_owners(self) -> None:
        for processor in self._app.processors.values():
            begin(self._admin, processor, self._worker)
        self._owners = {name: self._owner(processor) for name, processor in self._app.processors.items()}
        for owner in self._owners.values():
            owner.start()

    def _owner(self, processor: Processor) -> Owner:
        return make_owner(
            self._app,
            processor,
            clients=self.cluster,
            producer=self._producer,
            admin=self._admin,
            worker=self._worker,
            clock=self.clock,
            prepare=prepare_inline,
            inline=True,
        )

    def _stop(self) -> None:
        for owner in self._owners.values():
            owner.drain(self._worker.drain_timeout_s)
            owner.close()
        self._producer.close(0.0)

    # What a test does

    def publish(
        self,
        topic: Topic[K, V] | str,
        value: V,
        *,
        key: K | None = None,
        headers: HeadersLike | None = None,
        timestamp: datetime | None = None,
        partition: int | None = None,
    ) -> Delivery:
        """Publish one record as `app.publish` does, and wait until it stands in its topic."""
        return self._aside(
            lambda: self._app.publish(
                topic, value, key=key, headers=headers, timestamp=timestamp, partition=partition
            ).result(ANSWER_S)
        )

    def run_until_idle(self, timeout_s: float = 30.0) -> None:
        """Run until everything in the processors' topics is settled and committed, what handlers published to them
        included. Waits between attempts cost no time: the clock moves on. `timeout_s` is the machine's time.

        Raises:
            HarnessError: it did not come to that; the message says what is left.
        """
        self._aside(lambda: self._run_until_idle(timeout_s))

    def advance(self, duration_s: float) -> None:
        """Let this much of the harness's time pass while the processors run."""
        self._aside(lambda: self._advance(duration_s))

    def restart(self) -> None:
        """Kill the worker in this moment, as `kill -9` does, and start a new one: what was not committed is done again,
        once the dead one's session is over."""
        self._aside(self._restart)

    def expect_errors(self, *events: str) -> None:
        """These events (`event` of the log line) may be logged as errors: the test brings them about."""
        self._errors.expected.update(events)

    # What a test looks at

    @overload
    def records(self, topic: Topic[K, V]) -> list[V]: ...

    @overload
    def records(self, topic: str) -> list[object]: ...

    def records(self, topic: Topic[K, V] | str) -> list[V] | list[object]:
        """The decoded values of a topic, by partition and offset. The records themselves: `h.cluster.records(name)`."""
        declared = self._topic(topic if isinstance(topic, str) else topic.name)
        return [
            decoded(declared.value_serde, record.value, declared.name) for record in self.cluster.records(declared.name)
        ]

    def dead_letters(self, processor: str) -> list[DeadLetter]:
        """What a processor has given up, by partition and offset."""
        found = self._processor(processor)
        records = self.cluster.records(found.dead_letter_topic)
        return [read_letter(record, found.topic) for record in records if decode_mark(record.headers) is None]

    def committed(self, processor: str) -> Mapping[int, NextOffset]:
        """The committed offset of each partition that has one."""
        found = self._processor(processor)
        points = self.cluster.committed(found.group)
        return {one.partition: point.next_offset for one, point in points.items() if one.topic == found.topic.name}

    def lag(self, processor: str) -> int:
        """How many offsets of a processor's topic are not committed yet, over all partitions."""
        committed = self.committed(processor)
        partitions = self.cluster.partitions(self._processor(processor).topic.name)
        return sum(self.cluster.end(one) - committed.get(one.partition, 0) for one in partitions)

    def _processor(self, name: str) -> Processor:
        found = self._app.processors.get(name)
        if found is None:
            raise ConfigError(f"{self._app} has no processor {name!r}: it has {', '.join(self._app.processors)}")
        return found

    def _topic(self, name: str) -> AnyTopic:
        found = self._app.topics.get(name)
        if found is None:
            raise ConfigError(f"{self._app} has no topic {name!r}: it has {', '.join(self._app.topics)}")
        return found

    # Running

    def _run_until_idle(self, timeout_s: float) -> None:
        deadline = Deadline(SystemClock(), timeout_s)
        while True:
            if self._round():
                continue
            self._app.flush(ANSWER_S)  # what handlers published on event loops is handed over by helper threads
            if self._at_rest():
                return
            if deadline.expired():
                raise HarnessError(f"not idle after {timeout_s:g} s: {self._left()}")
            self.clock.advance(self._step_s(self._longest_step_s))

    def _advance(self, duration_s: float) -> None:
        until = Deadline(self.clock, duration_s)
        while True:
            while self._round():
                pass
            if until.expired():
                return
            self.clock.advance(self._step_s(min(self._longest_step_s, until.remaining_s())))

    def _round(self) -> bool:
        """One tick of each processor. Whether anything happened."""
        busy = False
        for owner in self._owners.values():
            busy |= owner.tick(0.0)
        return busy

    def _step_s(self, most_s: float) -> float:
        """How far the clock may move on: nothing that is due is passed over."""
        due = [at for owner in self._owners.values() if (at := owner.next_due()) is not None]
        until_due_s = min(due, default=self.clock.monotonic() + most_s) - self.clock.monotonic()
        return min(most_s, max(0.0, until_due_s))

    def _at_rest(self) -> bool:
        owners = self._owners.values()
        return all(owner.idle() and owner.next_due() is None for owner in owners) and not any(
            self.lag(name) for name in self._owners
        )

    def _left(self) -> str:
        told = [
            f"processor {name} has a lag of {self.lag(name)}"
            + ("" if owner.next_due() is None else ", a record waits for its next attempt")
            for name, owner in self._owners.items()
            if not owner.idle() or owner.next_due() is not None or self.lag(name)
        ]
        return "; ".join(told) or "records are still on their way"

    def _restart(self) -> None:
        for consumer in self.cluster.consumers:
            self.cluster.crash(consumer)
        for owner in self._owners.values():
            owner.close()
        self._start_owners()

    def _aside(self, call: Callable[[], T]) -> T:
        """Run this here; inside a running event loop on another thread, since no second loop can run on this one."""
        if not _on_event_loop():
            return call()
        with ThreadPoolExecutor(1, thread_name_prefix="streamq-harness") as pool:
            return pool.submit(call).result()


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
