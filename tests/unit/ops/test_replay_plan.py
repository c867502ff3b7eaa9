"""A replay is planned before anything runs: its range, its group, and whether it may go on under its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streamq.core.journal_records import encode
from streamq.model.errors import ConfigError, FatalBrokerError, StaleMemberError
from streamq.model.ports import ConsumerOptions
from streamq.model.records import AtTime, CommitPoint, NextOffset, OffsetSpec, TopicPartition
from streamq.ops import replay
from streamq.ops.replay import Plan, Span
from streamq.ops.replay_record import Limit

from .journal import entry
from .shop import NOW_S, Shop
from .test_lag import Ignores

NOW = datetime.fromtimestamp(NOW_S, UTC)
GROUP = "shop.charge.replay.r"
DLQ = "shop.charge.dlq"


def filled(shop: Shop) -> Shop:
    """Five records in partition 0, one a minute, and one in partition 1."""
    shop.create("orders")
    for ago_s in (300.0, 240.0, 180.0, 120.0, 60.0):
        shop.append(0, ago_s=ago_s)
    shop.append(1, ago_s=10.0)
    return shop


def plan(shop: Shop, since: Limit = None, until: Limit = None, key: str | None = None) -> Plan:
    return replay.plan(shop.admin, shop.charge, "r", since=since, until=until, key=key)


def begin(shop: Shop, found: Plan) -> None:
    replay.begin(shop.admin, shop.charge, found, create_topics=True)


def spans(found: Plan) -> list[tuple[int, int, int]]:
    return [(span.partition, span.start, span.end) for span in found.spans]


def test_times_become_offsets_in_each_partition(shop: Shop) -> None:
    found = plan(filled(shop), NOW - timedelta(seconds=240), NOW - timedelta(seconds=60))
    assert spans(found) == [(0, 1, 4)]
    assert (found.group, found.resumed, found.records_at_most, found.left_at_most) == (GROUP, False, 3, 3)


def test_the_ends_are_those_of_now(shop: Shop) -> None:
    found = plan(filled(shop), NOW - timedelta(seconds=120))
    shop.append(0)
    assert spans(found) == [(0, 3, 5), (1, 0, 1)]
    assert found.bounds(b"k").ends == {
        TopicPartition("orders", 0): NextOffset(5),
        TopicPartition("orders", 1): NextOffset(1),
    }
    assert found.bounds(b"k").key == b"k"


@pytest.mark.parametrize("before_1970_ms", [1, 2, 315_619_200_000])
def test_a_time_before_1970_is_before_everything(
    shop: Shop, before_1970_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker is not asked for it: as a negative number it would mean the end of the log, its start, or nothing."""
    asked: list[OffsetSpec] = []
    ask = shop.admin.list_offsets

    def listen(specs: Mapping[TopicPartition, OffsetSpec]) -> Future[Mapping[TopicPartition, NextOffset]]:
        asked.extend(specs.values())
        return ask(specs)

    monkeypatch.setattr(shop.admin, "list_offsets", listen)
    since = datetime(1970, 1, 1, tzinfo=UTC) - timedelta(milliseconds=before_1970_ms)
    assert spans(plan(filled(shop), since)) == [(0, 0, 5), (1, 0, 1)]
    assert {one for one in asked if isinstance(one, AtTime)} == {AtTime(0)}


def test_offsets_name_the_partitions_that_are_meant(shop: Shop) -> None:
    assert spans(plan(filled(shop), {0: 1}, {0: 3})) == [(0, 1, 3)]
    assert spans(plan(shop, {0: 4})) == [(0, 4, 5)]
    assert spans(plan(shop, None, {0: 2})) == [(0, 0, 2), (1, 0, 1)]


def test_a_key_is_looked_for_everywhere(shop: Shop) -> None:
    assert spans(plan(filled(shop), key="k")) == [(0, 0, 5), (1, 0, 1)]


