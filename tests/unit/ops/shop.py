"""An app, its topics on a cluster in memory, and what an operator sees of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

import streamq as sq
from streamq.core.marks import LetterMark, MarkKind, encode_mark
from streamq.core.offset_map import OffsetMap, encode_map
from streamq.model import headers as names
from streamq.model.records import CommitPoint, NextOffset, TopicPartition
from streamq.tasks.processor import Processor
from streamq.tasks.topic import AnyTopic
from streamq.testing import ManualClock, MemoryCluster

NOW_S = 1_800_000_000.0


class Order(msgspec.Struct):
    """What is worked on."""

    amount: float
    note: str | None = None


@dataclass
class Shop:
    """A topic `orders` of two partitions with the processor `charge`; numbers with whole numbers as keys."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_S))

    def __post_init__(self) -> None:
        self.app = sq.App("shop")
        orders = self.app.topic("orders", value=Order, partitions=2)
        numbers = self.app.topic("numbers", value=bytes, key=int)

        @self.app.processor(orders)
        def charge(order: Order) -> None: ...

        @self.app.processor(numbers)
        def count(number: bytes) -> None: ...

        self.cluster = MemoryCluster(clock=self.clock)
        self.admin, self.reader = self.cluster.admin(), self.cluster.reader()

    @property
    def charge(self) -> Processor:
        """The processor of `orders`."""
        return self.app.processors["charge"]

    @property
    def orders(self) -> AnyTopic:
        """The topic `orders`."""
        return self.app.topics["orders"]

    def create(self, *names: str) -> None:
        """Create topics of two partitions."""
        for name in names:
            self.cluster.create_topic(name, 2)

    def append(self, partition: int, *, key: bytes | None = b"k", value: bytes = b"{}", ago_s: float = 0.0) -> None:
        """A record in `orders`, of so many seconds ago."""
        at_ms = int((self.clock.time() - ago_s) * 1000)
        self.cluster.append(TopicPartition("orders", partition), value, key, timestamp_ms=at_ms)

    def commit(self, partition: int, offset: int, offsets: OffsetMap | None = None, group: str = "shop.charge") -> None:
        """What the group has committed, with its map."""
        point = CommitPoint(NextOffset(offset), "" if offsets is None else encode_map(offsets))
        self.admin.set_group_offsets(group, {TopicPartition("orders", partition): point}, 1.0)

    def bury(
        self,
        partition: int,
        *,
        key: bytes = b"k",
        value: bytes | None = b"{}",
        reason: str = "attempts",
        source_offset: int | None = None,
        group: str = "shop.charge",
        attempts: int = 5,
    ) -> int:
        """A dead letter of `charge`, of a record that has no other one unless `source_offset` is given. Its offset."""
        place = TopicPartition("shop.charge.dlq", partition)
        source = 7 + self.cluster.end(place) if source_offset is None else source_offset
        headers = (
            ("user", b"own"),
            (names.GROUP, group.encode()),
            (names.SOURCE_TOPIC, b"orders"),
            (names.SOURCE_PARTITION, str(partition).encode()),
            (names.SOURCE_OFFSET, str(source).encode()),
            (names.ATTEMPTS, str(attempts).encode()),
            (names.REASON, reason.encode()),
            (names.ERROR_TYPE, b"ValueError"),
            (names.ERROR_MESSAGE, b"it broke"),
            (names.ERROR_STACK, b"Traceback: it broke"),
            (names.DEAD_AT_MS, b"1800000000000"),
        )
        return int(self.cluster.append(place, value, key, headers).offset)

    def mark(self, partition: int, letter_offset: int, kind: MarkKind = "redriven") -> None:
        """What says that a letter is no longer open."""
        headers = encode_mark(LetterMark(letter_offset, b"request", kind))
        self.cluster.append(TopicPartition("shop.charge.dlq", partition), None, None, headers)
