"""From "assigned" to "open": what stands committed is asked for, the client is sought there, reading begins.

    assigned, paused ──► derived topics reach so far? ──► committed offset and map? ──► start or end offset?
                     ──► what is parked? ──► open

Each step is an answer that is waited for without waiting: the owner's loop looks at it once a tick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from streamq.config import Ordering
from streamq.core.lanes import KeyScheduler
from streamq.core.offset_map import OffsetMap, decode_map
from streamq.core.partition import PartitionState
from streamq.model.errors import BrokerError, RetriableError, StreamqError
from streamq.model.ports import AdminPort, ConsumerPort
from streamq.model.records import CommitPoint, Earliest, Latest, NextOffset, OffsetSpec, TopicPartition
from streamq.runtime.committer import Committer
from streamq.runtime.parking import Parking, TopicIds
from streamq.runtime.settler import Stragglers

logger = logging.getLogger(__name__)

AGAIN_S = 0.5
UNDECIDED_S = 0.1

Committed = Mapping[TopicPartition, CommitPoint | None]


class Covered(NamedTuple):
    """How many of the source's partitions the derived topics cover, and which topics these are."""

    partitions: int
    ids: TopicIds | None


Prepare = Callable[[], Future[Covered]]
"""Makes the derived topics reach as far as the source."""


class Opening(NamedTuple):
    """A partition on its way to being read. `lost` is set when its position turned out not to exist: the offset that
    retention took; it then goes on at the earliest."""

    epoch: int
    lost: NextOffset | None = None


class Plan(NamedTuple):
    """Where a partition opens."""

    epoch: int
    base: NextOffset
    restored: OffsetMap | None
    committed: CommitPoint | None


class Built(NamedTuple):
    """A partition that opens as soon as all that is parked of it is known, and the client can be sought."""

    plan: Plan
    state: PartitionState


