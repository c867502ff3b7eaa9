"""The transaction coordinator: who may use a transactional id, what is open under it, and how that ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final

from streamq.model.clock import Clock
from streamq.model.errors import BrokerError, FencedError
from streamq.model.records import CommitPoint, Delivery, OutgoingRecord, TopicPartition
from streamq.testing.memory.groups import Groups, Member
from streamq.testing.memory.log import PartitionLog
from streamq.testing.memory.topics import Topics

TRANSACTION_TIMEOUT_S: Final = 10.0


@dataclass(slots=True, eq=False)
class Transaction:
    """One that is not decided. `committing`: its end is said, its markers are still to be written."""

    number: int
    over_at: float
    logs: dict[TopicPartition, PartitionLog] = field(default_factory=dict)
    committing: bool = False


@dataclass(slots=True, eq=False)
class Identity:
    """What the coordinator knows of a transactional id. The epoch tells the sessions under it apart."""

    epoch: int = 0
    transaction: Transaction | None = None


class Coordinator:
    """All transactional ids of a cluster. Under the cluster's lock."""

    def __init__(self, clock: Clock, topics: Topics, groups: Groups) -> None:
        self._clock = clock
        self._topics = topics
        self._groups = groups
        self._identities: dict[str, Identity] = {}
        self._begun = 0

    def begin_session(self, transactional_id: str) -> int | None:
        """A new epoch; whoever has an older one is fenced, and its open transaction is aborted. None: one is still
        being committed, ask again."""
        identity = self._identities.setdefault(transactional_id, Identity())
        if identity.transaction is not None:
            if identity.transaction.committing:
                return None
            self._decide(identity, commit=False)
        identity.epoch += 1
        return identity.epoch

    def is_deciding(self, transactional_id: str) -> bool:
        """Whether a commit is said whose markers are still to come: nothing new begins before ("concurrent
        transactions")."""
        found = self._identities.get(transactional_id)
        return found is not None and found.transaction is not None and found.transaction.committing

    def append(self, transactional_id: str, epoch: int, outgoing: OutgoingRecord, partition: int) -> Delivery:
        """Write a record in the transaction that is open, or opens with it.

        Raises:
            FencedError: the session is over.
            BrokerError: what a broker refuses a record for.
        """
        transaction = self._open(transactional_id, epoch)
        delivery = self._topics.append(outgoing, partition, transaction=transaction.number)
        place = TopicPartition(outgoing.topic, partition)
        log = self._topics.log(place)
        if log is not None:
            transaction.logs[place] = log
        return delivery

    def hold(
        self,
        transactional_id: str,
        epoch: int,
        member: Member,
        generation: int,
        points: Mapping[TopicPartition, CommitPoint],
    ) -> tuple[BrokerError, TopicPartition | None] | None:
        """Keep offsets until the end. What refuses them, and the partition whose point it is, if it is one's.

        Raises:
            FencedError: the session is over.
        """
        transaction = self._open(transactional_id, epoch)
        return self._groups.hold(member, generation, points, transaction.number)

    def end(self, transactional_id: str, epoch: int, *, commit: bool, later: bool = False) -> None:
        """Commit or abort. `later`: a commit is certain, and seen when `finish` is called.

        Raises:
            FencedError: the session is over.
        """
        identity = self._checked(transactional_id, epoch)
        if identity.transaction is not None and later and commit:
            identity.transaction.committing = True
        elif identity.transaction is not None:
            self._decide(identity, commit=commit)

    def finish(self, transactional_id: str) -> None:
        """Write the markers of a commit that was said."""
        identity = self._identities[transactional_id]
        if identity.transaction is not None and identity.transaction.committing:
            self._decide(identity, commit=True)

    def expire(self) -> bool:
        """Abort what is open for too long, and fence its producer. Whether there was any."""
        now = self._clock.monotonic()
        found = [identity for identity in self._identities.values() if _over_at(identity) <= now]
        for identity in found:
            self._decide(identity, commit=False)
            identity.epoch += 1
        return bool(found)

    def next_expiry(self) -> float:
        """When the next one runs out."""
        return min((_over_at(identity) for identity in self._identities.values()), default=inf)

    def _checked(self, transactional_id: str, epoch: int) -> Identity:
        identity = self._identities[transactional_id]
        if identity.epoch != epoch:
            raise FencedError(
                f"transactional id {transactional_id}: epoch {epoch}, it is {identity.epoch} now: another began a "
                "session, or the transaction ran out",
                code="_FENCED",
            )
        return identity

    def _open(self, transactional_id: str, epoch: int) -> Transaction:
        identity = self._checked(transactional_id, epoch)
        if identity.transaction is None:
            self._begun += 1
            identity.transaction = Transaction(self._begun, self._clock.monotonic() + TRANSACTION_TIMEOUT_S)
        return identity.transaction

    def _decide(self, identity: Identity, *, commit: bool) -> None:
        transaction, identity.transaction = identity.transaction, None
        if transaction is not None:
            for log in transaction.logs.values():
                log.decide(transaction.number, commit=commit)
            self._groups.decide(transaction.number, commit=commit)


def _over_at(identity: Identity) -> float:
    transaction = identity.transaction
    return inf if transaction is None or transaction.committing else transaction.over_at
