"""Members come, go, die and return; a partition is never in two hands."""

from __future__ import annotations

import pytest

from streamq.model.errors import ConfigError, FencedError, StaleMemberError
from streamq.model.ports import ConsumerOptions
from streamq.model.records import CommitPoint, NextOffset, TopicPartition
from tests.contract.backend import Backend
from tests.contract.driving import ANSWER_S, Hands, Member, admin_of, committed, drive, fill, fill_new, settle


def test_a_second_member_gets_its_share_and_the_first_keeps_the_rest(backend: Backend) -> None:
    topic, group, hands = backend.make_topic(partitions=6), backend.new_name("group"), Hands()
    first = Member(backend, group, topic, name="first", hands=hands)
    settle(backend, group, topic, first)
    second = Member(backend, group, topic, name="second", hands=hands)
    settle(backend, group, topic, first, second)
    assert hands.violations == []
    assert first.held | second.held == {TopicPartition(topic, number) for number in range(6)}
    # Incremental: what the first keeps is never taken from it.
    revoked = [one for how, partitions in first.log if how == "revoked" for one in partitions]
    assert set(revoked) == second.held
    assert len(revoked) == 3


def test_members_come_and_go_without_a_partition_in_two_hands(backend: Backend) -> None:
    topic, group, hands = backend.make_topic(partitions=7), backend.new_name("group"), Hands()
    members = [Member(backend, group, topic, name="first", hands=hands)]
    settle(backend, group, topic, *members)
    for name in ("second", "third"):
        members.append(Member(backend, group, topic, name=name, hands=hands))
        settle(backend, group, topic, *members)
    members.pop(0).consumer.close(10.0)
    settle(backend, group, topic, *members)
    members.pop().consumer.close(10.0)
    settle(backend, group, topic, *members)
    assert hands.violations == []


def test_who_leaves_gives_its_partitions_to_the_others_at_once(backend: Backend) -> None:
    topic, group, hands = backend.make_topic(partitions=4), backend.new_name("group"), Hands()
    fill(backend, topic, 10)
    first = Member(backend, group, topic, name="first", hands=hands)
    second = Member(backend, group, topic, name="second", hands=hands)
    settle(backend, group, topic, first, second)
    kept = set(second.held)
    first.consumer.close(10.0)
    settle(backend, group, topic, second)
    assert hands.violations == []
    assert not [one for how, partitions in second.log if how != "assigned" for one in partitions if one in kept]


def test_who_dies_leaves_its_partitions_to_the_others_at_what_it_committed(backend: Backend) -> None:
    topic, group = backend.make_topic(), backend.new_name("group")
    partition = TopicPartition(topic, 0)
    values = fill(backend, topic, 10)
    dead = Member(backend, group, topic, name="dead")
    settle(backend, group, topic, dead)
    drive(backend, lambda: len(dead.records) == 10, "all is polled", dead)
    dead.commit({partition: CommitPoint(NextOffset(4))})
    backend.expel(dead.consumer, group)
    heir = Member(backend, group, topic, name="heir")
    drive(backend, lambda: len(heir.records) >= 6, "the heir reads on", heir)
    assert heir.values == values[4:]
    assert dead.held == {partition}


def test_who_stood_still_for_too_long_commits_nothing_more_loses_all_and_comes_back(backend: Backend) -> None:
    topic, group = backend.make_topic(partitions=2), backend.new_name("group")
    partition = TopicPartition(topic, 0)
    member = Member(backend, group, topic)
    settle(backend, group, topic, member)
    point = CommitPoint(NextOffset(0), "as a member")
    member.commit({partition: point})
    held = set(member.held)
    backend.expel(member.consumer, group)
    refused = member.commit({partition: CommitPoint(NextOffset(0), "too late")})[partition]
    assert isinstance(refused, StaleMemberError)
    assert committed(backend, group, partition) == {partition: point}
    member.log.clear()
    drive(backend, lambda: bool(member.log), "it hears of it", member)
    assert {one for how, partitions in member.log if how == "lost" for one in partitions} == held
    assert not [how for how, _ in member.log if how == "revoked"]
    settle(backend, group, topic, member)


