"""Reading: polls what there is room for, gives it to the partitions, pauses what is full."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, assert_never

from streamq.core.flow import FlowGate, FlowLimits
from streamq.core.partition import PartitionState
from streamq.model.errors import BrokerError
from streamq.model.ports import ConsumerEvent, ConsumerPort, OutOfRange, ReachedEnd, Trouble
from streamq.model.records import NextOffset, Record, TopicPartition
from streamq.runtime.assignment import Assignment
from streamq.runtime.stats import OwnerStats

logger = logging.getLogger(__name__)

BATCH = 1000
_partition_of = attrgetter("partition")


class Bounds(NamedTuple):
    """What part of a topic is read: up to these ends, and of one key only. For a replay."""

    ends: dict[TopicPartition, NextOffset]
    key: bytes | None = None


class Intake:
    """Owner thread only."""

    def __init__(
        self,
        topic: str,
        consumer: ConsumerPort,
        assignment: Assignment,
        limits: FlowLimits,
        stats: OwnerStats,
        bounds: Bounds | None = None,
    ) -> None:
        self._topic = topic
        self._consumer = consumer
        self._assignment = assignment
        self._limits = limits
        self._stats = stats
        self._bounds = bounds
        self._gates: dict[PartitionState, FlowGate] = {}
        self._in_trouble = False

    @property
    def paused(self) -> int:
        """How many partitions are paused because something is full."""
        return sum(gate.paused for gate in self._gates.values())

    def poll(self, timeout_s: float, most: int = BATCH) -> int:
        """Poll once and take in what came. Returns how many records that were."""
        polled = self._consumer.poll(timeout_s, most)
        if polled.records:
            self._receive(polled.records)
        for event in polled.events:
            self._heed(event)
        return len(polled.records)

    def _receive(self, records: Sequence[Record]) -> None:
        if self._in_trouble:
            self._in_trouble = False
            logger.info("Records come in again", extra={"event": "broker_back", "topic": self._topic})
        self._stats.received += len(records)
        for number, run in groupby(records, _partition_of):
            state = self._assignment.get(TopicPartition(self._topic, number))
            if state is None:
                continue  # of an epoch that is over: the next one reads it again
            if self._bounds is None:
                state.receive(list(run))
            else:
                self._receive_within(self._bounds, state, run)

    def wanted(self, partitions: Sequence[TopicPartition]) -> Sequence[TopicPartition]:
        """Those of newly assigned partitions that are to be read: the others stay paused, and nothing is committed for
        them."""
        bounds = self._bounds
        return partitions if bounds is None else [one for one in partitions if one in bounds.ends]

    def _receive_within(self, bounds: Bounds, state: PartitionState, run: Iterable[Record]) -> None:
        end = bounds.ends[state.partition]
        for record in run:
            if record.offset >= end:
                if state.position < end:
                    state.reach(end)
                self._consumer.pause([state.partition])  # for good: its gate never resumes what it did not pause
                return
            if bounds.key is None or record.key == bounds.key:
                state.receive((record,))
            else:
                state.reach(NextOffset(record.offset + 1))

    def finished(self) -> bool:
        """Whether everything within the bounds is settled in all the partitions that they name."""
        if self._bounds is None:
            return False
        for partition, end in self._bounds.ends.items():
            state = self._assignment.get(partition)
            if state is None or state.tracker.next_offset < end:
                return False
        return True

    def _heed(self, event: ConsumerEvent) -> None:
        match event:
            case ReachedEnd():
                state = self._assignment.get(event.partition)
                if state is not None:
                    end = event.next_offset
                    if self._bounds is not None:
                        end = min(end, self._bounds.ends[event.partition])
                    state.reach(end)
            case OutOfRange():
                state = self._assignment.get(event.partition)
                # The client may have asked for offset 0 before it was sought: that is no loss. It may also stand
                # further on than anything it gave us, behind markers and aborted records.
                if state is not None and int(event.offset) >= int(state.position):
                    self._assignment.reopen(event.partition, state.position)
            case Trouble():
                self._report(event.error)
            case _:
                assert_never(event)

    def _report(self, error: BrokerError) -> None:
        """One sentence when it begins; the client goes on trying by itself."""
        if not self._in_trouble:
            self._in_trouble = True
            logger.warning(
                "Kafka cannot be reached: running handlers go on, new records wait, work goes on when it is back",
                extra={"event": "broker_away", "topic": self._topic, "error": str(error)},
            )

    # Flow

    def control(self, now: float) -> None:
        """Pause what is full, resume what has drained."""
        states = list(self._assignment)
        worker_records = sum(state.count for state in states)
        worker_bytes = sum(state.bytes for state in states)
        pause: list[TopicPartition] = []
        resume: list[TopicPartition] = []
        gates: dict[PartitionState, FlowGate] = {}
        for state in states:
            gate = gates[state] = self._gates.get(state) or FlowGate()
            flip = gate.decide(
                now,
                self._limits,
                records=state.count,
                held=state.held,
                worker_records=worker_records,
                worker_bytes=worker_bytes,
            )
            if flip is not None:
                (pause if flip == "pause" else resume).append(state.partition)
        self._gates = gates
        if pause:
            self._consumer.pause(pause)
        if resume:
            self._consumer.resume(resume)
        stats = self._stats
        stats.flips += len(pause) + len(resume)
        stats.buffered, stats.buffered_bytes = worker_records, worker_bytes
