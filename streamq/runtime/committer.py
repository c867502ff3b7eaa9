"""Sends offsets and maps to the group's coordinator: one commit at a time, never backwards, only for what is owned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, NamedTuple

from streamq.core.offset_map import encode_map
from streamq.core.partition import PartitionState
from streamq.model.clock import Clock, Deadline
from streamq.model.errors import (
    BrokerError,
    FatalBrokerError,
    FencedError,
    InvariantError,
    OutcomeUnknownError,
    StaleMemberError,
)
from streamq.model.ports import CommitAnswer, ConsumerPort
from streamq.model.records import CommitPoint, NextOffset, TopicPartition
from streamq.runtime.gate import StartGate
from streamq.runtime.stats import OwnerStats

if TYPE_CHECKING:
    from streamq.runtime.parking import Parking

logger = logging.getLogger(__name__)

ANSWER_S = 30.0
"""A commit without an answer for so long is of unknown outcome."""
GRACE_S = 2.0
"""What a last commit has for its answer, even if handlers took all the time there was: what they finished counts."""
LOOK_S = 0.02
SHUT_S = 0.2
"""So often a commit is sent while the start gate waits for one to be accepted."""


class InFlight(NamedTuple):
    """The commit that was sent and not answered."""

    points: Mapping[TopicPartition, tuple[PartitionState, CommitPoint]]
    answer: Future[CommitAnswer]
    sent_at: float


class Committer:
    """Owner thread only.

    A plain commit whose outcome is unknown could take effect late and override a newer one: `rejoin_wanted` then asks
    the owner to leave the group and come back, which makes it stale.
    """

    def __init__(
        self,
        consumer: ConsumerPort,
        *,
        process: bytes,
        interval_s: float,
        clock: Clock,
        gate: StartGate,
        stats: OwnerStats,
    ) -> None:
        self._consumer = consumer
        self._process = process
        self._interval_s = interval_s
        self._clock = clock
        self._gate = gate
        self._stats = stats
        self._committed: dict[PartitionState, CommitPoint] = {}
        self._in_flight: InFlight | None = None
        self._next_at = clock.monotonic() + interval_s
        self._without_map: set[PartitionState] = set()
        self._failing = False
        self.rejoin_wanted = False
        self.parking: Parking | None = None

    @property
    def next_at(self) -> float:
        """When the next periodic commit is due."""
        return self._next_at

    def rejoined(self) -> None:
        """The old membership is over, and with it whatever was sent under it."""
        self._in_flight = None
        self.rejoin_wanted = False

    @property
    def waiting(self) -> bool:
        """Whether a commit is on its way."""
        return self._in_flight is not None

    def opened(self, state: PartitionState, point: CommitPoint | None) -> None:
        """An epoch begins; `point` is what stands committed."""
        self._committed[state] = point if point is not None else CommitPoint(NextOffset(-1))

    def closed(self, state: PartitionState) -> None:
        """An epoch is over: nothing of it is committed any more."""
        self._committed.pop(state, None)
        self._without_map.discard(state)

    def committed(self, state: PartitionState) -> NextOffset:
        """The offset that stands committed for an epoch, -1 if none does."""
        return self._committed[state].next_offset

    def advance(self, now: float, states: Iterable[PartitionState]) -> None:
        """Take in an answer; send what has changed when the interval is over (or at once after a standstill)."""
        if self._in_flight is not None:
            self._take_answer(now)
        if self.rejoin_wanted:
            return  # nothing more is sent on a membership that is about to end
        if self._in_flight is None and now >= self._next_at and not self._in_transaction:
            self._next_at = now + (SHUT_S if self._gate.shut else self._interval_s)
            self._send(self._points(states, all_of_them=self._gate.shut), now)

    @property
    def quiet(self) -> bool:
        """Whether nothing of unknown outcome was sent: a transaction may begin."""
        return self._in_flight is None and not self.rejoin_wanted

    def settle(self, deadline: Deadline, meanwhile: Callable[[], None]) -> None:
        """Wait for the commit in flight, as `finish` does."""
        if self._in_flight is not None:
            self._wait(Deadline(self._clock, max(GRACE_S, deadline.remaining_s())), meanwhile)

    @property
    def _in_transaction(self) -> bool:
        """A plain commit overrides offsets in a transaction whose end is not known."""
        return self.parking is not None and self.parking.writer.busy

    def took(self, state: PartitionState, point: CommitPoint, sent_at: float) -> None:
        """A transaction has committed this."""
        if state in self._committed:
            self._committed[state] = point
        self._gate.accepted(sent_at)

    def finish(
        self,
        states: Iterable[PartitionState],
        deadline: Deadline,
        meanwhile: Callable[[], None],
        *,
        clean: bool = False,
    ) -> bool:
        """Commit these before they go: wait for the commit in flight, send the last one, wait for its answer. Blocks
        until the deadline at most, and `GRACE_S` in any case; `meanwhile` is called again and again, so that what stays
        goes on. Whether all were accepted; what was not is done again by the next owner."""
        deadline = Deadline(self._clock, max(GRACE_S, deadline.remaining_s()))
        if self._in_flight is not None and not self._wait(deadline, meanwhile):
            return False
        if self._in_transaction:
            return False
        states = list(states)
        written = self.parking is None or not any(self.parking.unwritten(state) for state in states)
        points = self._points(states, clean=clean)
        if not points:
            return written
        self._send(points, self._clock.monotonic())
        return (
            self._wait(deadline, meanwhile)
            and written
            and all(self._committed.get(state) == point for state, point in points.values() if state in self._committed)
        )

    def _points(
        self, states: Iterable[PartitionState], *, all_of_them: bool = False, clean: bool = False
    ) -> dict[TopicPartition, tuple[PartitionState, CommitPoint]]:
        points = {}
        for state in states:
            last = self._committed.get(state)
            if last is None:
                continue
            parked = None if self.parking is None else self.parking.of(state.partition)
            if parked is not None and not parked.plain_commit_allowed:
                continue  # pending first: what is settled in the journal is written there with it
            offsets = state.snapshot(self._process, clean=clean, journal=None if parked is None else parked.mark)
            text = "" if state in self._without_map else encode_map(offsets)
            point = CommitPoint(NextOffset(offsets.base), text)
            if point.next_offset < last.next_offset:
                raise InvariantError(
                    f"{state.partition}: offset {point.next_offset} would be committed after {last.next_offset}"
                )
            if all_of_them or point != last:
                points[state.partition] = (state, point)
        return points

    def _send(self, points: Mapping[TopicPartition, tuple[PartitionState, CommitPoint]], now: float) -> None:
        if points:
            answer = self._consumer.commit({partition: point for partition, (_, point) in points.items()})
            self._in_flight = InFlight(points, answer, now)

    def _wait(self, deadline: Deadline, meanwhile: Callable[[], None]) -> bool:
        while self._in_flight is not None:
            try:
                self._in_flight.answer.result(min(LOOK_S, deadline.remaining_s()))
            except FutureTimeoutError:
                if deadline.expired():
                    self._unknown()
                    return False
                meanwhile()
            else:
                self._take_answer(self._clock.monotonic())
        return True

    def _take_answer(self, now: float) -> None:
        flight = self._in_flight
        if flight is None:
            return
        if not flight.answer.done():
            if now - flight.sent_at > ANSWER_S:
                self._unknown()
            return
        self._in_flight = None
        accepted = 0
        for partition, error in flight.answer.result().items():
            state, point = flight.points[partition]
            if error is not None:
                self._not_accepted(state, error)
                continue
            accepted += 1
            if state in self._committed:
                self._committed[state] = point
        if accepted:
            self._stats.commits["ok"] += 1
            self._gate.accepted(flight.sent_at)
            self._recovered()

    def _not_accepted(self, state: PartitionState, error: BrokerError) -> None:
        match error:
            case FencedError():
                raise error
            case StaleMemberError():
                # The next heartbeat tells what is still owned; the next interval repeats it for that.
                self._stats.commits["stale"] += 1
            case OutcomeUnknownError():
                self._unknown()
            case FatalBrokerError(code="OFFSET_METADATA_TOO_LARGE"):
                self._stats.commits["failed"] += 1
                self._without_map.add(state)
                logger.error(
                    "The broker takes less commit metadata than Kafka's default of 4096: offsets are committed without "
                    "the map, so that after a crash finished records above the committed offset run again",
                    extra={"event": "map_refused", "partition": state.partition.partition, "error": str(error)},
                )
            case FatalBrokerError():
                raise error
            case _:
                self._stats.commits["failed"] += 1
                if not self._failing:
                    self._failing = True
                    logger.warning(
                        "Commits are not accepted: work goes on, they are repeated; a crash now repeats more records",
                        extra={"event": "commit_failed", "partition": state.partition.partition, "error": str(error)},
                    )

    def _recovered(self) -> None:
        if self._failing:
            self._failing = False
            logger.info("Commits are accepted again", extra={"event": "commit_recovered"})

    def _unknown(self) -> None:
        self._in_flight = None
        if self.rejoin_wanted:
            return  # said already, of another partition of the same commit
        self._stats.commits["unknown"] += 1
        self.rejoin_wanted = True
        logger.error(
            "A commit got no answer and may still take effect: the worker leaves the group and joins it anew, records "
            "since the last accepted commit may run again",
            extra={"event": "commit_unknown"},
        )
