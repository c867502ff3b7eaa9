"""Records and offsets take effect together or not at all, and only while who sends them is who it says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamq.model.errors import FatalBrokerError, FencedError, RecordTooLargeError
from streamq.model.records import OutgoingRecord, TopicPartition
from streamq.model.transactions import Aborted, Batch, Committed, Stale, TransactionResult, TransactionStep
from tests.contract.backend import Backend
from tests.contract.driving import ANSWER_S, Member, admin_of, committed, fill, read, settle
from tests.contract.transacting import (
    Died,
    Joined,
    Stop,
    await_decided,
    await_points,
    await_that,
    dying_at,
    leave_open,
    member_of,
    places_of,
    point,
    session,
    to,
)

# Wholly or not at all


def test_records_and_points_are_seen_together(backend: Backend) -> None:
    joined = Joined(backend)
    source, journal = joined.at(0), TopicPartition(backend.make_topic(), 0)
    joined.member.commit({source: point(0, "before")})
    seen: list[object] = []

    def look() -> None:
        seen.append(read(backend, journal).values)
        seen.append(read(backend, journal, isolation="read_uncommitted").values)
        seen.append(dict(committed(backend, joined.group, source)))

    with session(backend, on_step=Stop("before_commit", look)) as transactions:
        result = transactions.run(Batch(to(journal, b"a", b"b"), {source: point(0, "map")}), joined.membership)
    assert seen == [[], [b"a", b"b"], {}]
    assert places_of(result) == (0, 1)
    assert await_points(backend, joined.group, source) == {source: point(0, "map")}
    await_decided(backend, journal)
    assert read(backend, journal).values == [b"a", b"b"]


def test_places_are_told_in_the_batchs_order(backend: Backend) -> None:
    joined = Joined(backend)
    topic = backend.make_topic(partitions=2)
    zero, one = (TopicPartition(topic, number) for number in range(2))
    fill(backend, topic, 5)
    with session(backend) as transactions:
        first = Batch([*to(one, b"a"), *to(zero, b"b"), *to(one, b"c")], {joined.at(0): point(0)})
        assert places_of(transactions.run(first, joined.membership)) == (0, 5, 1)
        assert places_of(transactions.run(Batch(to(zero, b"d")), joined.membership)) == (7,)
        many = Batch([record for number in range(500) for record in to(one, b"%d" % number)])
        assert places_of(transactions.run(many, joined.membership)) == tuple(range(3, 503))
    await_decided(backend, zero, one)
    found = read(backend, one)
    assert [(record.offset, record.value) for record in found.records[:3]] == [(0, b"a"), (1, b"c"), (3, b"0")]
    assert found.ends == [504]


def test_a_record_keeps_key_headers_and_timestamp(backend: Backend) -> None:
    joined = Joined(backend)
    journal = TopicPartition(backend.make_topic(), 0)
    headers = (("a", b"1"), ("a", None), ("b", b""))
    at_ms = int(backend.clock.time() * 1000) - 5_000
    outgoing = OutgoingRecord(journal.topic, b"key", None, headers, 0, at_ms)
    with session(backend) as transactions:
        places_of(transactions.run(Batch([outgoing]), joined.membership))
    await_decided(backend, journal)
    (record,) = read(backend, journal).records
    assert (record.key, record.value, record.headers, record.timestamp_ms) == (b"key", None, headers, at_ms)


def test_a_batch_may_hold_records_only_or_points_only_or_nothing(backend: Backend) -> None:
    joined = Joined(backend)
    source, journal = joined.at(0), TopicPartition(backend.make_topic(), 0)
    with session(backend) as transactions:
        assert places_of(transactions.run(Batch(), joined.membership)) == ()
        assert places_of(transactions.run(Batch(to(journal, b"a")), joined.membership)) == (0,)
        assert places_of(transactions.run(Batch((), {source: point(0, "only")}), joined.membership)) == ()
    assert await_points(backend, joined.group, source) == {source: point(0, "only")}


def test_plain_commits_go_before_and_after_and_the_last_that_was_sent_stands(backend: Backend) -> None:
    joined = Joined(backend)
    source = joined.at(0)

    def overtake() -> None:
        assert joined.member.commit({source: point(2, "plain")}) == {source: None}

    with session(backend, on_step=Stop("before_commit", overtake)) as transactions:
        assert places_of(transactions.run(Batch((), {source: point(1, "in it")}), joined.membership)) == ()
        assert await_points(backend, joined.group, source) == {source: point(2, "plain")}
        assert places_of(transactions.run(Batch((), {source: point(3, "second")}), joined.membership)) == ()
        assert await_points(backend, joined.group, source) == {source: point(3, "second")}
    joined.member.commit({source: point(4, "plain again")})
    assert await_points(backend, joined.group, source) == {source: point(4, "plain again")}


# Who may


def test_without_a_session_nothing_runs(backend: Backend) -> None:
    joined = Joined(backend)
    transactions = backend.clients.transactions(backend.new_name("tx"))
    with pytest.raises(FatalBrokerError, match="session"):
        transactions.run(Batch(), joined.membership)
    transactions.close()
    transactions.close()


def test_who_has_not_joined_has_no_membership(backend: Backend) -> None:
    """A broker would take a transaction of such a one without any check."""
    topic, group = backend.make_topic(), backend.new_name("group")
    member = Member(backend, group, topic)
    assert member.consumer.membership() is None
    settle(backend, group, topic, member)
    assert member.consumer.membership() is not None
    member.consumer.close(ANSWER_S)
    assert member.consumer.membership() is None


def test_a_member_that_its_group_has_let_go_is_stale(backend: Backend) -> None:
    joined = Joined(backend)
    source, journal = joined.at(0), TopicPartition(backend.make_topic(), 0)
    before = joined.membership
    backend.expel(joined.member.consumer, joined.group)
    with session(backend) as transactions:
        assert isinstance(transactions.run(Batch(to(journal, b"no"), {source: point(1)}), before), Stale)
    await_decided(backend, journal)
    assert read(backend, journal).values == []
    assert await_points(backend, joined.group, source) == {source: None}


def test_a_living_former_owner_is_refused_by_what_it_was_and_may_go_on_as_what_it_is(backend: Backend) -> None:
    """The broker looks at the generation only: under fresh membership it would take the former owner's offsets."""
    joined = Joined(backend, partitions=2)
    journal = TopicPartition(backend.make_topic(), 0)
    before = joined.membership
    heir = Member(backend, joined.group, joined.topic, name="heir", opens=False)
    settle(backend, joined.group, joined.topic, joined.member, heir)
    (moved,), (kept,) = heir.held, joined.member.held
    both = {moved: point(1, "late"), kept: point(1, "late")}
    with session(backend) as transactions, session(backend) as of_heir:
        assert isinstance(transactions.run(Batch(to(journal, b"late"), both), before), Stale)
        result = transactions.run(Batch(to(journal, b"kept"), {kept: point(1)}), joined.membership)
        assert isinstance(result, Committed)
        assert isinstance(of_heir.run(Batch(to(journal, b"moved"), {moved: point(2)}), member_of(heir)), Committed)
    await_decided(backend, journal)
    assert read(backend, journal).values == [b"kept", b"moved"]
    assert await_points(backend, joined.group, moved, kept) == {moved: point(2), kept: point(1)}