@pytest.mark.parametrize(
    ("since", "until", "message"),
    [
        (NOW, NOW - timedelta(seconds=1), r"--from .* is not before --to .*: exchange them"),
        (NOW, NOW, r"--from .* is not before --to"),
        ({0: 3}, {0: 3}, r"--from-offset 0:3 is not below --to-offset 0:3: exchange them"),
        ({7: 0}, None, r"--from-offset names partition 7: the topic has 0 to 1"),
        (None, {7: 0}, r"--to-offset names partition 7: the topic has 0 to 1"),
        ({0: 99}, None, r"the range holds no record of topic orders: retained are offsets 0:2 to 0:5, 1:0 to 1:1"),
        (None, NOW - timedelta(days=9), r"holds no record of topic orders: retained are offsets 0:2 to 0:5"),
        ({0: 0}, {0: 2}, r"holds no record of topic orders: retained are offsets 0:2 to 0:5"),
    ],
)
def test_a_range_that_cannot_be_is_refused(shop: Shop, since: Limit, until: Limit, message: str) -> None:
    filled(shop)
    shop.cluster.delete_records(TopicPartition("orders", 0), 2)
    with pytest.raises(ConfigError, match=message):
        plan(shop, since, until)


def test_a_missing_topic_is_told(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="topic orders does not exist"):
        plan(shop)


@pytest.mark.parametrize("name", ["", "a b", "x" * 61, "ä"])
def test_a_name_that_no_group_can_have_is_refused(shop: Shop, name: str) -> None:
    with pytest.raises(ConfigError, match="use 1 to 60 letters, digits, '_' and '-'"):
        replay.replay_group(shop.charge, name)


def test_what_has_begun_goes_on_where_it_stands(shop: Shop) -> None:
    begin(shop, plan(filled(shop), {0: 1}, {0: 4}))
    shop.commit(0, 3, group=GROUP)
    found = plan(shop, {0: 1}, {0: 4})
    assert found.spans == (Span(0, 1, 4, 3, True),)
    assert (found.resumed, found.left_at_most) == (True, 1)
    begin(shop, found)
    assert shop.cluster.committed(GROUP)[TopicPartition("orders", 0)].next_offset == 3, "it does not begin again"


def position(shop: Shop) -> dict[int, int]:
    """Where the replay's group stands in the source."""
    committed = shop.cluster.committed(GROUP).items()
    return {one.partition: point.next_offset for one, point in committed if one.topic == "orders"}


def test_asked_for_again_a_replay_goes_on_to_the_ends_that_were_fixed_when_it_began(shop: Shop) -> None:
    """Whether by the words that began it or by the offsets that followed from them."""
    since = NOW - timedelta(seconds=240)
    begin(shop, plan(filled(shop), since, key="k"))
    shop.append(0)
    shop.append(1)
    for found in (plan(shop, since, key="k"), plan(shop, {0: 1, 1: 0}, {0: 5, 1: 1}, key="k")):
        assert (spans(found), found.resumed) == ([(0, 1, 5), (1, 0, 1)], True)


def test_a_partition_that_the_first_command_did_not_reach_begins_at_its_start(shop: Shop) -> None:
    """The command was ended between its commits."""
    begun = plan(filled(shop))
    begin(shop, begun)
    stands = shop.cluster.committed(GROUP)[TopicPartition("orders", 0)]
    record = {one: point for one, point in shop.cluster.committed(GROUP).items() if one.topic == DLQ}
    shop.admin.delete_group(GROUP, 1.0)
    shop.admin.set_group_offsets(GROUP, record, 1.0)
    assert plan(shop, {0: 1}).resumed is False, "without an offset in its source nothing has begun"
    shop.admin.set_group_offsets(GROUP, {TopicPartition("orders", 0): stands}, 1.0)
    found = plan(shop)
    assert found.spans == (Span(0, 0, 5, 0, True), Span(1, 0, 1, 0, False))
    begin(shop, found)
    assert position(shop) == {0: 0, 1: 0}


@pytest.mark.parametrize(
    ("since", "until", "key", "shown"),
    [
        ({0: 2}, {0: 4}, "k", "from 0:2, to 0:4, key k"),
        ({0: 1}, {0: 3}, "k", "from 0:1, to 0:3, key k"),
        ({0: 1}, {0: 4}, "other", "from 0:1, to 0:4, key other"),
        ({0: 1}, {0: 4}, None, "from 0:1, to 0:4"),
        (NOW - timedelta(days=1), None, None, r"from 2027-01-14T08:00:00\+00:00"),
        (None, None, "x" * 300, "key x{134}… [0-9a-f]{64}"),
    ],
)
def test_another_range_or_key_under_a_used_name_is_refused(
    shop: Shop, since: Limit, until: Limit, key: str | None, shown: str
) -> None:
    """It would run what was not asked for, or leave out what was."""
    begin(shop, plan(filled(shop), {0: 1}, {0: 4}, "k"))
    message = rf"replay 'r' was begun with another .* \(from 0:1, to 0:4, key k\), this is {shown}: .*another --name"
    with pytest.raises(ConfigError, match=message):
        plan(shop, since, until, key)


