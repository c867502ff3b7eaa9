"""What is committed is what was said, by whoever is a member, and nothing else is checked."""

from __future__ import annotations

from collections.abc import Sequence

from streamq.model.errors import FatalBrokerError
from streamq.model.ports import CommitAnswer
from streamq.model.records import CommitPoint, NextOffset, TopicPartition
from tests.contract.backend import Backend
from tests.contract.driving import Member, committed, fill, settle


def point(offset: int, metadata: str = "") -> CommitPoint:
    """An offset to commit."""
    return CommitPoint(NextOffset(offset), metadata)


def joined(backend: Backend, topic: str, *, opens: bool = True) -> tuple[Member, str]:
    """A member that has all partitions of its topic."""
    group = backend.new_name("group")
    member = Member(backend, group, topic, opens=opens)
    settle(backend, group, topic, member)
    return member, group


def test_offsets_and_metadata_are_taken_as_they_are(backend: Backend) -> None:
    topic = backend.make_topic(partitions=3)
    zero, one, two = (TopicPartition(topic, number) for number in range(3))
    fill(backend, topic, 5)
    member, group = joined(backend, topic)
    assert committed(backend, group, zero, one) == {zero: None, one: None}
    assert member.commit({zero: point(3, "what=ever/+"), one: point(0)}) == {zero: None, one: None}
    assert committed(backend, group, zero, one, two) == {zero: point(3, "what=ever/+"), one: point(0), two: None}


def test_metadata_alone_may_change(backend: Backend) -> None:
    topic = backend.make_topic()
    partition = TopicPartition(topic, 0)
    member, group = joined(backend, topic)
    member.commit({partition: point(0, "first")})
    assert member.commit({partition: point(0, "second")}) == {partition: None}
    assert committed(backend, group, partition) == {partition: point(0, "second")}


def test_4095_characters_are_taken_4096_are_not_and_the_others_are(backend: Backend) -> None:
    topic = backend.make_topic(partitions=3)
    zero, one, two = (TopicPartition(topic, number) for number in range(3))
    member, group = joined(backend, topic)
    answer = member.commit({zero: point(1, "x" * 4095), one: point(1, "x" * 4096), two: point(1)})
    assert answer[zero] is None
    assert answer[two] is None
    refused = answer[one]
    assert isinstance(refused, FatalBrokerError)
    assert refused.code == "OFFSET_METADATA_TOO_LARGE"
    assert committed(backend, group, zero, one, two) == {zero: point(1, "x" * 4095), one: None, two: point(1)}


def test_a_commit_may_go_backwards(backend: Backend) -> None:
    """So its sender has to see to it that it never does."""
    topic = backend.make_topic()
    partition = TopicPartition(topic, 0)
    member, group = joined(backend, topic)
    member.commit({partition: point(9)})
    assert member.commit({partition: point(4)}) == {partition: None}
    assert committed(backend, group, partition) == {partition: point(4)}


def test_many_large_maps_are_taken_together(backend: Backend) -> None:
    """More than a coordinator takes in one request of 400 KB."""
    topic = backend.make_topic(partitions=105)
    partitions = [TopicPartition(topic, number) for number in range(105)]
    member, group = joined(backend, topic, opens=False)
    points = {partition: point(0, "m" * 4000) for partition in partitions}
    assert member.commit(points) == dict.fromkeys(partitions)
    assert committed(backend, group, *partitions) == points


def test_a_commit_is_taken_while_partitions_are_revoked(backend: Backend) -> None:
    topic = backend.make_topic(partitions=2)
    group = backend.new_name("group")
    first = Member(backend, group, topic, name="first")
    settle(backend, group, topic, first)
    answers: list[CommitAnswer] = []

    def say_good_bye(partitions: Sequence[TopicPartition]) -> None:
        answers.append(first.commit({partition: point(0, "good-bye") for partition in partitions}))

    first.before_revoke = say_good_bye
    second = Member(backend, group, topic, name="second")
    settle(backend, group, topic, first, second)
    moved = next(iter(second.held))
    assert answers == [{moved: None}]
    assert committed(backend, group, moved) == {moved: point(0, "good-bye")}


def test_a_commit_is_taken_while_the_member_closes(backend: Backend) -> None:
    topic = backend.make_topic()
    partition = TopicPartition(topic, 0)
    member, group = joined(backend, topic)
    answers: list[CommitAnswer] = []
    member.before_revoke = lambda _: answers.append(member.commit({partition: point(0, "last")}))
    member.consumer.close(10.0)
    assert answers == [{partition: None}]
    assert committed(backend, group, partition) == {partition: point(0, "last")}


def test_offsets_outlive_their_members(backend: Backend) -> None:
    topic = backend.make_topic()
    values = fill(backend, topic, 10)
    partition = TopicPartition(topic, 0)
    member, group = joined(backend, topic)
    member.commit({partition: point(7, "map")})
    member.consumer.close(10.0)
    later = Member(backend, group, topic, name="later")
    settle(backend, group, topic, later)
    while len(later.records) < 3:
        later.step()
    assert later.values == values[7:]
