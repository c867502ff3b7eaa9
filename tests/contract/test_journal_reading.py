"""What a new owner of a journal needs to know: where it ends, whether that is decided, and what is gone."""

from __future__ import annotations

from contextlib import closing

from streamq.model.clock import Deadline
from streamq.model.errors import FatalBrokerError, RetriableError
from streamq.model.ports import ReachedEnd
from streamq.model.records import Earliest, NextOffset, TopicPartition, TopicSpec
from streamq.model.transactions import Batch, Committed
from tests.contract.backend import Backend
from tests.contract.driving import ANSWER_S, POLL_S, Member, admin_of, existing, fill, locate, read, settle
from tests.contract.transacting import (
    Joined,
    Stop,
    await_decided,
    await_points,
    await_that,
    ends,
    leave_open,
    member_of,
    places_of,
    point,
    session,
    to,
)


def journal_of(backend: Backend) -> TopicPartition:
    """An empty one."""
    return TopicPartition(backend.make_topic(), 0)


# Both ends


def test_the_ends_differ_while_a_transaction_is_open_and_meet_behind_its_marker(backend: Backend) -> None:
    joined, journal = Joined(backend), journal_of(backend)
    fill(backend, journal.topic, 2)
    dead = leave_open(backend, Batch(to(journal, b"a", b"b")), joined.membership, "before_commit")
    assert ends(backend, journal) == (2, 4)
    fill(backend, journal.topic, 1)
    assert ends(backend, journal) == (2, 5)
    with session(backend, dead):
        await_decided(backend, journal)
    assert ends(backend, journal) == (6, 6)


def test_a_time_is_looked_for_among_what_is_decided(backend: Backend) -> None:
    joined, journal = Joined(backend), journal_of(backend)
    fill(backend, journal.topic, 2)
    leave_open(backend, Batch(to(journal, b"a")), joined.membership, "before_commit")
    assert locate(backend, journal, Earliest()) == 0
    assert locate(backend, journal) == 2


def test_a_reader_stops_at_the_stable_end_and_goes_on_when_all_is_decided(backend: Backend) -> None:
    """What others wrote behind an open transaction waits with it: a zombie holds up the stable end, too."""
    joined, journal = Joined(backend), journal_of(backend)
    fill(backend, journal.topic, 2)
    dead = leave_open(backend, Batch(to(journal, b"open")), joined.membership, "before_commit")
    fill(backend, journal.topic, 1, start=2)
    values: list[bytes | None] = []
    told: list[int] = []
    with closing(backend.clients.reader()) as reader:
        reader.assign({journal: NextOffset(0)})
        deadline = Deadline(backend.clock, backend.patience_s)

        def poll_until(end: int) -> None:
            while end not in told:
                assert not deadline.expired(), f"end {end} is not reported, {told} are"
                polled = reader.poll(POLL_S, 100)
                values.extend(record.value for record in polled.records)
                told.extend(event.next_offset for event in polled.events if isinstance(event, ReachedEnd))

        poll_until(2)
        assert values == [b"0", b"1"]
        with session(backend, dead):
            poll_until(5)
    assert values == [b"0", b"1", b"2"]
    assert told == [2, 5]


def test_who_reads_uncommitted_passes_an_open_transaction(backend: Backend) -> None:
    joined, journal = Joined(backend), journal_of(backend)
    leave_open(backend, Batch(to(journal, b"open")), joined.membership, "before_commit")
    fill(backend, journal.topic, 1)
    found = read(backend, journal, isolation="read_uncommitted")
    assert (found.values, found.ends) == ([b"open", b"0"], [2])
    assert read(backend, journal).ends == [0]


