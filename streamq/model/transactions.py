"""What a transaction takes, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, NewType

from streamq.model.errors import BrokerError
from streamq.model.records import CommitPoint, Offset, OutgoingRecord, TopicPartition

Membership = NewType("Membership", object)
"""Who one was in a group at one moment (its generation included). Opaque: made by `ConsumerPort.membership`, sent
unchanged, since the broker checks the generation and not who owns a partition (KIP-447)."""


class Batch(NamedTuple):
    """What takes effect together or not at all. Each record names its partition. Without `points` nothing asks whether
    the membership still holds: what only an owner may write goes with a point of what it owns."""

    records: Sequence[OutgoingRecord] = ()
    points: Mapping[TopicPartition, CommitPoint] = {}


class Committed(NamedTuple):
    """It took effect. `places` are the records' offsets, in the batch's order. Readers see it a moment later."""

    places: Sequence[Offset]


class Aborted(NamedTuple):
    """Nothing of it took effect, and the next one may be tried at once, without the culprit where one is named:
    `record` by its number in the batch (its partition takes other records), or only the `partition` of records or
    points (it takes nothing). Neither: whatever it was may pass (`RetriableError`) or has to be found by halving."""

    error: BrokerError
    record: int | None = None
    partition: TopicPartition | None = None


class Stale(NamedTuple):
    """Nothing of it took effect: the group has moved on. Build it anew after the next heartbeat, from what is still
    owned."""

    error: BrokerError


class OutcomeUnknown(NamedTuple):
    """It may or may not have taken effect, or will. The session is over: begin one, which decides it."""

    error: BrokerError


TransactionResult = Committed | Aborted | Stale | OutcomeUnknown

TransactionStep = Literal[
    "before_begin",
    "after_produce",
    "before_send_offsets",
    "after_send_offsets",
    "before_commit",
    "after_commit",
]
"""Between the steps of a transaction. `after_produce`: the records are handed over; `before_commit`: all is written."""

StepHook = Callable[[TransactionStep], None]
"""Called in tests on the thread that runs the transaction. What it raises ends the session as a crash would: the
transaction stays as it is, open, or committed."""
