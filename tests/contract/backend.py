"""What the suite asks of a cluster beyond the ports: to bring about what a client cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from streamq.model.clock import Clock
from streamq.model.ports import Clients, ConsumerPort, GroupProtocol
from streamq.model.records import TopicPartition

COMMITTED = b"in a committed transaction"
ABORTED = b"in an aborted transaction"
KEPT = b"kept"


class Backend(Protocol):
    """A cluster under test, shared by all tests of a run: each test uses topics and groups of its own."""

    def __hash__(self) -> int:
        """Each is itself only."""
        ...

    @property
    def clients(self) -> Clients:
        """Makes the clients under test."""
        ...

    @property
    def clock(self) -> Clock:
        """The time in which the clients' time-outs are meant."""
        ...

    @property
    def protocol(self) -> GroupProtocol:
        """How members join."""
        ...

    @property
    def patience_s(self) -> float:
        """How long anything may take, a session time-out included, before a test fails."""
        ...

    def new_name(self, kind: str) -> str:
        """A name that nobody used yet, for a topic or a group."""
        ...

    def make_topic(self, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Make a topic, wait until it can be used, and return its name."""
        ...

    def consumer(self, group: str, *, instance_id: str | None = None) -> ConsumerPort:
        """A member with the shortest session that the cluster allows, fit for `expel`. Closed by the backend at the
        end of the test, at the latest."""
        ...

    def expel(self, consumer: ConsumerPort, group: str) -> None:
        """Let this member be silent until its group has let go of it. Blocks till then. Nothing of the consumer is
        closed: polled again it finds out by itself; never polled again it is a process that was killed."""
        ...

    def end_with_commit_marker(self, topic: str) -> None:
        """Append one record with value `COMMITTED` to partition 0 in a transaction, and commit it: the last offset is
        the marker's."""
        ...

    def end_with_abort_marker(self, topic: str) -> None:
        """Append one record with value `ABORTED` to partition 0 in a transaction, and abort it: neither it nor the
        marker, at the last offset, is ever read."""
        ...

    def make_topic_with_hole_at_end(self) -> str:
        """A topic of one partition with one record, whose value is `KEPT`, and whose last two offsets or more hold none
        that a reader would see, because compaction took what was there."""
        ...

    def delete_records(self, partition: TopicPartition, before: int) -> None:
        """Take what is below this offset, as retention does. Blocks until it is gone."""
        ...

    def end_test(self) -> None:
        """Close the consumers that a test left open."""
        ...