def test_two_open_transactions_end_in_any_order(backend: Backend) -> None:
    joined, journal = Joined(backend), journal_of(backend)
    first = leave_open(backend, Batch(to(journal, b"first")), joined.membership, "before_commit")

    with session(backend) as transactions:
        assert places_of(transactions.run(Batch(to(journal, b"second")), joined.membership)) == (1,)
    await_that(backend, lambda: ends(backend, journal)[1] == 3, "the second's marker is written")
    assert ends(backend, journal) == (0, 3)
    with session(backend, first):
        await_decided(backend, journal)
    found = read(backend, journal)
    assert (found.values, found.ends) == ([b"second"], [4])


def test_a_journal_is_read_from_its_beginning_to_its_end_behind_markers(backend: Backend) -> None:
    joined, journal = Joined(backend), journal_of(backend)
    source = joined.at(0)
    with session(backend) as transactions:
        for number in range(5):
            batch = Batch(to(journal, b"%d" % number), {source: point(number)})
            assert places_of(transactions.run(batch, joined.membership)) == (2 * number,)
    await_decided(backend, journal)
    found = read(backend, journal)
    assert [(record.offset, record.value) for record in found.records] == [(2 * n, b"%d" % n) for n in range(5)]
    assert found.ends == [10] == [locate(backend, journal)]


# Undecided offsets


def test_undecided_partitions_are_left_out_and_the_others_answered(backend: Backend) -> None:
    joined = Joined(backend, partitions=40)
    sources = [joined.at(number) for number in range(40)]
    joined.member.commit({source: point(1, "old") for source in sources})
    held = {sources[3]: point(2, "new"), sources[17]: point(2, "new")}
    dead = leave_open(backend, Batch((), held), joined.membership, "before_commit")
    admin = admin_of(backend)
    for _ in range(2):
        answer = admin.group_offsets(joined.group, sources).result(ANSWER_S)
        assert answer == {source: point(1, "old") for source in sources if source not in held}
    assert admin.group_offsets(joined.group, [sources[3]]).result(ANSWER_S) == {}
    with session(backend, dead):
        old = {source: point(1, "old") for source in sources}
        assert await_points(backend, joined.group, *sources) == old


def test_offsets_that_another_group_holds_open_are_its_own_matter(backend: Backend) -> None:
    joined = Joined(backend)
    source, group = joined.at(0), backend.new_name("group")
    other = Member(backend, group, joined.topic, name="other", opens=False)
    settle(backend, group, joined.topic, other)
    leave_open(backend, Batch((), {source: point(5)}), member_of(other), "before_commit")
    joined.member.commit({source: point(1)})
    admin = admin_of(backend)
    assert admin.group_offsets(joined.group, [source]).result(ANSWER_S) == {source: point(1)}
    assert admin.group_offsets(group, [source]).result(ANSWER_S) == {}


def test_a_plain_commit_does_not_decide(backend: Backend) -> None:
    joined = Joined(backend)
    source = joined.at(0)
    dead = leave_open(backend, Batch((), {source: point(2)}), joined.membership, "before_commit")
    assert joined.member.commit({source: point(3, "plain")}) == {source: None}
    assert admin_of(backend).group_offsets(joined.group, [source]).result(ANSWER_S) == {}
    with session(backend, dead):
        assert await_points(backend, joined.group, source) == {source: point(3, "plain")}


# What is deleted, and what is made anew


def test_what_is_below_is_deleted_and_the_log_begins_there(backend: Backend) -> None:
    topic = backend.make_topic(partitions=2)
    zero, one = (TopicPartition(topic, number) for number in range(2))
    values = fill(backend, topic, 10)
    fill(backend, topic, 3, partition=1)
    admin = admin_of(backend)
    before = {zero: NextOffset(6), one: NextOffset(3)}
    assert admin.delete_records(before).result(ANSWER_S) == before
    assert [locate(backend, place, Earliest()) for place in (zero, one)] == [6, 3]
    assert read(backend, zero, 6).values == values[6:]
    assert read(backend, zero, 5).out_of_range == [5]
    assert read(backend, one, 3).ends == [3]
    assert admin.delete_records({zero: NextOffset(4)}).result(ANSWER_S) == {zero: 6}
    assert admin.delete_records({}).result(ANSWER_S) == {}