def test_a_replay_of_which_nothing_says_what_it_was_is_refused(shop: Shop) -> None:
    begin(shop, plan(filled(shop), {0: 1}, {0: 4}))
    shop.admin.delete_group(GROUP, 1.0)
    shop.commit(0, 2, group=GROUP)
    with pytest.raises(ConfigError, match=r"nothing says any more what replay 'r' was begun with .* another --name"):
        plan(shop, {0: 1}, {0: 4})
    shop.admin.set_group_offsets(GROUP, {TopicPartition(DLQ, 0): CommitPoint(NextOffset(0), "foreign")}, 1.0)
    with pytest.raises(ConfigError, match=r"offset of shop.charge.dlq\[0\] that no replay has committed"):
        plan(shop, {0: 1}, {0: 4})


def test_what_a_replay_was_begun_with_fits_a_commit_however_long_it_is(shop: Shop) -> None:
    begin(shop, plan(filled(shop), {0: 1}, {0: 4}, key="\x00" * 10_000))
    assert max(len(point.metadata) for point in shop.cluster.committed(GROUP).values()) < 4096
    assert plan(shop, {0: 1}, {0: 4}, key="\x00" * 10_000).resumed


def test_retention_moves_a_replay_on(shop: Shop) -> None:
    begin(shop, plan(filled(shop), {0: 0}, {0: 5}))
    shop.cluster.delete_records(TopicPartition("orders", 0), 3)
    assert plan(shop, {0: 0}, {0: 5}).spans == (Span(0, 0, 5, 3, True),)
    shop.cluster.delete_records(TopicPartition("orders", 0), 5)
    assert plan(shop, {0: 0}, {0: 5}).left_at_most == 0


def test_one_that_runs_is_not_started_twice(shop: Shop) -> None:
    found = plan(filled(shop))
    consumer = shop.cluster.consumer(ConsumerOptions(GROUP, "elsewhere"))
    consumer.subscribe("orders", Ignores())
    consumer.poll(0.0, 1)
    with pytest.raises(StaleMemberError, match=r"replay 'r' runs already, on .*: wait for its end"):
        begin(shop, found)


def test_a_replays_retry_topic_comes_and_goes_with_it(shop: Shop) -> None:
    begin(shop, plan(filled(shop)))
    assert len(shop.cluster.partitions(f"{GROUP}.retry")) == 2
    shop.cluster.append_marker(TopicPartition(f"{GROUP}.retry", 0))
    assert replay.end(shop.admin, shop.reader, shop.charge, GROUP, shop.clock) is None
    assert shop.cluster.partitions(f"{GROUP}.retry") == []
    assert replay.end(shop.admin, shop.reader, shop.charge, GROUP, shop.clock) is None, "nothing to remove is no error"


def test_what_is_still_parked_keeps_the_retry_topic(shop: Shop) -> None:
    begin(shop, plan(filled(shop)))
    payload = encode(entry(1))
    shop.cluster.append(TopicPartition(f"{GROUP}.retry", 1), payload.value, payload.key, payload.headers)
    told = replay.end(shop.admin, shop.reader, shop.charge, GROUP, shop.clock)
    assert told == f"retry topic {GROUP}.retry stays: it holds 1 parked records, or what cannot be read"
    assert len(shop.cluster.partitions(f"{GROUP}.retry")) == 2


def test_a_retry_topic_that_may_not_be_deleted_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(shop, plan(filled(shop)))

    def delete_topics(topics: Sequence[str], timeout_s: float) -> None:
        raise FatalBrokerError("no right to delete")

    monkeypatch.setattr(shop.admin, "delete_topics", delete_topics)
    told = replay.end(shop.admin, shop.reader, shop.charge, GROUP, shop.clock)
    assert told is not None
    assert "stays, empty (no right to delete): run `kafka-topics.sh" in told


def test_a_name_that_is_too_long_for_the_retry_topic_is_refused(shop: Shop) -> None:
    long = replace(shop.charge, group="g" * 200)
    with pytest.raises(ConfigError, match="at most 243 fit, so use a shorter --name"):
        replay.replay_group(long, "r" * 40)
