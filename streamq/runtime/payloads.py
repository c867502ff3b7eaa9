"""Reads single places of retry partitions again: payloads of parked records that are due and not in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from streamq.model.errors import StreamqError
from streamq.model.ports import ReaderPort
from streamq.model.records import NextOffset, TopicPartition
from streamq.runtime.payload_runs import Found, Place, Run, Wanted

MOST_BYTES: Final = 8 * 1024 * 1024
"""Of what was read and not taken: reading pauses above it."""
MOST_RECORDS: Final = 500
POLL_S: Final = 0.1
STANDS: Final = 10
"""After so many polls in a row that brought nothing, what comes new is read beside what is waited for."""
PATIENCE: Final = 30
"""After so many, the places are asked for anew."""


class PayloadFetcher:
    """The owner's handle of one thread with a reader of its own, which starts, and connects, when something is first
    wanted. `arrived` is called on that thread when there is something to take.

    Owner thread only; nothing blocks but `close`.
    """

    def __init__(self, make: Callable[[], ReaderPort], name: str, arrived: Callable[[], None] | None = None) -> None:
        self._make = make
        self._arrived = arrived
        self._thread = threading.Thread(target=self._run, name=f"{name}-payloads", daemon=True)
        self._started = False
        self._failure: BaseException | None = None
        # Under the condition's lock:
        self._changed = threading.Condition()
        self._wanted = Wanted()
        self._stopping = False

    def want(self, partition: TopicPartition, places: Iterable[int]) -> None:
        """Have these read. What was wanted already and not taken is left out, so all may be named again and again."""
        with self._changed:
            if not self._wanted.add(partition, places):
                return
            self._changed.notify_all()
        if not self._started:
            self._started = True
            self._thread.start()

    def take(self) -> Sequence[Found]:
        """What was read since the last call: ascending within what was wanted at once, apart from that in any order.

        Raises:
            FatalBrokerError: no right to read.
            ConfigError: a setting of the reader is not usable.
        """
        if self._failure is not None:
            raise self._failure
        if not self._wanted.told:
            return ()
        with self._changed:
            self._changed.notify_all()
            return self._wanted.take()

    def take_missing(self) -> Sequence[Place]:
        """The places that hold no record (any more), since the last call. Each is told once, and not looked at again
        before its partition is forgotten."""
        if not self._wanted.told:
            return ()
        with self._changed:
            return self._wanted.take_missing()

    def forget(self, partition: TopicPartition) -> None:
        """Nothing of this partition is wanted any more; nothing of it will be taken."""
        with self._changed:
            self._wanted.forget(partition)
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """End the thread; blocks at most `timeout_s`. Idempotent."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._started:
            self._thread.join(timeout_s)

    # Runs on the thread.

    def _run(self) -> None:
        try:
            reader = self._make()
            try:
                while runs := self._next_runs(reader):
                    self._read(reader, runs)
            finally:
                reader.close()
        except StreamqError as error:
            self._failure = error
        except BaseException as error:
            self._failure = error
            raise

    def _next_runs(self, reader: ReaderPort) -> Mapping[TopicPartition, Run]:
        """Wait for something to read, without holding anything ready meanwhile. Nothing: all is closed."""
        with self._changed:
            runs = self._wanted.runs()
        if not runs:
            reader.assign({})
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or (self._has_room() and self._wanted.runs()))
            return {} if self._stopping else self._wanted.runs()

    def _has_room(self) -> bool:
        return self._wanted.held_bytes < MOST_BYTES

    def _read(self, reader: ReaderPort, runs: Mapping[TopicPartition, Run]) -> None:
        reader.assign(starts(runs))
        idle = 0
        while idle < PATIENCE:
            polled = reader.poll(POLL_S, MOST_RECORDS)
            with self._changed:
                idle = 0 if self._wanted.receive(polled, runs) else idle + 1
                if idle == STANDS:
                    self._wanted.stand(runs)
                told = self._wanted.told
            if told and self._arrived is not None:
                self._arrived()
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._has_room())
                if self._stopping or self._wanted.over(runs):
                    return


class InlinePayloadFetcher:
    """See `PayloadFetcher`, with the same methods, all on the caller's thread: `take` reads. For tests, where all
    happens in a known order."""

    def __init__(self, make: Callable[[], ReaderPort], name: str, arrived: Callable[[], None] | None = None) -> None:
        self._make = make
        self._reader: ReaderPort | None = None
        self._wanted = Wanted()

    def want(self, partition: TopicPartition, places: Iterable[int]) -> None:
        """Have these read."""
        self._wanted.add(partition, places)

    def take(self) -> Sequence[Found]:
        """Read what can be read at this moment."""
        further = True
        while further and (runs := self._wanted.runs()):
            further = self._read(runs)
        return self._wanted.take()

    def take_missing(self) -> Sequence[Place]:
        """What holds nothing, as far as `take` has found out."""
        return self._wanted.take_missing()

    def forget(self, partition: TopicPartition) -> None:
        """Nothing of this partition is wanted any more."""
        self._wanted.forget(partition)

    def close(self, timeout_s: float) -> None:
        """Release the connection."""
        if self._reader is not None:
            self._reader.close()

    def _read(self, runs: Mapping[TopicPartition, Run]) -> bool:
        """Whether something of these runs was read, or found missing."""
        if self._reader is None:
            self._reader = self._make()
        self._reader.assign(starts(runs))
        left = {partition: len(run) for partition, run in runs.items()}
        while self._wanted.receive(self._reader.poll(0.0, MOST_RECORDS), runs) and not self._wanted.over(runs):
            pass
        return any(len(run) < left[partition] for partition, run in runs.items())


def starts(runs: Mapping[TopicPartition, Run]) -> Mapping[TopicPartition, NextOffset]:
    """Where to begin to read."""
    return {partition: NextOffset(run.start) for partition, run in runs.items()}


AnyPayloadFetcher = PayloadFetcher | InlinePayloadFetcher
