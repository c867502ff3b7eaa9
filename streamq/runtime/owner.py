"""The owner of a processor's partitions: the one thread that touches consumer, lanes, trackers and commits.

Its loop is `tick`, a numbered list of small steps; nothing in it waits but the poll.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from streamq.config import ProcessorConfig, WorkerConfig
from streamq.core.flow import FlowLimits
from streamq.core.lanes import KeyScheduler
from streamq.core.partition import PartitionState, Phase
from streamq.model.clock import Clock, Deadline
from streamq.model.errors import StreamqError
from streamq.model.ports import AdminPort, ConsumerPort, ProducerPort
from streamq.model.records import TopicPartition
from streamq.runtime.assignment import Assignment, Prepare
from streamq.runtime.committer import Committer
from streamq.runtime.executor import Executor
from streamq.runtime.gate import StartGate
from streamq.runtime.intake import Bounds, Intake
from streamq.runtime.lag_gauge import LagGauge
from streamq.runtime.letters import Identity
from streamq.runtime.pacing import BUSY_S, Pacing
from streamq.runtime.parking import Parking
from streamq.runtime.report import Report
from streamq.runtime.sentences import tell_lost, tell_partitions, tell_running
from streamq.runtime.settler import Settler
from streamq.runtime.stats import OwnerStats

logger = logging.getLogger(__name__)

IDLE_S: Final = 0.1
"""Longest wait in one poll: what the loop does by the clock is late by at most this."""
CONTROL_S: Final = 0.005
WRITING_S: Final = 0.01
"""Longest wait while a transaction is under way: lanes wait for its end."""
PROGRESS_S: Final = 0.05
"""What is done of a run that goes on is settled so often: a handler that hangs holds up its own record only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerParts:
    """What an owner is made of: its outside, all injected."""

    topic: str
    identity: Identity
    config: ProcessorConfig
    worker: WorkerConfig
    consumer: ConsumerPort
    producer: ProducerPort
    admin: AdminPort
    clock: Clock
    chance: Callable[[], float]
    process: bytes
    prepare: Prepare
    make_executor: Callable[[StartGate], Executor]
    make_parking: Callable[[Committer], Parking] | None = None
    bounds: Bounds | None = None
    measure_lag: bool = False
    stats: OwnerStats = field(default_factory=lambda: OwnerStats(""))


def _limits(config: ProcessorConfig) -> FlowLimits:
    return FlowLimits(
        records=config.max_buffered_records,
        worker_records=5 * config.max_buffered_records,
        worker_bytes=config.max_buffered_bytes,
    )