def test_to_rejoin_loses_all_and_gets_it_anew(backend: Backend) -> None:
    topic, group = backend.make_topic(partitions=2), backend.new_name("group")
    values = fill(backend, topic, 5)
    member = Member(backend, group, topic)
    settle(backend, group, topic, member)
    drive(backend, lambda: len(member.records) == 5, "all is polled", member)
    member.log.clear()
    member.records.clear()
    member.consumer.rejoin()
    drive(backend, lambda: len(member.held) == 2 and len(member.log) > 1, "it is back", member)
    both = tuple(TopicPartition(topic, number) for number in range(2))
    assert member.log[0] == ("lost", both)
    assert {how for how, _ in member.log[1:]} == {"assigned"}
    drive(backend, lambda: len(member.records) >= 5, "it reads again", member)
    assert member.values == values


def test_partitions_that_are_added_arrive(backend: Backend) -> None:
    topic, group, hands = backend.make_topic(partitions=2), backend.new_name("group"), Hands()
    first = Member(backend, group, topic, name="first", hands=hands)
    second = Member(backend, group, topic, name="second", hands=hands)
    settle(backend, group, topic, first, second)
    admin_of(backend).add_partitions(topic, 4, ANSWER_S)
    fill_new(backend, topic, 1, partition=3)
    settle(backend, group, topic, first, second)
    drive(backend, lambda: bool(first.records or second.records), "the new partition is read", first, second)
    assert [record.partition for record in [*first.records, *second.records]] == [3]
    assert hands.violations == []


def test_two_groups_do_not_know_of_each_other(backend: Backend) -> None:
    topic = backend.make_topic()
    values = fill(backend, topic, 5)
    partition = TopicPartition(topic, 0)
    members = []
    for name in ("one", "two"):
        group = backend.new_name("group")
        members.append(Member(backend, group, topic, name=name))
        settle(backend, group, topic, members[-1])
    members[0].commit({partition: CommitPoint(NextOffset(5))})
    drive(backend, lambda: all(len(member.records) == 5 for member in members), "both read all", *members)
    assert members[1].values == values


def test_a_static_member_that_returns_has_its_partitions_back_and_nobody_else_notices(backend: Backend) -> None:
    topic, group = backend.make_topic(partitions=4), backend.new_name("group")
    if backend.protocol != "classic":
        pytest.skip("static members belong to the classic protocol here")
    fixed = Member(backend, group, topic, name="fixed", instance_id=f"{group}-1")
    other = Member(backend, group, topic, name="other")
    settle(backend, group, topic, fixed, other)
    had = set(fixed.held)
    noticed = list(other.log)
    fixed.consumer.close(10.0)
    back = Member(backend, group, topic, name="back", instance_id=f"{group}-1")
    drive(backend, lambda: back.held == had, "it has back what it had", back, other)
    assert other.log == noticed


def test_of_two_with_one_static_identity_the_first_is_fenced(backend: Backend) -> None:
    topic, group = backend.make_topic(), backend.new_name("group")
    if backend.protocol != "classic":
        pytest.skip("static members belong to the classic protocol here")
    partition = TopicPartition(topic, 0)
    first = Member(backend, group, topic, name="first", instance_id=f"{group}-1")
    settle(backend, group, topic, first)
    second = Member(backend, group, topic, name="second", instance_id=f"{group}-1")
    drive(backend, lambda: second.held == {partition}, "the second has it", second)
    refused = first.commit({partition: CommitPoint(NextOffset(0))})[partition]
    assert isinstance(refused, FencedError)
    with pytest.raises(FencedError):
        drive(backend, lambda: False, "the first hears of it", first)


def test_a_static_identity_under_the_consumer_protocol_is_refused(backend: Backend) -> None:
    options = ConsumerOptions(backend.new_name("group"), "contract", "consumer", "one")
    with pytest.raises(ConfigError, match="classic"):
        backend.clients.consumer(options)