class Assignment:
    """The partitions of one owner. Owner thread only."""

    def __init__(
        self,
        *,
        group: str,
        ordering: Ordering,
        consumer: ConsumerPort,
        admin: AdminPort,
        scheduler: KeyScheduler,
        committer: Committer,
        stragglers: Stragglers,
        prepare: Prepare,
        parking: Parking | None = None,
    ) -> None:
        self._group = group
        self._ordering: Ordering = ordering
        self._consumer = consumer
        self._admin = admin
        self._scheduler = scheduler
        self._committer = committer
        self._stragglers = stragglers
        self._prepare = prepare
        self._parking = parking
        self._epoch = 0
        self._prepared = 0
        self._ids: TopicIds | None = None
        self._opening: dict[TopicPartition, Opening] = {}
        self._states: dict[TopicPartition, PartitionState] = {}
        self._covering: Future[Covered] | None = None
        self._asking: tuple[dict[TopicPartition, Opening], Future[Committed]] | None = None
        self._locating: tuple[dict[TopicPartition, Plan], Future[Mapping[TopicPartition, NextOffset]]] | None = None
        self._built: dict[TopicPartition, Built] = {}
        self._ask_at = 0.0

    # What there is

    def get(self, partition: TopicPartition) -> PartitionState | None:
        """The open state of a partition; None if it is not open."""
        return self._states.get(partition)

    def __iter__(self) -> Iterator[PartitionState]:
        return iter(self._states.values())

    @property
    def open(self) -> int:
        """How many partitions are read."""
        return len(self._states)

    @property
    def assigned(self) -> int:
        """How many partitions this owner has, those on their way included."""
        return len(self._states) + len(self._opening)

    # What the group says

    def add(self, partitions: Sequence[TopicPartition]) -> None:
        """New partitions, each in an epoch of its own."""
        for partition in partitions:
            self._epoch += 1
            self._opening[partition] = Opening(self._epoch)
        self._ask_at = 0.0

    def remove(self, partitions: Sequence[TopicPartition]) -> list[PartitionState]:
        """Partitions that go. Returns the states that were open, for the caller to close."""
        gone = []
        for partition in partitions:
            self._opening.pop(partition, None)
            if self._built.pop(partition, None) is not None and self._parking is not None:
                self._parking.forget(partition)
            state = self._states.pop(partition, None)
            if state is not None:
                gone.append(state)
        return gone

    def forget(self, state: PartitionState) -> None:
        """End an epoch: what still runs occupies its keys in the next one."""
        self._committer.closed(state)
        self._stragglers.add(state.partition, state.close())
        if self._parking is not None:
            self._stragglers.add(state.partition, self._parking.forget(state.partition))

    def retake(self, partitions: Sequence[TopicPartition]) -> None:
        """Forget what is known of these, and learn it anew, each in a new epoch: nobody knows what took effect. Those
        that are being revoked at this moment are the next owner's to learn."""
        ours = [partition for partition in partitions if partition in self._states or partition in self._opening]
        self._consumer.pause(ours)
        for state in self.remove(ours):
            self.forget(state)
        self.add(ours)

    def reopen(self, partition: TopicPartition, lost: NextOffset) -> None:
        """The position `lost` does not exist any more: go on at the earliest, in a new epoch."""
        for state in self.remove([partition]):
            self.forget(state)
        self._epoch += 1
        self._opening[partition] = Opening(self._epoch, lost)
        self._ask_at = 0.0

    # The way to being open, a look a tick

    def advance(self, now: float) -> bool:
        """Go as far as the answers allow. Whether a partition was opened."""
        if not self._opening:
            return False
        self._cover(now)
        self._ask(now)
        self._locate(now)
        return self._open(now)

    def _cover(self, now: float) -> None:
        """Derived topics first: a new partition of the source is not read before they reach so far."""
        if self._covering is not None and self._covering.done():
            covering, self._covering = self._covering, None
            try:
                self._prepared, self._ids = covering.result()
            except StreamqError as error:
                self._ask_at = now + 20 * AGAIN_S
                logger.error(
                    "A derived topic does not reach as far as its source: the new partitions are not read, "
                    "it is tried again",
                    extra={"event": "topics_not_ready", "group": self._group, "error": str(error)},
                )
        needed = 1 + max(partition.partition for partition in self._opening)
        if needed > self._prepared and self._covering is None and now >= self._ask_at:
            self._covering = self._prepare()

    def _ask(self, now: float) -> None:
        if self._asking is not None:
            self._take_committed(now)
        if self._asking is None and self._locating is None and now >= self._ask_at:
            wanted = {
                partition: opening
                for partition, opening in self._opening.items()
                if partition not in self._built and partition.partition < self._prepared
            }
            if wanted:
                self._asking = wanted, self._admin.group_offsets(self._group, list(wanted))

    def _take_committed(self, now: float) -> None:
        if self._asking is None or not self._asking[1].done():
            return
        (asked, answer), self._asking = self._asking, None
        try:
            committed = answer.result()
        except BrokerError as error:
            self._wait_for_answer(now, error)
            return
        if len(committed) < len(asked):
            self._ask_at = now + UNDECIDED_S  # some are in a transaction whose end is not known yet
        plans = {
            partition: self._plan(partition, opening, committed[partition])
            for partition, opening in asked.items()
            if partition in committed
        }
        specs = {partition: self._spec(asked[partition], plan) for partition, plan in plans.items()}
        if specs:
            self._locating = plans, self._admin.list_offsets(specs)

    def _plan(self, partition: TopicPartition, opening: Opening, committed: CommitPoint | None) -> Plan:
        if committed is None or opening.lost is not None:
            return Plan(opening.epoch, NextOffset(0), None, committed)
        restored = decode_map(committed.metadata)
        if restored is None and committed.metadata:
            self._warn_map(partition, "it is not readable or not ours")
        elif restored is not None and restored.base != committed.next_offset:
            self._warn_map(partition, "it belongs to another offset: somebody moved the group's")
            restored = None
        return Plan(opening.epoch, committed.next_offset, restored, committed)

    @staticmethod
    def _spec(opening: Opening, plan: Plan) -> OffsetSpec:
        """The end, to check a map against it; the earliest offset where nothing is committed or retained."""
        return Earliest() if plan.committed is None or opening.lost is not None else Latest()

    def _warn_map(self, partition: TopicPartition, why: str) -> None:
        logger.warning(
            "The map beside a committed offset is ignored: finished records above the offset run again",
            extra={"event": "map_ignored", "group": self._group, "partition": partition.partition, "why": why},
        )

    def _locate(self, now: float) -> None:
        if self._locating is None or not self._locating[1].done():
            return
        (plans, answer), self._locating = self._locating, None
        try:
            located = answer.result()
        except BrokerError as error:
            self._wait_for_answer(now, error)
            return
        for partition, plan in plans.items():
            opening = self._opening.get(partition)
            if opening is not None and opening.epoch == plan.epoch and partition in located:
                self._build(partition, self._placed(partition, opening, plan, located[partition]))

    def _placed(self, partition: TopicPartition, opening: Opening, plan: Plan, located: NextOffset) -> Plan:
        if opening.lost is not None:
            logger.error(
                "A position was not retained: records are lost to this group, work goes on at the earliest",
                extra={
                    "event": "retention_overtook",
                    "group": self._group,
                    "partition": partition.partition,
                    "from_offset": opening.lost,
                    "earliest": located,
                    "records_gone_at_most": max(0, located - opening.lost),
                },
            )
            return plan._replace(base=located)
        if plan.committed is None:
            return plan._replace(base=located)
        if plan.restored is not None and plan.restored.end > located:
            self._warn_map(partition, "it reaches beyond the partition's end: the log was cut or the topic made anew")
            return plan._replace(restored=None)
        return plan

    def _wait_for_answer(self, now: float, error: BrokerError) -> None:
        if now >= self._ask_at:
            logger.warning(
                "The committed offsets could not be read: the partitions wait, it is tried again",
                extra={"event": "offsets_not_read", "group": self._group, "error": str(error)},
            )
        self._ask_at = now + AGAIN_S

    def _build(self, partition: TopicPartition, plan: Plan) -> None:
        state = PartitionState(
            partition,
            plan.epoch,
            self._scheduler,
            plan.base,
            ordering=self._ordering,
            restored=plan.restored,
            blocked=self._stragglers.keys(partition),
        )
        self._built[partition] = Built(plan, state)
        if self._parking is not None and self._ids is not None:
            self._parking.take_over(state, plan.restored, self._ids)

    def _open(self, now: float) -> bool:
        opened = False
        for partition, (plan, state) in list(self._built.items()):
            if self._parking is not None and not self._parking.ready(partition):
                continue
            try:
                self._consumer.seek(partition, plan.base)
            except RetriableError:
                continue  # the client has not started fetching it: the next tick
            del self._built[partition]
            del self._opening[partition]
            self._states[partition] = state
            if self._parking is not None:
                self._parking.open(partition)
            self._unblock(state)
            self._committer.opened(state, plan.committed if plan.base == self._at(plan.committed) else None)
            self._consumer.resume([partition])
            opened = True
        return opened

    def _unblock(self, state: PartitionState) -> None:
        """Runs of earlier epochs that have ended while the partition was on its way."""
        for key in state.blocked.difference(self._stragglers.keys(state.partition)):
            state.unblock(key)
            if self._parking is not None:
                self._parking.unblock(state.partition, key)

    @staticmethod
    def _at(committed: CommitPoint | None) -> NextOffset | None:
        return None if committed is None else committed.next_offset