def test_what_was_sent_before_a_rebalance_is_still_committed_and_the_heir_waits_for_it(backend: Backend) -> None:
    """The membership is looked at when offsets are sent, not at the commit: so a new owner asks for stable offsets."""
    joined = Joined(backend, partitions=2)
    heir = Member(backend, joined.group, joined.topic, name="heir", opens=False)
    both = [joined.at(0), joined.at(1)]
    told: list[object] = []

    def rebalance() -> None:
        settle(backend, joined.group, joined.topic, joined.member, heir)
        told.append(dict(committed(backend, joined.group, *both)))

    with session(backend, on_step=Stop("before_commit", rebalance)) as transactions:
        batch = Batch((), dict.fromkeys(both, point(1, "before")))
        assert isinstance(transactions.run(batch, joined.membership), Committed)
        assert told == [{}]
        assert await_points(backend, joined.group, *both) == dict.fromkeys(both, point(1, "before"))
        assert isinstance(transactions.run(batch, member_of(heir)), Committed)


def test_a_transaction_is_taken_while_partitions_are_revoked_and_while_the_member_closes(backend: Backend) -> None:
    joined = Joined(backend, partitions=2)
    results: list[TransactionResult] = []
    with session(backend) as transactions:

        def say_good_bye(partitions: Sequence[TopicPartition]) -> None:
            points = dict.fromkeys(partitions, point(1, "good-bye"))
            results.append(transactions.run(Batch((), points), joined.membership))

        joined.member.before_revoke = say_good_bye
        heir = Member(backend, joined.group, joined.topic, name="heir", opens=False)
        settle(backend, joined.group, joined.topic, joined.member, heir)
        (moved,), (kept,) = heir.held, joined.member.held
        assert await_points(backend, joined.group, moved, kept) == {moved: point(1, "good-bye"), kept: None}
        joined.member.consumer.close(ANSWER_S)
        assert await_points(backend, joined.group, kept) == {kept: point(1, "good-bye")}
    assert results == [Committed(()), Committed(())]


