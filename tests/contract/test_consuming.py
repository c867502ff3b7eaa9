"""One member alone: what it is assigned is paused until it is opened, and then gives each record once."""

from __future__ import annotations

from functools import partial

import pytest

from streamq.model.clock import Deadline
from streamq.model.errors import RetriableError
from streamq.model.records import NextOffset, TopicPartition
from tests.contract.backend import COMMITTED, Backend
from tests.contract.driving import Member, drive, fill


def joined(backend: Backend, topic: str, *, opens: bool = True) -> Member:
    """A member that has its partitions."""
    member = Member(backend, backend.new_name("group"), topic, opens=opens)
    drive(backend, lambda: bool(member.held), "it is assigned", member)
    return member


def test_a_member_reads_what_is_there_and_what_comes(backend: Backend) -> None:
    topic = backend.make_topic()
    values = fill(backend, topic, 20)
    member = joined(backend, topic)
    drive(backend, lambda: len(member.records) >= 20, "the records are polled", member)
    values += fill(backend, topic, 20, start=20)
    drive(backend, lambda: len(member.records) >= 40, "the later records are polled", member)
    assert member.values == values
    assert [record.offset for record in member.records] == list(range(40))


def test_what_is_assigned_gives_nothing_before_it_is_opened(backend: Backend) -> None:
    topic = backend.make_topic()
    fill(backend, topic, 5)
    member = joined(backend, topic, opens=False)
    for _ in range(10):
        member.step()
    assert member.records == []


def test_sought_before_it_is_resumed_it_gives_exactly_that_record_first(backend: Backend) -> None:
    topic = backend.make_topic()
    values = fill(backend, topic, 30)
    partition = TopicPartition(topic, 0)
    member = joined(backend, topic, opens=False)
    member.go_to(partition, 17)
    member.consumer.resume([partition])
    drive(backend, lambda: len(member.records) >= 13, "the records are polled", member)
    assert member.values == values[17:]


def test_a_later_seek_goes_back_and_forth(backend: Backend) -> None:
    topic = backend.make_topic()
    values = fill(backend, topic, 30)
    partition = TopicPartition(topic, 0)
    member = joined(backend, topic)
    drive(backend, lambda: len(member.records) >= 30, "the records are polled", member)
    for position in (25, 3):
        member.records.clear()
        member.consumer.pause([partition])
        member.go_to(partition, position)
        assert member.records == []
        member.consumer.resume([partition])
        drive(backend, partial(member.has, 30 - position), "the records are polled again", member)
        assert member.values == values[position:]


def test_to_pause_and_resume_loses_and_repeats_nothing(backend: Backend) -> None:
    topic = backend.make_topic(partitions=2)
    for number in range(2):
        fill(backend, topic, 300, partition=number)
    partitions = [TopicPartition(topic, number) for number in range(2)]
    member = joined(backend, topic)
    deadline = Deadline(backend.clock, backend.patience_s)
    turn = 0
    while len(member.records) < 600:
        assert not deadline.expired(), f"{len(member.records)} of 600 records"
        resting = partitions[turn % 2]
        member.consumer.pause([resting])
        before = len(member.records)
        member.step(0.02, 40)
        assert all(record.partition != resting.partition for record in member.records[before:])
        member.consumer.resume([resting])
        turn += 1
    for partition in partitions:
        offsets = [record.offset for record in member.records if record.partition == partition.partition]
        assert offsets == list(range(300))


def test_what_is_not_assigned_cannot_be_sought_and_its_pause_is_ignored(backend: Backend) -> None:
    topic = backend.make_topic()
    member = joined(backend, topic)
    other = TopicPartition(backend.make_topic(), 0)
    member.consumer.pause([other])
    member.consumer.resume([other])
    with pytest.raises(RetriableError):
        member.consumer.seek(other, NextOffset(0))


def test_a_position_that_is_gone_stands_until_it_is_sought(backend: Backend) -> None:
    topic = backend.make_topic()
    partition = TopicPartition(topic, 0)
    values = fill(backend, topic, 10)
    backend.delete_records(partition, 6)
    member = joined(backend, topic, opens=False)
    member.go_to(partition, 2)
    member.consumer.resume([partition])
    drive(backend, lambda: (partition, 2) in member.out_of_range(), "it is reported", member)
    for _ in range(5):
        member.step()
    assert member.records == []
    member.go_to(partition, 6)
    drive(backend, lambda: len(member.records) >= 4, "reading goes on", member)
    assert member.values == values[6:]


def test_ends_are_reported_behind_markers_too(backend: Backend) -> None:
    topic = backend.make_topic(partitions=2)
    fill(backend, topic, 2)
    backend.end_with_commit_marker(topic)
    backend.end_with_abort_marker(topic)
    member = joined(backend, topic)
    wanted = {(TopicPartition(topic, 0), 6), (TopicPartition(topic, 1), 0)}
    drive(backend, lambda: wanted <= set(member.ends()), "both ends are reported", member)
    assert member.values == [b"0", b"1", COMMITTED]


def test_a_poll_that_has_something_does_not_wait(backend: Backend) -> None:
    topic = backend.make_topic()
    fill(backend, topic, 1)
    member = joined(backend, topic)
    drive(backend, lambda: len(member.records) == 1, "the first record is polled", member)
    drive(backend, lambda: len(member.ends()) == 1, "the end is reported", member)
    fill(backend, topic, 1, start=1)
    started = backend.clock.monotonic()
    while len(member.records) < 2:
        member.step(20.0, 500)
    assert backend.clock.monotonic() - started < 10.0


def test_to_close_tells_what_goes_and_twice_is_once(backend: Backend) -> None:
    topic = backend.make_topic(partitions=2)
    member = joined(backend, topic)
    drive(backend, lambda: len(member.held) == 2, "it has both", member)
    member.consumer.close(10.0)
    member.consumer.close(10.0)
    assert member.held == set()
    assert [how for how, _ in member.log] == ["assigned", "revoked"]
