"""What streamq asks of a Kafka. Narrow protocols, implemented by `streamq.kafka` and by the in-memory broker of
`streamq.testing`; one contract suite holds both to what is written here.

Threads: a consumer belongs to the thread that subscribed it, a reader to the one that assigned it, transactions to the
one that begins their session; producer and admin may be called from any thread. Errors are those of
`streamq.model.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Literal, NamedTuple, Protocol

from streamq.model.errors import BrokerError
from streamq.model.records import (
    CommitPoint,
    Delivery,
    GroupInfo,
    NextOffset,
    Offset,
    OffsetSpec,
    OutgoingRecord,
    Record,
    TopicInfo,
    TopicPartition,
    TopicSpec,
)
from streamq.model.transactions import Batch, Membership, StepHook, TransactionResult

Isolation = Literal["read_committed", "read_uncommitted"]
GroupProtocol = Literal["classic", "consumer"]


class ReachedEnd(NamedTuple):
    """Everything below `next_offset` has been polled: the partition's end, whatever its last offsets hold
    (transaction markers, compacted holes). Comes once each time an end is reached (`enable.partition.eof`)."""

    partition: TopicPartition
    next_offset: NextOffset


class OutOfRange(NamedTuple):
    """The position does not exist (any more). The partition stands until it is sought."""

    partition: TopicPartition
    offset: Offset


class Trouble(NamedTuple):
    """The client reports a state of its connection or membership. Reading goes on by itself unless it is fatal."""

    error: BrokerError


ConsumerEvent = ReachedEnd | OutOfRange | Trouble


class Polled(NamedTuple):
    """What one poll brought: records in partition order, and events in the order in which they happened. The records
    of a partition that an event names were all polled before it, in this or an earlier poll."""

    records: Sequence[Record]
    events: Sequence[ConsumerEvent]


NOTHING_POLLED = Polled((), ())


class RebalanceListener(Protocol):
    """Called on the owner's thread, inside `poll` or `close`. Must not raise."""

    def on_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """New partitions, paused, with no position yet: `seek` then `resume` opens them. Must not wait."""
        ...

    def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """They are gone when this returns; commits for them are still accepted until then. May wait."""
        ...

    def on_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """They are gone already; commits for them would be refused. Must not wait."""
        ...


CommitAnswer = Mapping[TopicPartition, BrokerError | None]
"""Per partition: None, accepted; an error, not accepted (`OutcomeUnknownError`: nobody knows)."""


class ConsumerPort(Protocol):
    """One member of a consumer group, with incremental assignment and manual commits."""

    def subscribe(self, topic: str, listener: RebalanceListener) -> None:
        """Join the group. Never blocks: the assignment comes through `poll`.

        Raises:
            ConfigError: the client's settings are not usable.
        """
        ...

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """Wait at most `timeout_s` for something to happen, then give what is there without further waiting, at most
        `max_records` records (at least 1). Calls the listener. Must be called at least every few seconds, or the
        group takes the partitions away (`max.poll.interval.ms`).

        Raises:
            FencedError: another process has this static identity: stop.
            FatalBrokerError: no right to read, an unknown group protocol, …: stop and tell the operator.
        """
        ...

    def seek(self, partition: TopicPartition, next_offset: NextOffset) -> None:
        """Set the position of an assigned partition; the next record polled of it is the first at or above.

        Raises:
            RetriableError: the client is not ready for it yet: again at the next tick.
        """
        ...

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Poll nothing more of these until `resume`. What the client had prefetched of them is thrown away and read
        again. Partitions that are not assigned are ignored."""
        ...

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """The opposite of `pause`. Partitions that are not assigned are ignored."""
        ...

    def commit(self, points: Mapping[TopicPartition, CommitPoint]) -> Future[CommitAnswer]:
        """Send one commit with exactly these offsets and metadata. Never blocks; the future never raises and is done
        without further polls. It checks nothing: not the epoch, not the direction. At most one may be in flight."""
        ...

    def membership(self) -> Membership | None:
        """Who this is in the group at this moment, for a transaction that is made of this moment's state. None while it
        is no member. Owner's thread, also inside the listener; blocks for no broker."""
        ...

    def rejoin(self) -> None:
        """Leave the group and join it anew, so that whatever was sent before is stale. Calls `on_lost` for what was
        assigned, in this call or in the next poll."""
        ...

    def close(self, timeout_s: float) -> None:
        """Leave the group, calling `on_revoked` for what is still assigned. Blocks at most `timeout_s` (the
        broker then finds out by the session time-out). Idempotent. A static member does not leave."""
        ...


class ReaderPort(Protocol):
    """A consumer without a group over partitions that are named to it."""

    def assign(self, positions: Mapping[TopicPartition, NextOffset]) -> None:
        """Read these and no others, from there on. Never blocks."""
        ...

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """As `ConsumerPort.poll`, without a listener."""
        ...

    def close(self) -> None:
        """Release the connection. Idempotent."""
        ...


DeliveryCallback = Callable[[Delivery | BrokerError], None]


class ProducerPort(Protocol):
    """An idempotent producer with `acks=all`: records of one partition are written in the order of the calls, each
    once, or not at all."""

    def produce(self, outgoing: OutgoingRecord, on_delivery: DeliveryCallback) -> None:
        """Hand one record over. Never blocks. `on_delivery` is called exactly once if this returns, on a thread of the
        producer's (it must neither block nor raise); never if this raises.

        Raises:
            RetriableError: the local buffer is full: wait for deliveries and do it again.
            RecordTooLargeError: larger than the client sends.
            FatalBrokerError, FencedError: this producer is no more.
        """
        ...

    def flush(self, timeout_s: float) -> int:
        """Wait at most `timeout_s` until all is delivered. Returns how many are still undecided."""
        ...

    def close(self, timeout_s: float) -> None:
        """Flush within `timeout_s`, then stop its thread. Idempotent."""
        ...