def test_a_partition_that_refuses_says_nothing_of_the_others(backend: Backend) -> None:
    topic = backend.make_topic(partitions=2)
    zero, one = (TopicPartition(topic, number) for number in range(2))
    missing = TopicPartition(backend.new_name("missing"), 0)
    fill(backend, topic, 3)
    answer = admin_of(backend).delete_records({zero: NextOffset(2), one: NextOffset(9), missing: NextOffset(1)})
    found = answer.result(2 * ANSWER_S)
    assert found[zero] == 2
    assert isinstance(found[one], FatalBrokerError)
    assert isinstance(found[missing], RetriableError)
    assert [locate(backend, place, Earliest()) for place in (zero, one)] == [2, 0]


def test_markers_are_deleted_like_records(backend: Backend) -> None:
    joined, journal = Joined(backend), journal_of(backend)
    with session(backend) as transactions:
        for value in (b"a", b"b"):
            assert isinstance(transactions.run(Batch(to(journal, value)), joined.membership), Committed)
        await_decided(backend, journal)
        assert admin_of(backend).delete_records({journal: NextOffset(4)}).result(ANSWER_S) == {journal: 4}
        assert places_of(transactions.run(Batch(to(journal, b"c")), joined.membership)) == (4,)
    await_decided(backend, journal)
    found = read(backend, journal, 4)
    assert (found.values, found.ends) == ([b"c"], [6])


def test_a_journal_made_anew_is_taken_without_an_error_and_shows_by_its_id(backend: Backend) -> None:
    joined, journal = Joined(backend), journal_of(backend)
    admin = admin_of(backend)
    with session(backend) as transactions:
        assert places_of(transactions.run(Batch(to(journal, b"a", b"b")), joined.membership)) == (0, 1)
        before = existing(backend, journal.topic).topic_id
        admin.delete_topics([journal.topic], ANSWER_S)
        await_that(backend, lambda: admin.describe_topics([journal.topic], 5.0)[journal.topic] is None, "it is gone")
        assert admin.create_topic(TopicSpec(journal.topic, 1), ANSWER_S)
        result = transactions.run(Batch(to(journal, b"c")), joined.membership)
        if not isinstance(result, Committed):
            result = transactions.run(Batch(to(journal, b"c")), joined.membership)
        assert places_of(result) == (0,)
    assert existing(backend, journal.topic).topic_id != before
    await_decided(backend, journal)
    found = read(backend, journal)
    assert (found.values, found.ends) == ([b"c"], [2])


def test_a_reader_sees_what_was_appended_since_it_came_to_the_end(backend: Backend) -> None:
    joined, journal = Joined(backend), journal_of(backend)
    seen: list[bytes | None] = []
    with session(backend) as transactions, closing(backend.clients.reader()) as reader:
        reader.assign({journal: NextOffset(0)})
        for number in range(3):
            places_of(transactions.run(Batch(to(journal, b"%d" % number)), joined.membership))

            def appended(expected: int = number + 1) -> bool:
                seen.extend(record.value for record in reader.poll(POLL_S, 100).records)
                return len(seen) >= expected

            await_that(backend, appended, f"record {number} is read")
    assert seen == [b"0", b"1", b"2"]


def test_an_end_that_is_asked_before_is_passed_by_the_stable_one(backend: Backend) -> None:
    """The order in which a new owner asks: nothing that was open when the end was told is missed."""
    joined, journal = Joined(backend), journal_of(backend)
    told: list[tuple[int, int]] = []
    with session(backend, on_step=Stop("before_commit", lambda: told.append(ends(backend, journal)))) as transactions:
        places_of(transactions.run(Batch(to(journal, b"a", b"b")), joined.membership))
    (stable, end), *_ = told
    assert (stable, end) == (0, 2)
    await_that(backend, lambda: ends(backend, journal)[0] >= end, "the stable end is no less")
    assert read(backend, journal).values == [b"a", b"b"]