def test_a_second_session_of_the_id_fences_the_first(backend: Backend) -> None:
    joined = Joined(backend)
    source, journal = joined.at(0), TopicPartition(backend.make_topic(), 0)
    name = backend.new_name("tx")
    with session(backend, name) as first, session(backend, name) as second:
        for _ in range(2):
            with pytest.raises(FencedError):
                first.run(Batch(to(journal, b"first"), {source: point(1)}), joined.membership)
        result = second.run(Batch(to(journal, b"second"), {source: point(2)}), joined.membership)
        assert isinstance(result, Committed)
        first.begin_session(ANSWER_S)
        assert isinstance(first.run(Batch(to(journal, b"third")), joined.membership), Committed)
        with pytest.raises(FencedError):
            second.run(Batch(to(journal, b"fourth")), joined.membership)
    await_decided(backend, journal)
    assert read(backend, journal).values == [b"second", b"third"]
    assert await_points(backend, joined.group, source) == {source: point(2)}


def test_one_that_is_fenced_in_the_middle_leaves_nothing(backend: Backend) -> None:
    joined = Joined(backend)
    source, journal = joined.at(0), TopicPartition(backend.make_topic(), 0)
    name = backend.new_name("tx")

    def take_over() -> None:
        with session(backend, name):
            pass

    with session(backend, name, Stop("before_commit", take_over)) as first, pytest.raises(FencedError):
        first.run(Batch(to(journal, b"first"), {source: point(1)}), joined.membership)
    await_decided(backend, journal)
    assert read(backend, journal).values == []
    assert await_points(backend, joined.group, source) == {source: None}


# What a dead predecessor leaves

STEPS: list[tuple[TransactionStep, bool]] = [
    ("before_begin", False),
    ("after_produce", False),
    ("after_send_offsets", False),
    ("before_commit", False),
    ("after_commit", True),
]


@pytest.mark.parametrize(("step", "took_effect"), STEPS)
def test_a_new_session_decides_what_a_dead_one_left(backend: Backend, step: TransactionStep, took_effect: bool) -> None:
    joined = Joined(backend)
    source, journal = joined.at(0), TopicPartition(backend.make_topic(), 0)
    dead = leave_open(backend, Batch(to(journal, b"left"), {source: point(1, "left")}), joined.membership, step)
    with session(backend, dead) as transactions:
        await_decided(backend, journal)
        left = point(1, "left") if took_effect else None
        assert await_points(backend, joined.group, source) == {source: left}
        assert read(backend, journal).values == ([b"left"] if took_effect else [])
        assert isinstance(transactions.run(Batch(to(journal, b"next")), joined.membership), Committed)


def test_a_hook_that_raises_ends_the_session(backend: Backend) -> None:
    joined = Joined(backend)
    with session(backend, on_step=dying_at("before_send_offsets")) as transactions:
        with pytest.raises(Died):
            transactions.run(Batch((), {joined.at(0): point(1)}), joined.membership)
        with pytest.raises(FatalBrokerError, match="session"):
            transactions.run(Batch(), joined.membership)
        transactions.begin_session(ANSWER_S)
        assert isinstance(transactions.run(Batch((), {joined.at(0): point(2)}), joined.membership), Committed)


# Culprits