class Owner:
    """Runs one processor's group member. All methods belong to one thread but `request_stop`, `gate` and `stats`."""

    def __init__(self, parts: OwnerParts) -> None:
        self._parts = parts
        self._clock = parts.clock
        self.stats = parts.stats
        self.gate = StartGate(parts.worker.session_timeout_s, self._clock.monotonic())
        self._scheduler = KeyScheduler()
        self._executor = parts.make_executor(self.gate)
        self._committer = self._make_committer()
        self._parking = None if parts.make_parking is None else parts.make_parking(self._committer)
        self._settler = self._make_settler()
        self._assignment = self._make_assignment()
        if self._parking is not None:
            self._committer.parking = self._parking
            self._parking.attach(self._assignment.retake, self._settler.give_up_plainly)
        self._intake = Intake(
            parts.topic, parts.consumer, self._assignment, _limits(parts.config), parts.stats, bounds=parts.bounds
        )
        lag = LagGauge(parts.admin, self._assignment, self._committer, parts.stats) if parts.measure_lag else None
        self._report = Report(
            parts.identity.group, self._executor, self._scheduler, self._assignment, self._intake, parts.stats, lag
        )
        self._pacing = Pacing(self._intake, self._executor, self._scheduler, self._assignment)
        self._stop_requested = False
        self.completed = False  # whether the bounds were reached
        self.joined_at: float | None = None
        self._draining: Deadline | None = None
        self._aborted = False
        self._failure: StreamqError | None = None
        self._control_at = self._progress_at = self._clock.monotonic()

    def _make_committer(self) -> Committer:
        parts = self._parts
        return Committer(
            parts.consumer,
            process=parts.process,
            interval_s=parts.worker.commit_interval_s,
            clock=parts.clock,
            gate=self.gate,
            stats=parts.stats,
        )

    def _make_settler(self) -> Settler:
        parts = self._parts
        return Settler(
            identity=parts.identity,
            policy=parts.config.retry,
            producer=parts.producer,
            clock=parts.clock,
            chance=parts.chance,
            stats=parts.stats,
            current=self._current,
            parking=self._parking,
        )

    def _make_assignment(self) -> Assignment:
        parts = self._parts
        return Assignment(
            group=parts.identity.group,
            ordering=parts.config.ordering,
            consumer=parts.consumer,
            admin=parts.admin,
            scheduler=self._scheduler,
            committer=self._committer,
            stragglers=self._settler.stragglers,
            prepare=parts.prepare,
            parking=self._parking,
        )

    # Life cycle

    def start(self) -> None:
        """Join the group."""
        self.joined_at = self._clock.monotonic()
        self._parts.consumer.subscribe(self._parts.topic, self)
        logger.info(
            "The worker joins its group",
            extra={"event": "join", "group": self._parts.identity.group, "topic": self._parts.topic},
        )

    def run(self) -> None:
        """Start, tick until a stop is requested or the bounds are reached, then drain and leave. Blocks.

        Raises:
            StreamqError: it cannot go on. What is unsettled is done again by the next owner.
        """
        self.start()
        try:
            while not self._stop_requested and not self.completed:
                self.tick()
                self.completed = self.finished()
            self.drain(self._parts.worker.drain_timeout_s)
        finally:
            self.close()

    def request_stop(self) -> None:
        """Ask `run` to drain and return. Any thread, also a signal handler."""
        self._stop_requested = True

    def request_abort(self) -> None:
        """Ask a drain to wait for no handler any more. Any thread, also a signal handler."""
        self._aborted = self._stop_requested = True

    def drain(self, timeout_s: float) -> bool:
        """Start nothing more, let what runs end, commit. Blocks at most `timeout_s`, polling on, so that a rebalance
        does not wait for this member. Whether all ended and is committed."""
        self._draining = deadline = Deadline(self._clock, timeout_s)
        states = list(self._assignment)
        self._parts.consumer.pause([state.partition for state in states])
        self._stop_states(states, deadline, polling=True)
        still = sum(self._running(state) for state in states)
        if still:
            self._tell_running(states, "A handler did not end before the worker left: its record runs again elsewhere")
        committed = self._commit_last(states, deadline, clean=not still)
        while not (committed or deadline.expired() or self._aborted):
            self._intake.poll(BUSY_S, 1)  # the group is between two generations: the commit is repeated in the next one
            committed = self._commit_last(list(self._assignment), deadline, clean=not still)
        logger.info(
            "The worker has drained",
            extra={"event": "drained", "group": self._parts.identity.group, "running": still, "committed": committed},
        )
        return committed and not still

    def close(self) -> None:
        """Leave the group and end the executor, as far as it ends. Idempotent."""
        if self._draining is None:
            self._draining = Deadline(self._clock, 0.0)
        self._parts.consumer.close(5.0)
        self._executor.stop(0.5)
        if self._parking is not None:
            self._parking.close(0.5)

    def finished(self) -> bool:
        """Whether the bounds are reached."""
        return self._intake.finished() and (self._parking is None or not self._parking.live)

    # Status

    def idle(self) -> bool:
        """Whether nothing runs, is ready or is under way; records that wait for a later attempt do not count."""
        return (
            not self._executor.in_flight
            and not self._scheduler.ready
            and not any(self._settler.pending(state) for state in self._assignment)
            and self._assignment.assigned == self._assignment.open
            and (self._parking is None or not self._parking.under_way)
        )

    def next_due(self) -> float | None:
        """When something happens by the clock alone: a retry or a dead letter's repetition. None if nothing does."""
        parked = None if self._parking is None else self._parking.next_due()
        due = [at for at in (self._scheduler.next_due, self._settler.next_due(), parked) if at is not None]
        return min(due, default=None)

    @property
    def reading(self) -> bool:
        """Whether all that is assigned is read."""
        return self._assignment.assigned == self._assignment.open

    # The loop

    def tick(self, most_s: float = IDLE_S) -> bool:
        """Go round once, waiting at most `most_s` seconds. Whether anything happened.

        1. note that the owner goes on, or that it stood still
        2. settle what came back: outcomes, and reports of dead letters
        3. wake the records whose next attempt is due
        4. open partitions as far as the answers about them allow
        5. what is parked: read on, wake what is due, take in a transaction's end, begin the next
        6. hand runnable records over to the executor
        7. commit, or take in a commit's answer; leave and rejoin if one got lost
        8. pause what is full, resume what has drained; settle what is done of runs that go on
        9. poll: new records, ends, rebalances
        10. report: gauges, handlers beyond their time-out
        """
        now = self._clock.monotonic()
        self.gate.tick(now)
        busy = self._settle(now)
        busy |= self._scheduler.wake(now) > 0
        busy |= self._assignment.advance(now)
        if self._parking is not None:
            busy |= self._parking.advance(now)
        busy |= self._hand_over()
        self._committer.advance(now, self._assignment)
        if self._committer.rejoin_wanted:
            self._rejoin()
        if now >= self._control_at:
            self._control_at = now + CONTROL_S
            self._intake.control(now)
        if now >= self._progress_at:
            self._progress_at = now + PROGRESS_S
            self._settle_under_way()
        busy |= self._pacing.poll(now, self._wait_s(now, most_s, busy=busy))
        self._report.advance(now)
        self._raise_failure()
        return busy

    def _settle(self, now: float) -> bool:
        completions = self._executor.collect()
        if completions:
            self._settler.settle(completions)
        return self._settler.advance(now) or bool(completions)

    def _settle_under_way(self) -> None:
        for run in self._executor.under_way():
            self._settler.settle_done(run)

    def _hand_over(self) -> bool:
        if self.gate.shut or self._draining is not None:
            return False
        room = self._executor.room
        if room <= 0 or not self._scheduler.ready:
            return False
        self._executor.hand_over(self._scheduler.take(room, self._executor.longest))
        return True

    def _wait_s(self, now: float, most_s: float, *, busy: bool) -> float:
        """How long there is nothing to do by the clock."""
        if busy or not most_s:
            return 0.0
        due = self.next_due()
        if self._parking is not None and self._parking.writer.busy:
            most_s = min(most_s, WRITING_S)
        until_commit = most_s if self._committer.waiting else self._committer.next_at - now
        return max(0.0, min(most_s, until_commit, most_s if due is None else due - now))

    def _rejoin(self) -> None:
        self._parts.consumer.rejoin()
        self._committer.rejoined()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    # Rebalances: called inside poll, rejoin and close. Never raise; what goes wrong is raised by the tick.

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """New partitions, paused: the coming ticks open them."""
        self.stats.rebalances["assigned"] += 1
        self._assignment.add(self._intake.wanted(partitions))
        tell_partitions(
            self._parts.identity.group, "Partitions are assigned: reading begins at their committed offsets", partitions
        )

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """They go: let what runs of them end, commit, forget. The partitions that stay go on meanwhile."""
        self.stats.rebalances["revoked"] += 1
        tell_partitions(self._parts.identity.group, "Partitions are revoked: what runs of them ends first", partitions)
        states = self._assignment.remove(partitions)
        try:
            deadline = self._draining or Deadline(self._clock, self._parts.worker.drain_timeout_s)
            self._stop_states(states, deadline)
            if self._draining is None and any(self._running(state) for state in states):
                self._tell_running(
                    states, "A handler still runs at the end of a rebalance: its record may run elsewhere at once"
                )
            self._commit_last(states, deadline)
            for state in states:
                self._assignment.forget(state)
        except StreamqError as error:
            self._failure = error

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """They are another's already: forget them, commit nothing."""
        self.stats.rebalances["lost"] += 1
        states = self._assignment.remove(partitions)
        try:
            for state in states:
                self._assignment.forget(state)
            self._executor.withdraw()
        except StreamqError as error:
            self._failure = error
        tell_lost(self._parts.identity.group, partitions, sum(state.running for state in states))

    def _stop_states(self, states: Sequence[PartitionState], deadline: Deadline, *, polling: bool = False) -> None:
        """Start nothing more of these; settle what runs until all is in or the deadline is over."""
        for state in states:
            state.stop()
        self._executor.withdraw()
        while self._unfinished(states) and not deadline.expired() and not self._aborted:
            self._go_on()
            if polling:
                self._intake.poll(0.0, 1)
            self._executor.wait(min(BUSY_S, deadline.remaining_s()))
        self._settle(self._clock.monotonic())
        self._settle_under_way()

    def _go_on(self) -> None:
        """What the loop does while one of its steps must wait: the partitions that stay are served."""
        now = self._clock.monotonic()
        self.gate.tick(now)
        self._settle(now)
        self._scheduler.wake(now)
        self._hand_over()

    def _commit_last(self, states: Sequence[PartitionState], deadline: Deadline, *, clean: bool = False) -> bool:
        """Write and commit what is settled of partitions that go. Whether all was accepted."""
        if self._parking is not None:
            self._committer.settle(deadline, self._go_on)
            self._parking.finish(states, deadline, self._go_on)
        return self._committer.finish(states, deadline, self._go_on, clean=clean)

    def _unfinished(self, states: Sequence[PartitionState]) -> bool:
        return any(
            state.phase is not Phase.CLOSED and (self._running(state) or self._settler.pending(state))
            for state in states
        )

    def _running(self, state: PartitionState) -> int:
        return state.running + (0 if self._parking is None else self._parking.running(state))

    def _current(self, partition: TopicPartition) -> PartitionState | None:
        return self._assignment.get(partition)

    def _tell_running(self, states: Sequence[PartitionState], sentence: str) -> None:
        for work in self._executor.at_work():
            if work.lane.partition in states:
                tell_running(self._parts.identity.group, work, sentence, None)
