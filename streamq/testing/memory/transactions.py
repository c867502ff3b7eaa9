"""The transactional producer of the in-memory cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from streamq.model.errors import (
    BrokerError,
    FatalBrokerError,
    FencedError,
    InvariantError,
    OutcomeUnknownError,
    RecordTooLargeError,
    RetriableError,
    StaleMemberError,
)
from streamq.model.records import Offset, OutgoingRecord, TopicPartition
from streamq.model.transactions import (
    Aborted,
    Batch,
    Committed,
    Membership,
    OutcomeUnknown,
    Stale,
    StepHook,
    TransactionResult,
    TransactionStep,
)
from streamq.testing.memory.faults import Fault
from streamq.testing.memory.groups import Member
from streamq.testing.memory.world import World, unreachable

SEND_S: Final = 4.0
_OF_RECORD: Final = frozenset({"INVALID_TIMESTAMP", "INVALID_RECORD"})
_OF_PARTITION: Final = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION", "TOPIC_AUTHORIZATION_FAILED"})


class MemoryMembership(NamedTuple):
    """A member, and its generation at that moment."""

    member: Member
    generation: int


class MemoryTransactions:
    """See `TransactionPort`."""

    def __init__(self, world: World, transactional_id: str, on_step: StepHook | None = None) -> None:
        self._world = world
        self._id = transactional_id
        self._on_step = on_step
        self._epoch = 0
        self._over: BrokerError | None = FatalBrokerError(f"transactions as {transactional_id}: no session was begun")
        self._closed = False

    def begin_session(self, timeout_s: float) -> None:
        """Decide what a predecessor left."""
        if self._closed:
            raise self._over or FatalBrokerError(f"transactions as {self._id} are closed")
        world = self._world
        found: list[int] = []

        def begin() -> bool:
            with world.lock:
                epoch = None if world.is_away else world.transactions.begin_session(self._id)
                if epoch is not None:
                    found.append(epoch)
            return bool(found)

        if not world.wait_until(begin, timeout_s):
            world.check_reachable(f"beginning transactions as {self._id}")
            raise RetriableError(f"transactions as {self._id}: the last one is still being ended", code="_TIMED_OUT")
        self._epoch, self._over = found[0], None
        world.changed()

    def run(self, batch: Batch, membership: Membership) -> TransactionResult:
        """As the port says."""
        if self._over is not None:
            raise self._over
        result = self._refusal(batch)
        if result is not None:
            return result
        self._step("before_begin")
        try:
            return self._run(batch, cast("MemoryMembership", membership))
        except FencedError as error:
            self._over = error
            raise
        finally:
            self._world.changed()

    def close(self) -> None:
        """What is open stays open."""
        self._closed = True
        self._over = self._over or FatalBrokerError(f"transactions as {self._id} are closed")

    # One transaction

    def _refusal(self, batch: Batch) -> Aborted | None:
        """What a client finds before it begins."""
        if not self._await_brokers():
            return Aborted(self._unanswered())
        places = [_place(outgoing) for outgoing in batch.records]
        for place in [*places, *batch.points]:
            if self._world.topics.log(place) is None:
                return Aborted(
                    RetriableError(f"{self._what}: {place} does not exist", code="UNKNOWN_TOPIC_OR_PART"), None, place
                )
        return None

    def _run(self, batch: Batch, membership: MemoryMembership) -> TransactionResult:
        fault = self._world.faults.next_transaction()
        places, refused = self._write(batch)
        if refused is not None:
            return self._abort(refused)
        self._step("after_produce")
        self._step("before_send_offsets")
        refusal = self._send_points(batch, membership)
        if refusal is not None:
            return self._abort(refusal)
        self._step("after_send_offsets")
        if fault is not None and fault.error is not None and not isinstance(fault.error, OutcomeUnknownError):
            return self._abort(Aborted(fault.error))
        self._step("before_commit")
        return self._commit(fault, places)

    def _write(self, batch: Batch) -> tuple[Sequence[Offset], Aborted | None]:
        world, places = self._world, list[Offset]()
        for number, outgoing in enumerate(batch.records):
            place = _place(outgoing)
            fault = world.faults.next_produce(outgoing.topic)
            if not self._await_brokers() or (fault is not None and fault.delay_s > SEND_S):
                late = f"{self._what}: a record for {place} was not confirmed in time"
                return places, Aborted(RetriableError(late, code="_MSG_TIMED_OUT"))
            try:
                if fault is not None and fault.error is not None and not isinstance(fault.error, OutcomeUnknownError):
                    raise fault.error
                with world.lock:
                    delivery = world.transactions.append(self._id, self._epoch, outgoing, place.partition)
            except FencedError:
                raise
            except BrokerError as error:
                return places, _blaming(error, number, place)
            places.append(delivery.offset)
        return places, None

    def _send_points(self, batch: Batch, membership: MemoryMembership) -> Aborted | Stale | None:
        if not batch.points:
            return None
        if not self._await_brokers():
            return Aborted(self._unanswered())
        world = self._world
        with world.lock:
            member, generation = membership
            refused = world.transactions.hold(self._id, self._epoch, member, generation, batch.points)
        if refused is None:
            return None
        error, partition = refused
        if isinstance(error, StaleMemberError) or error.code == "FENCED_INSTANCE_ID":
            return Stale(error)
        return Aborted(error, None, partition)

    def _commit(self, fault: Fault | None, places: Sequence[Offset]) -> TransactionResult:
        world = self._world
        if not self._await_brokers():
            return self._unknown(self._unanswered())
        lost = fault.error if fault is not None else None
        delay_s = fault.delay_s if fault is not None else 0.0
        if fault is None or lost is None or fault.happens:
            with world.lock:
                world.transactions.end(self._id, self._epoch, commit=True, later=delay_s > 0.0)
            if delay_s > 0.0:
                world.later(delay_s, self._finish)
        if lost is not None:
            return self._unknown(lost)
        self._step("after_commit")
        return Committed(tuple(places))

    def _finish(self) -> None:
        with self._world.lock:
            self._world.transactions.finish(self._id)
        self._world.changed()

    def _abort(self, reason: Aborted | Stale) -> TransactionResult:
        if not self._await_brokers():
            return self._unknown(self._unanswered())
        with self._world.lock:
            self._world.transactions.end(self._id, self._epoch, commit=False)
        return reason

    def _unknown(self, error: BrokerError) -> OutcomeUnknown:
        found = OutcomeUnknownError(str(error), code=error.code)
        self._over = FatalBrokerError(f"{error}: begin a session first", code=error.code)
        return OutcomeUnknown(found)

    def _await_brokers(self) -> bool:
        """Wait while nobody answers, or while the last commit's markers are still to come. Whether that ended."""
        world = self._world
        world.run_due()

        def ready() -> bool:
            with world.lock:
                return not world.is_away and not world.transactions.is_deciding(self._id)

        return world.wait_until(ready, SEND_S)

    def _unanswered(self) -> RetriableError:
        if self._world.is_away:
            return unreachable(self._what)
        return RetriableError(f"{self._what}: the last one is still being ended", code="CONCURRENT_TRANSACTIONS")

    @property
    def _what(self) -> str:
        return f"transaction of {self._id}"

    def _step(self, step: TransactionStep) -> None:
        """A hook that raises is a crash: nothing more is done in this session."""
        if self._on_step is None:
            return
        crashed = True
        try:
            self._on_step(step)
            crashed = False
        finally:
            if crashed:
                self._over = FatalBrokerError(f"{self._what}: interrupted at {step}: begin a session first")


def _place(outgoing: OutgoingRecord) -> TopicPartition:
    if outgoing.partition is None:
        raise InvariantError(f"a record for {outgoing.topic} in a transaction names no partition")
    return TopicPartition(outgoing.topic, outgoing.partition)


def _blaming(error: BrokerError, number: int, place: TopicPartition) -> Aborted:
    if isinstance(error, RecordTooLargeError) or error.code in _OF_RECORD:
        return Aborted(error, number, place)
    return Aborted(error, None, place if error.code in _OF_PARTITION else None)
