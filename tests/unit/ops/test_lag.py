"""How far a processor is behind: what counts, what does not, and which record heads a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import pytest

from streamq.core.journal_records import KeyState, Request
from streamq.core.offset_map import OffsetMap
from streamq.model.errors import ConfigError, RetriableError
from streamq.model.ports import ConsumerOptions
from streamq.model.records import CommitPoint, NextOffset, TopicPartition
from streamq.ops import asking
from streamq.ops.lag import LagView, PartitionLag
from streamq.ops.members import members_of
from streamq.ops.parked import ParkedSummary

from .journal import RETRY, entry, write
from .shop import Shop

P0 = TopicPartition("orders", 0)


def rows(shop: Shop) -> list[PartitionLag]:
    return list(LagView(shop.admin, shop.reader, shop.charge, shop.clock).look())


def test_a_partition_tells_its_head_and_what_is_finished_above_it(shop: Shop) -> None:
    shop.create("orders", "shop.charge.dlq")
    for key, ago_s in ((b"a", 90.0), (b"stuck", 60.0), (b"b", 30.0), (b"c", 5.0)):
        shop.append(0, key=key, ago_s=ago_s)
    shop.bury(0)
    # Offset 1 is unsettled after three attempts, 2 is done.
    shop.commit(0, 1, OffsetMap(base=1, end=3, unsettled=[1], attempts={1: 3}))
    first, second = rows(shop)
    assert (first.committed, first.end, first.lag, first.finished, first.dead_letters) == (1, 4, 3, 1, 1)
    assert (first.head_offset, first.head_key, first.head_attempts) == (1, "stuck", 3)
    assert first.behind_s == pytest.approx(60.0, abs=0.01)
    assert (second.committed, second.lag, second.behind_s, second.head_offset) == (None, 0, 0.0, None)


def test_what_is_parked_and_what_stands_open_is_told_with_the_lag(shop: Shop) -> None:
    shop.create("orders", "shop.charge.dlq", RETRY)
    write(shop, entry(3, b"a", next_at_ms=9_000), KeyState(b"h", "held"), Request(b"1", "release"), partition=1)
    for _ in range(3):
        shop.bury(1)
    shop.mark(1, 0)
    first, second = rows(shop)
    assert (first.parked, first.dead_letters, first.dead_letters_trouble) == (ParkedSummary(0), 0, None)
    assert second.parked == ParkedSummary(
        1, entries=1, oldest_offset=3, next_at_ms=9_000, held=1, held_keys=("h",), requests=1, journal=3
    )
    assert (second.lag, second.dead_letters) == (0, 2)


def test_a_dead_letter_topic_that_cannot_be_read_is_told_with_how_many_there_can_be(shop: Shop) -> None:
    shop.create("orders", "shop.charge.dlq")
    shop.bury(0)
    shop.cluster.append(TopicPartition("shop.charge.dlq", 0), None, None, (("streamq.mark", b"\x09"),))
    shop.bury(0)
    first = rows(shop)[0]
    assert first.dead_letters == 3
    assert first.dead_letters_trouble is not None


def test_a_transaction_of_the_group_is_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets in an open transaction have no answer: one takes milliseconds, and its end is worth a moment."""
    shop.create("orders")
    shop.append(0)
    ask, undecided = shop.admin.group_offsets, 3

    def group_offsets(
        group: str, partitions: Sequence[TopicPartition]
    ) -> Future[Mapping[TopicPartition, CommitPoint | None]]:
        nonlocal undecided
        undecided -= 1
        return ask(group, [] if undecided >= 0 else partitions)

    monkeypatch.setattr(shop.admin, "group_offsets", group_offsets)
    assert rows(shop)[0].lag == 1
    undecided = 1_000_000
    with pytest.raises(RetriableError, match=r"commits orders\[0\], orders\[1\] in a transaction that is not decided"):
        rows(shop)