def test_a_record_too_large_is_named_and_the_rest_passes_without_it(backend: Backend) -> None:
    joined = Joined(backend)
    source = joined.at(0)
    small = TopicPartition(backend.make_topic(config={"max.message.bytes": "20000"}), 0)
    other = TopicPartition(backend.make_topic(), 0)
    records = [*to(other, b"x"), *to(small, b"a", b"y" * 30_000, b"b")]
    with session(backend) as transactions:
        refused = transactions.run(Batch(records, {source: point(1)}), joined.membership)
        assert isinstance(refused, Aborted)
        assert isinstance(refused.error, RecordTooLargeError)
        assert (refused.record, refused.partition) == (2, small)
        del records[2]
        assert isinstance(transactions.run(Batch(records, {source: point(2)}), joined.membership), Committed)
    await_decided(backend, small, other)
    assert (read(backend, small).values, read(backend, other).values) == ([b"a", b"b"], [b"x"])
    assert await_points(backend, joined.group, source) == {source: point(2)}


def test_a_record_larger_than_anything_is_named(backend: Backend) -> None:
    joined = Joined(backend)
    journal = TopicPartition(backend.make_topic(), 0)
    with session(backend) as transactions:
        refused = transactions.run(Batch(to(journal, b"x", b"y" * 70_000_000)), joined.membership)
        assert isinstance(refused, Aborted)
        assert isinstance(refused.error, RecordTooLargeError)
        assert (refused.record, refused.partition) == (1, journal)
        assert isinstance(transactions.run(Batch(to(journal, b"x")), joined.membership), Committed)


@pytest.mark.parametrize("number", [0, 7])
def test_an_unknown_topic_or_partition_is_named(backend: Backend, number: int) -> None:
    joined = Joined(backend)
    journal = TopicPartition(backend.make_topic(), 0)
    missing = TopicPartition(journal.topic if number else backend.new_name("missing"), number)
    with session(backend) as transactions:
        refused = transactions.run(Batch([*to(journal, b"a"), *to(missing, b"b")]), joined.membership)
        assert isinstance(refused, Aborted)
        assert (refused.record, refused.partition) == (None, missing)
        refused = transactions.run(Batch(to(journal, b"a"), {missing: point(1)}), joined.membership)
        assert isinstance(refused, Aborted)
        assert (refused.record, refused.partition) == (None, missing)
        assert isinstance(transactions.run(Batch(to(journal, b"a")), joined.membership), Committed)


def test_a_topic_that_went_is_named(backend: Backend) -> None:
    joined = Joined(backend)
    journal, gone = TopicPartition(backend.make_topic(), 0), TopicPartition(backend.make_topic(), 0)
    batch = Batch([*to(journal, b"a"), *to(gone, b"b")])
    with session(backend) as transactions:
        assert isinstance(transactions.run(batch, joined.membership), Committed)
        admin_of(backend).delete_topics([gone.topic], ANSWER_S)
        await_that(backend, lambda: not admin_of(backend).describe_topics([gone.topic], 5.0)[gone.topic], "it is gone")
        refused = transactions.run(batch, joined.membership)
        assert isinstance(refused, Aborted)
        assert (refused.record, refused.partition) == (None, gone)
        assert isinstance(transactions.run(Batch(to(journal, b"c")), joined.membership), Committed)
    await_decided(backend, journal)
    assert read(backend, journal).values == [b"a", b"c"]


def test_metadata_too_large_is_named_and_nothing_is_committed(backend: Backend) -> None:
    joined = Joined(backend, partitions=3)
    zero, one, two = (joined.at(number) for number in range(3))
    batch = {zero: point(1, "x" * 4095), one: point(1, "x" * 4096), two: point(1)}
    with session(backend) as transactions:
        refused = transactions.run(Batch((), batch), joined.membership)
        assert isinstance(refused, Aborted)
        assert (refused.record, refused.partition) == (None, one)
        assert refused.error.code == "OFFSET_METADATA_TOO_LARGE"
        nothing = {zero: None, one: None, two: None}
        assert await_points(backend, joined.group, zero, one, two) == nothing
        del batch[one]
        assert isinstance(transactions.run(Batch((), batch), joined.membership), Committed)
    assert await_points(backend, joined.group, zero, one, two) == {**nothing, **batch}