class TransactionPort(Protocol):
    """Transactions under one transactional id, one at a time. Everything blocks: it wants a thread of its own.

    A session is this process's use of the id. Whoever begins one ends that of everybody else with the same id.
    """

    def begin_session(self, timeout_s: float) -> None:
        """Begin a session, or begin anew: decides what a predecessor left, so that it is committed or aborted when this
        returns and stays so. Blocks for at most `timeout_s`.

        Raises:
            RetriableError: nobody answered, or the predecessor's transaction is still being ended: again.
            FatalBrokerError: no right to this id, or transactions are not known there: tell the operator.
        """
        ...

    def run(self, batch: Batch, membership: Membership) -> TransactionResult:
        """Write the records and commit the points for the membership's group, wholly or not at all. Blocks for some
        milliseconds; where brokers do not answer for at most some 10 s, the transaction's own time-out. What is
        refused before anything is sent (an unknown topic or partition) is `Aborted`, too.

        Raises:
            FencedError: another began a session with this id, or the transaction ran out. Whether the batch took effect
                is unknown. This session is over: begin one, and take the partitions over anew.
            FatalBrokerError: the session is over, as above, or none was begun.
        """
        ...

    def close(self) -> None:
        """Release the connection. A transaction that a hook has interrupted stays open. Idempotent."""
        ...


class AdminPort(Protocol):
    """What is asked of the cluster itself. Futures where the owner asks in its loop; the rest blocks for at most
    `timeout_s` and raises `RetriableError` when nobody answered.

    Futures raise BrokerError.
    """

    def group_offsets(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> Future[Mapping[TopicPartition, CommitPoint | None]]:
        """Committed offsets with their metadata; None where there is none. A partition with offsets in an open
        transaction is left out of the answer: ask again (`require_stable`, KIP-447)."""
        ...

    def list_offsets(
        self, specs: Mapping[TopicPartition, OffsetSpec], isolation: Isolation = "read_committed"
    ) -> Future[Mapping[TopicPartition, NextOffset]]:
        """Where these stand. Under `read_committed` the end is the last stable offset."""
        ...

    def delete_records(
        self, before: Mapping[TopicPartition, NextOffset]
    ) -> Future[Mapping[TopicPartition, NextOffset | BrokerError]]:
        """Delete what is below these offsets, for good. Per partition: where its log begins now, or why nothing was
        deleted (`FatalBrokerError`: no right, or beyond the end)."""
        ...

    def describe_topics(self, topics: Sequence[str], timeout_s: float) -> Mapping[str, TopicInfo | None]:
        """Each topic as it is; None where it does not exist. Never creates one."""
        ...

    def list_topics(self, timeout_s: float) -> Sequence[str]:
        """The names of all topics that may be seen, internal ones left out."""
        ...

    def create_topic(self, spec: TopicSpec, timeout_s: float) -> bool:
        """Create it and wait until it can be used. False if it existed already (whatever it looks like).

        Raises:
            FatalBrokerError: no right, a bad setting, a replication factor above the number of brokers.
        """
        ...

    def delete_topics(self, topics: Sequence[str], timeout_s: float) -> None:
        """Delete them; one that does not exist is no error."""
        ...

    def add_partitions(self, topic: str, total: int, timeout_s: float) -> None:
        """Grow a topic to `total` partitions and wait until they can be used; it is no error if it has that many."""
        ...

    def topic_config(self, topic: str, timeout_s: float) -> Mapping[str, str]:
        """All settings of a topic, defaults included, by Kafka's names."""
        ...

    def alter_topic_config(self, topic: str, changes: Mapping[str, str], timeout_s: float) -> None:
        """Set these settings and leave the others as they are."""
        ...

    def list_groups(self, timeout_s: float) -> Sequence[str]:
        """The names of all groups that may be seen."""
        ...

    def describe_group(self, group: str, timeout_s: float) -> GroupInfo | None:
        """The group as its coordinator sees it; None if there is none."""
        ...

    def set_group_offsets(self, group: str, points: Mapping[TopicPartition, CommitPoint], timeout_s: float) -> None:
        """Commit for a group without members.

        Raises:
            StaleMemberError: it has members.
        """
        ...

    def delete_group(self, group: str, timeout_s: float) -> None:
        """Forget a group without members and its offsets; it is no error if there is none.

        Raises:
            StaleMemberError: it has members.
        """
        ...

    def close(self) -> None:
        """Release the connection. Idempotent."""
        ...


class ConsumerOptions(NamedTuple):
    """How a member joins. `instance_id` makes it a static member (classic protocol only); `session_timeout_s` and
    `heartbeat_s` are the broker's to say under KIP-848."""

    group: str
    client_id: str
    protocol: GroupProtocol = "classic"
    instance_id: str | None = None
    session_timeout_s: float = 10.0
    heartbeat_s: float = 1.0


class Clients(Protocol):
    """One cluster. Makes clients; each is the caller's to close. Making one contacts nobody.

    Raises (each):
        ConfigError: a setting that is not usable or that would break a guarantee.
    """

    def consumer(self, options: ConsumerOptions) -> ConsumerPort: ...

    def reader(self, isolation: Isolation = "read_committed") -> ReaderPort: ...

    def producer(self) -> ProducerPort: ...

    def transactions(self, transactional_id: str, on_step: StepHook | None = None) -> TransactionPort:
        """`on_step` is for tests only."""
        ...

    def admin(self) -> AdminPort: ...

    @property
    def description(self) -> str:
        """What it is connected to, for messages: the bootstrap servers, no secrets."""
        ...