@pytest.mark.parametrize("kind", ["commit", "abort"])
def test_a_topic_that_ends_in_transaction_markers_has_no_lag(shop: Shop, kind: str) -> None:
    shop.create("orders")
    shop.append(0)
    shop.commit(0, 1)
    if kind == "commit":
        shop.cluster.append_marker(P0)
    else:
        shop.cluster.append_aborted(P0, b"{}")
    first = rows(shop)[0]
    assert first.end > 1, "the marker takes an offset"
    assert (first.lag, first.behind_s, first.head_offset) == (0, 0.0, None)


def test_a_record_behind_a_hole_still_counts(shop: Shop) -> None:
    shop.create("orders")
    shop.cluster.append_hole(P0, 3)
    shop.append(0, key=b"late", ago_s=10.0)
    shop.commit(0, 0)
    first = rows(shop)[0]
    assert (first.lag, first.head_offset, first.head_key) == (4, 3, "late")


def test_what_retention_took_is_not_waited_for(shop: Shop) -> None:
    shop.create("orders")
    for _ in range(5):
        shop.append(0)
    shop.commit(0, 1)
    shop.cluster.delete_records(P0, 3)
    first = rows(shop)[0]
    assert (first.committed, first.lag, first.head_offset) == (1, 2, 3)


def test_a_map_of_another_offset_is_not_believed(shop: Shop) -> None:
    shop.create("orders")
    for _ in range(4):
        shop.append(0)
    shop.commit(0, 2, OffsetMap(base=1, end=3, unsettled=[1], attempts={1: 3}))
    first = rows(shop)[0]
    assert (first.finished, first.head_attempts) == (0, 1)


def test_a_missing_topic_says_how_to_create_it(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="topic orders does not exist: create it with `streamq topics create`"):
        rows(shop)


def test_brokers_that_are_silent_are_an_error_and_no_zero(shop: Shop) -> None:
    shop.create("orders")
    shop.append(0)
    shop.cluster.away()
    with pytest.raises(RetriableError, match=r"nothing was read for 10 s of orders\[0\]"):
        asking.heads(shop.reader, {P0: NextOffset(0)}, {P0: shop.cluster.end(P0)}, shop.clock)
    with pytest.raises(RetriableError, match=r"nothing was read for 10 s of orders\[0\]"):
        list(asking.read_to_ends(shop.reader, {P0: NextOffset(0)}, {P0: shop.cluster.end(P0)}, shop.clock))


@pytest.mark.parametrize(("key", "shown"), [(b"ada", "ada"), (b"\xff", "\\xff"), (None, None)])
def test_keys_are_shown_as_text(shop: Shop, key: bytes | None, shown: str | None) -> None:
    assert asking.shown_key(shop.orders, key) == shown


def test_whole_numbers_as_keys_are_shown_as_numbers(shop: Shop) -> None:
    numbers = shop.app.topics["numbers"]
    assert asking.shown_key(numbers, (-42).to_bytes(8, "big", signed=True)) == "-42"
    assert asking.shown_key(numbers, b"odd") == "odd", "no number: its bytes are shown"


def test_members_tell_what_each_partition_has_under_way(shop: Shop) -> None:
    shop.create("orders")
    shop.append(0, key=b"young", ago_s=5.0)
    shop.append(1, key=b"old", ago_s=50.0)
    assert members_of(shop.admin, shop.reader, shop.charge, shop.clock) == []
    consumer = shop.cluster.consumer(ConsumerOptions("shop.charge", "client-1"))
    consumer.subscribe("orders", Ignores())
    consumer.poll(0.0, 1)
    [member] = members_of(shop.admin, shop.reader, shop.charge, shop.clock)
    assert (member.client_id, sorted(member.partitions), member.lag) == ("client-1", [0, 1], 2)
    assert sorted((head.partition, head.key, round(head.age_s)) for head in member.heads) == [
        (0, "young", 5),
        (1, "old", 50),
    ]
    assert member.oldest is not None
    assert member.oldest.key == "old"


class Ignores:
    """A listener that does nothing."""

    def on_assigned(self, partitions: object) -> None: ...

    def on_revoked(self, partitions: object) -> None: ...

    def on_lost(self, partitions: object) -> None: ...
