"""From outcomes to settled records: done, again later, or into the dead-letter topic.

A record is settled only when its outcome is durable: a dead letter is confirmed by the broker first. What the
dead-letter topic does not take waits at the head of its lane and is tried again; nothing is dropped.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple, assert_never

from streamq.core.lanes import Lane, LaneKey, LaneOwner, Run, Work
from streamq.core.partition import PartitionState, Phase
from streamq.core.retry import RetryPolicy
from streamq.model.clock import Clock
from streamq.model.errors import BrokerError, FatalBrokerError, FencedError, RecordTooLargeError
from streamq.model.outcomes import Dead, Done, Outcome, Retry
from streamq.model.ports import ProducerPort
from streamq.model.records import Delivery, TopicPartition
from streamq.runtime.executor import Completion
from streamq.runtime.letters import TRIMS, Identity, dead_letter, tell_dead
from streamq.runtime.parking import Parking
from streamq.runtime.stats import OwnerStats

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
UNKNOWN_PARTITION = "_UNKNOWN_PARTITION"
"""The one refusal of a producer that passes: its topic has grown and the client does not know yet."""


class DeadLetter(NamedTuple):
    """A record that is given up and not yet confirmed in the dead-letter topic."""

    work: Work
    dead: Dead
    at_ms: int
    failures: int = 0
    trims: int = 0


class Stragglers:
    """Runs of earlier epochs of this process that still go on; each occupies its key."""

    def __init__(self) -> None:
        self._running: dict[TopicPartition, dict[LaneKey, Lane]] = {}

    def add(self, partition: TopicPartition, lanes: Sequence[Lane]) -> None:
        """Something of these ran on when their epoch ended."""
        if lanes:
            self._running.setdefault(partition, {}).update((lane.key, lane) for lane in lanes)

    def keys(self, partition: TopicPartition) -> Sequence[LaneKey]:
        """The keys that are occupied in a partition."""
        return tuple(self._running.get(partition, ()))

    def ended(self, lane: Lane) -> LaneKey | None:
        """A run of a closed epoch has come back. Returns the key that is free now, None if it did not occupy one."""
        partition = lane.partition.partition
        running = self._running.get(partition, {})
        if running.get(lane.key) is not lane:
            return None
        del running[lane.key]
        if not running:
            del self._running[partition]
        return lane.key


class Settler:
    """Owner thread only, but for the producer's reports, which come in through a queue."""

    def __init__(
        self,
        *,
        identity: Identity,
        policy: RetryPolicy,
        producer: ProducerPort,
        clock: Clock,
        chance: Callable[[], float],
        stats: OwnerStats,
        current: Callable[[TopicPartition], PartitionState | None],
        parking: Parking | None = None,
    ) -> None:
        self._identity = identity
        self._policy = policy
        self._producer = producer
        self._clock = clock
        self._chance = chance
        self._stats = stats
        self._current = current
        self._parking = parking
        self.stragglers = Stragglers()
        self._reports: deque[tuple[DeadLetter, Delivery | BrokerError]] = deque()
        self._again: list[tuple[float, int, DeadLetter]] = []
        self._sequence = 0
        self._pending: dict[int, DeadLetter] = {}

    def pending(self, state: PartitionState) -> int:
        """Dead letters of a partition-epoch that are under way; those that wait to be tried again do not count."""
        waiting = {id(letter.work) for _, _, letter in self._again}
        return sum(letter.work.lane.partition is state for at, letter in self._pending.items() if at not in waiting)

    def next_due(self) -> float | None:
        """When a refused dead letter is tried again; None if none waits."""
        return self._again[0][0] if self._again else None

    def settle(self, completions: Sequence[Completion]) -> None:
        """Apply what came back from the executor."""
        ran, spent_s = 0, 0.0
        slow: list[float] = []
        for run, outcome in completions:
            state = run.lane.partition
            if state.phase is Phase.CLOSED:
                self._late(run.lane)
                continue
            state.returned(len(run.works))
            ran += run.done + (outcome is not None)
            spent_s += run.spent_s
            slow += run.slow
            self.settle_done(run)
            if run.done == len(run.works):
                state.end(run)
            elif outcome is None:
                state.withdraw(run.works[run.done])
            else:
                self._apply(state, run.works[run.done], outcome)
        self._stats.ran(ran, spent_s, slow)

    def settle_done(self, run: Run) -> None:
        """Settle what is done of a run, which may go on."""
        state = run.lane.partition
        if run.done > run.settled and state.phase is not Phase.CLOSED:
            before = run.settled
            state.settle_done(run)
            self._stats.done += run.settled - before

    def advance(self, now: float) -> bool:
        """Take in the producer's reports, and try again what was refused. Whether there was anything."""
        busy = bool(self._reports)
        while self._reports:
            letter, report = self._reports.popleft()
            if isinstance(report, Delivery):
                self._confirmed(letter)
            else:
                self._refused(letter, report, now)
        while self._again and self._again[0][0] <= now:
            busy = True
            self._produce(heappop(self._again)[2], now)
        return busy

    def _late(self, lane: Lane) -> None:
        """A run of an epoch that is over: its outcome counts for nothing, but its key is free now."""
        key = self.stragglers.ended(lane)
        state = self._current(lane.partition.partition)
        if key is not None and state is not None:
            state.unblock(key)
            if self._parking is not None:
                self._parking.unblock(state.partition, key)

    def _apply(self, state: LaneOwner, work: Work, outcome: Outcome) -> None:
        match outcome:
            case Done():
                self._stats.done += 1
                state.settle(work)
            case Retry():
                self._retry(state, work, outcome)
            case Dead():
                self._give_up(state, work, outcome)
            case _:
                assert_never(outcome)

    def _retry(self, state: LaneOwner, work: Work, outcome: Retry) -> None:
        self._stats.failed += 1
        fields = {
            "partition": state.partition.partition,
            "offset": work.record.offset,
            "attempt": work.attempt,
            "error_type": outcome.failure.error_type,
        }
        if outcome.counts and self._policy.exhausted(work.attempt):
            self._give_up(state, work, Dead("attempts", outcome.failure))
            return
        delay_s = outcome.delay_s
        if delay_s is None:
            delay_s = self._policy.delay_s(work.attempt, self._chance())
        due_at = self._clock.monotonic() + delay_s
        state.retry(work, due_at, counts=outcome.counts)
        if self._parking is not None:
            self._parking.failed(work, due_at, delay_s)
        logger.warning(
            "An attempt failed: the record is attempted again, later records of its key wait for it",
            extra={"event": "attempt_failed", "delay_s": round(delay_s, 3), "topic": work.record.topic, **fields},
        )

    # Dead letters

    def _give_up(self, state: LaneOwner, work: Work, dead: Dead) -> None:
        state.hold(work)
        if self._parking is None or not self._parking.give_up(work, dead):
            self.give_up_plainly(work, dead)

    def give_up_plainly(self, work: Work, dead: Dead) -> None:
        """Produce the dead letter of a head that is held, and settle it when it is confirmed: without a transaction."""
        letter = DeadLetter(work, dead, int(self._clock.time() * 1000))
        self._pending[id(work)] = letter
        self._produce(letter, self._clock.monotonic())

    def _produce(self, letter: DeadLetter, now: float) -> None:
        if letter.work.lane.partition.phase is Phase.CLOSED:
            self._pending.pop(id(letter.work), None)
            return
        reports = self._reports
        try:
            outgoing = dead_letter(
                self._identity, letter.work.record, letter.work.attempt, letter.dead, letter.at_ms, letter.trims
            )
            self._producer.produce(outgoing, lambda report: reports.append((letter, report)))
        except BrokerError as error:
            if _is_the_end(error):
                # To try again would hold the keys for ever. The record is unsettled: who starts next gives it up anew.
                raise
            self._refused(letter, error, now)

    def _confirmed(self, letter: DeadLetter) -> None:
        self._pending.pop(id(letter.work), None)
        state = letter.work.lane.partition
        if state.phase is Phase.CLOSED:
            return
        self._stats.dead[letter.dead.reason] += 1
        state.settle(letter.work)
        tell_dead(self._identity, letter.work.record, letter.work.attempt, letter.dead)

    def _refused(self, letter: DeadLetter, error: BrokerError, now: float) -> None:
        self._stats.dead_failures += 1
        if isinstance(error, RecordTooLargeError) and letter.trims < TRIMS:
            self._produce(letter._replace(trims=letter.trims + 1), now)
            return
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(letter.failures, 10))
        self._sequence += 1
        heappush(self._again, (now + pause_s, self._sequence, letter._replace(failures=letter.failures + 1)))
        record = letter.work.record
        logger.error(
            "The dead-letter topic did not take a record: the record stays unsettled, its key waits, it is tried again",
            extra={
                "event": "dead_letter_refused",
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "dead_letter_topic": self._identity.dead_letter_topic,
                "error": str(error),
                "pause_s": pause_s,
            },
        )


def _is_the_end(error: BrokerError) -> bool:
    """Whether a producer that raises this takes nothing any more, whatever it is asked (its port's contract)."""
    if isinstance(error, RecordTooLargeError) or error.code == UNKNOWN_PARTITION:
        return False
    return isinstance(error, FencedError | FatalBrokerError)
