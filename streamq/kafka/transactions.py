"""Transactions over librdkafka's transactional producer.

Its errors come in kinds. A fatal one ends the producer; one that requires an abort ends the transaction; after any
other the call may be repeated, and nothing of the transaction is decided. Only the commit leaves its outcome open.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from streamq.kafka.batches import Sending
from streamq.kafka.errors import config_error, from_exception, to_error
from streamq.kafka.logs import logger
from streamq.kafka.refusals import Refusals
from streamq.kafka.settings import Settings
from streamq.kafka.topics import KnownTopics
from streamq.model.clock import Deadline, SystemClock
from streamq.model.errors import (
    BrokerError,
    FatalBrokerError,
    FencedError,
    OutcomeUnknownError,
    StaleMemberError,
)
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

SEND_S: Final = 4.0
"""For writing all records and sending the offsets: deliveries end within 3 s by themselves."""
END_S: Final = 5.0
"""For the commit or the abort; with the former less than the transaction's own time-out."""
_SHORTEST_S: Final = 0.01


class KafkaTransactions:
    """See `TransactionPort`. All of librdkafka's callbacks run inside calls of the thread that runs it."""

    def __init__(self, settings: Settings, description: str, on_step: StepHook | None = None) -> None:
        self._settings = settings
        self._description = description
        self._id = str(settings["transactional.id"])
        self._on_step: StepHook = on_step or _nothing
        self._producer: Producer | None = None
        self._ready = False
        self._over: BrokerError | None = None
        self._beginning = False
        self._topics = KnownTopics()
        self._refusals = Refusals()

    # The session

    def begin_session(self, timeout_s: float) -> None:
        """Decide what a predecessor left. One that was not answered is gone on with: its answer may be under way."""
        what = f"beginning transactions as {self._id} at {self._description}"
        producer = self._producer if self._producer is not None and self._beginning else self._made()
        self._producer, self._ready, self._beginning = producer, False, True
        try:
            producer.init_transactions(timeout_s)
        except KafkaException as error:
            self._beginning = error.args[0].retriable()
            raise from_exception(error, what) from error
        self._beginning, self._ready, self._over = False, True, None
        self._topics = KnownTopics()

    def _made(self) -> Producer:
        self._drop()
        try:
            return Producer({**self._settings, "error_cb": self._on_error}, logger=self._refusals)
        except (KafkaException, ValueError, TypeError) as error:
            raise config_error(error, self._settings) from error

    def _drop(self) -> None:
        """End the producer as it is. What it has not sent is thrown away, or librdkafka would wait for it."""
        producer, self._producer, self._ready = self._producer, None, False
        if producer is not None:
            with suppress(KafkaException):
                producer.purge(in_queue=True, in_flight=True, blocking=False)
                producer.poll(0)

    def close(self) -> None:
        """Release the connection."""
        self._drop()
        self._over = self._over or FatalBrokerError(f"transactions as {self._id} are closed")

    # One transaction

    def run(self, batch: Batch, membership: Membership) -> TransactionResult:
        """As the port says."""
        producer = self._usable()
        refused = self._topics.refusal(producer, batch)
        if refused is not None:
            return refused
        self._refusals.take()
        self._step("before_begin")
        sending = Sending(producer, batch, Deadline(SystemClock(), SEND_S))
        try:
            producer.begin_transaction()
            self._send(sending, membership)
        except KafkaException as error:
            return self._abort(producer, batch, self._reason(error.args[0], sending))
        refused = sending.refusal()
        if refused is not None:
            return self._abort(producer, batch, self._named(refused))
        self._step("before_commit")
        return self._commit(producer, batch, sending)

    def _send(self, sending: Sending, membership: Membership) -> None:
        if not sending.hand_over():
            return
        self._step("after_produce")
        self._step("before_send_offsets")
        sending.send_points(membership)
        self._step("after_send_offsets")
        sending.wait()

    def _commit(self, producer: Producer, batch: Batch, sending: Sending) -> TransactionResult:
        deadline = Deadline(SystemClock(), END_S)
        while True:
            try:
                producer.commit_transaction(max(_SHORTEST_S, deadline.remaining_s()))
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.fatal():
                    raise self._end(reason) from error
                if reason.txn_requires_abort():
                    return self._abort(producer, batch, self._reason(reason, sending))
                if not reason.retriable() or deadline.expired():
                    return self._unknown(f"committing: {reason.str()}", reason.name())
            else:
                self._step("after_commit")
                return Committed(sending.places())

    def _abort(self, producer: Producer, batch: Batch, reason: Aborted | Stale) -> TransactionResult:
        """Undo it. Where that is not confirmed its partitions stay undecided, and so may the next transaction."""
        self._topics.forget(batch)
        deadline = Deadline(SystemClock(), END_S)
        while True:
            try:
                producer.abort_transaction(max(_SHORTEST_S, deadline.remaining_s()))
            except KafkaException as error:
                found: KafkaError = error.args[0]
                if found.fatal():
                    return self._abort_anew(batch, reason, self._end(found), deadline)
                if not found.retriable() or deadline.expired():
                    return self._unknown(f"aborting ({reason.error}): {found.str()}", found.name())
            else:
                return self._topics.explained(producer, batch, reason)

    def _abort_anew(
        self, batch: Batch, reason: Aborted | Stale, ended: BrokerError, deadline: Deadline
    ) -> TransactionResult:
        """librdkafka cannot abort what has a part that is gone: the producer ends. Nobody asked for a commit, so a new
        one aborts it.

        Raises:
            FencedError: another has this id: that one decides.
        """
        if isinstance(ended, FencedError):
            raise ended
        try:
            self.begin_session(max(_SHORTEST_S, deadline.remaining_s()))
        except BrokerError as error:
            return self._unknown(f"aborting ({reason.error}): {error}", error.code)
        return self._topics.explained(self._usable(), batch, reason)

    def _reason(self, error: KafkaError, sending: Sending) -> Aborted | Stale:
        """Why it is undone. A record's own report says more than what the transaction makes of it.

        Raises:
            FencedError, FatalBrokerError: the producer is no more.
        """
        if error.fatal():
            raise self._end(error)
        typed = to_error(error, self._what)
        if isinstance(typed, StaleMemberError) or error.code() == KafkaError.FENCED_INSTANCE_ID:
            return Stale(typed)
        return self._named(sending.blamed() or Aborted(typed, None, sending.culprit(error)))

    def _named(self, reason: Aborted) -> Aborted:
        """The same, with the culprit that only the log has named."""
        return reason if reason.partition is not None else self._refusals.take() or reason

    def _unknown(self, how: str, code: str) -> OutcomeUnknown:
        error = OutcomeUnknownError(f"{self._what}: {how}", code=code)
        self._over = FatalBrokerError(f"{error}: begin a session first", code=code)
        return OutcomeUnknown(error)

    def _end(self, error: KafkaError) -> BrokerError:
        typed = to_error(error, self._what)
        if not isinstance(typed, FencedError):
            typed = FatalBrokerError(str(typed), code=typed.code)
        self._over = typed
        return typed

    def _usable(self) -> Producer:
        if self._over is not None:
            raise self._over
        if self._producer is None or not self._ready:
            raise FatalBrokerError(f"{self._what}: no session was begun")
        return self._producer

    @property
    def _what(self) -> str:
        return f"transaction of {self._id} at {self._description}"

    def _step(self, step: TransactionStep) -> None:
        """A hook that raises is a crash: nothing more is done in this session."""
        crashed = True
        try:
            self._on_step(step)
            crashed = False
        finally:
            if crashed:
                self._over = FatalBrokerError(f"{self._what}: interrupted at {step}: begin a session first")

    def _on_error(self, error: KafkaError) -> None:
        """What matters is raised by the calls."""
        logger.debug("The transactional producer reports: %s", error.str(), extra={"event": "producer_error"})


def _nothing(step: TransactionStep) -> None:
    """No hook."""
