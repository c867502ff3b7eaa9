"""What the cluster answers to those who ask."""

from __future__ import annotations

import pytest

from streamq.model.errors import FatalBrokerError, StaleMemberError
from streamq.model.ports import AdminPort
from streamq.model.records import (
    AtTime,
    CommitPoint,
    Earliest,
    Latest,
    NextOffset,
    OutgoingRecord,
    TopicPartition,
    TopicSpec,
)
from tests.contract.backend import Backend
from tests.contract.driving import ANSWER_S, Member, admin_of, existing, fill, produce, settle


@pytest.fixture
def admin(backend: Backend) -> AdminPort:
    """The admin under test."""
    return admin_of(backend)


# Topics


def test_a_topic_is_created_once(backend: Backend, admin: AdminPort) -> None:
    name = backend.new_name("made")
    assert admin.describe_topics([name], ANSWER_S) == {name: None}
    assert admin.create_topic(TopicSpec(name, 3, None, {"retention.ms": "-1"}), ANSWER_S)
    assert not admin.create_topic(TopicSpec(name, 5), ANSWER_S)
    info = existing(backend, name)
    assert (info.name, info.partitions, info.replication_factor) == (name, 3, 1)
    assert name in admin.list_topics(ANSWER_S)


def test_nothing_to_describe_is_nothing(admin: AdminPort) -> None:
    assert admin.describe_topics([], ANSWER_S) == {}


@pytest.mark.parametrize(
    "spec",
    [
        TopicSpec("replicated", 1, 5),
        TopicSpec("configured", 1, None, {"no.such.setting": "1"}),
        TopicSpec("not a topic's name", 1),
    ],
)
def test_what_cannot_be_created_is_refused_for_good(backend: Backend, admin: AdminPort, spec: TopicSpec) -> None:
    name = f"{backend.new_name('bad')}-{spec.name}"
    with pytest.raises(FatalBrokerError):
        admin.create_topic(spec._replace(name=name), ANSWER_S)
    assert name not in admin.list_topics(ANSWER_S)


def test_a_topic_that_is_made_anew_has_another_id(backend: Backend, admin: AdminPort) -> None:
    topic = backend.make_topic()
    before = existing(backend, topic)
    assert existing(backend, topic).topic_id == before.topic_id
    fill(backend, topic, 3)
    missing = backend.new_name("missing")
    admin.delete_topics([topic, missing], ANSWER_S)
    while admin.describe_topics([topic], ANSWER_S)[topic] is not None:
        backend.clock.sleep(0.05)
    assert admin.create_topic(TopicSpec(topic, 1), ANSWER_S)
    assert existing(backend, topic).topic_id != before.topic_id
    partition = TopicPartition(topic, 0)
    assert admin.list_offsets({partition: Latest()}).result(ANSWER_S) == {partition: 0}


def test_a_topic_grows(backend: Backend, admin: AdminPort) -> None:
    topic = backend.make_topic(partitions=2)
    admin.add_partitions(topic, 5, ANSWER_S)
    assert existing(backend, topic).partitions == 5
    admin.add_partitions(topic, 5, ANSWER_S)
    assert existing(backend, topic).partitions == 5
    partition = TopicPartition(topic, 4)
    assert admin.list_offsets({partition: Latest()}).result(ANSWER_S) == {partition: 0}


def test_settings_are_read_and_changed(backend: Backend, admin: AdminPort) -> None:
    topic = backend.make_topic(config={"max.message.bytes": "12345"})
    before = admin.topic_config(topic, ANSWER_S)
    assert before["max.message.bytes"] == "12345"
    defaults = {
        "cleanup.policy": "delete",
        "retention.ms": "604800000",
        "retention.bytes": "-1",
        "min.insync.replicas": "1",
        "message.timestamp.type": "CreateTime",
    }
    assert {name: before[name] for name in defaults} == defaults
    assert "message.timestamp.after.max.ms" in before
    admin.alter_topic_config(topic, {"retention.ms": "-1"}, ANSWER_S)
    deadline = ANSWER_S
    while (after := admin.topic_config(topic, ANSWER_S))["retention.ms"] != "-1":
        backend.clock.sleep(0.05)
        deadline -= 0.05
        assert deadline > 0
    assert after == {**before, "retention.ms": "-1"}


def test_an_unknown_setting_cannot_be_set(backend: Backend, admin: AdminPort) -> None:
    topic = backend.make_topic()
    with pytest.raises(FatalBrokerError):
        admin.alter_topic_config(topic, {"no.such.setting": "1"}, ANSWER_S)


# Offsets


def test_offsets_are_located(backend: Backend, admin: AdminPort) -> None:
    topic = backend.make_topic(partitions=2)
    partition, empty = TopicPartition(topic, 0), TopicPartition(topic, 1)
    start_ms = int(backend.clock.time() * 1000) - 100_000
    produce(
        backend,
        [OutgoingRecord(topic, None, b"v", (), 0, start_ms + 1_000 * number) for number in range(10)],
    )
    backend.delete_records(partition, 2)
    assert admin.list_offsets({partition: Earliest(), empty: Earliest()}).result(ANSWER_S) == {partition: 2, empty: 0}
    assert admin.list_offsets({partition: Latest(), empty: Latest()}).result(ANSWER_S) == {partition: 10, empty: 0}
    for at_ms, offset in ((0, 2), (start_ms + 4_000, 4), (start_ms + 4_001, 5), (start_ms + 99_000, 10)):
        assert admin.list_offsets({partition: AtTime(at_ms)}).result(ANSWER_S) == {partition: offset}, at_ms
    assert admin.list_offsets({empty: AtTime(start_ms)}).result(ANSWER_S) == {empty: 0}


def test_an_end_counts_markers(backend: Backend, admin: AdminPort) -> None:
    topic = backend.make_topic()
    backend.end_with_commit_marker(topic)
    backend.end_with_abort_marker(topic)
    partition = TopicPartition(topic, 0)
    assert admin.list_offsets({partition: Latest()}).result(ANSWER_S) == {partition: 4}
    assert admin.list_offsets({partition: Latest()}, "read_uncommitted").result(ANSWER_S) == {partition: 4}


# Groups


def test_a_group_nobody_knows(backend: Backend, admin: AdminPort) -> None:
    group, partition = backend.new_name("group"), TopicPartition(backend.make_topic(), 0)
    assert admin.describe_group(group, ANSWER_S) is None
    assert admin.group_offsets(group, [partition]).result(ANSWER_S) == {partition: None}
    assert group not in admin.list_groups(ANSWER_S)
    admin.delete_group(group, ANSWER_S)


def test_a_group_without_members_can_be_given_offsets_and_forgotten(backend: Backend, admin: AdminPort) -> None:
    group, topic = backend.new_name("group"), backend.make_topic(partitions=2)
    zero, one = (TopicPartition(topic, number) for number in range(2))
    point = CommitPoint(NextOffset(7), "by hand")
    admin.set_group_offsets(group, {zero: point}, ANSWER_S)
    assert admin.group_offsets(group, [zero, one]).result(ANSWER_S) == {zero: point, one: None}
    info = admin.describe_group(group, ANSWER_S)
    assert info is not None
    assert (info.state, info.members) == ("Empty", ())
    assert group in admin.list_groups(ANSWER_S)
    admin.delete_group(group, ANSWER_S)
    assert admin.describe_group(group, ANSWER_S) is None
    assert admin.group_offsets(group, [zero]).result(ANSWER_S) == {zero: None}


def test_a_group_with_members_is_described_and_left_alone(backend: Backend, admin: AdminPort) -> None:
    group, topic = backend.new_name("group"), backend.make_topic(partitions=3)
    partition = TopicPartition(topic, 0)
    member = Member(backend, group, topic)
    settle(backend, group, topic, member)
    info = admin.describe_group(group, ANSWER_S)
    assert info is not None
    assert (info.group, info.state, info.protocol) == (group, "Stable", backend.protocol)
    (told,) = info.members
    assert told.partitions == tuple(TopicPartition(topic, number) for number in range(3))
    assert told.member_id
    assert told.client_id
    assert told.host
    assert told.instance_id is None
    with pytest.raises(StaleMemberError):
        admin.set_group_offsets(group, {partition: CommitPoint(NextOffset(1))}, ANSWER_S)
    with pytest.raises(StaleMemberError):
        admin.delete_group(group, ANSWER_S)
    assert admin.group_offsets(group, [partition]).result(ANSWER_S) == {partition: None}
    member.consumer.close(10.0)
    admin.set_group_offsets(group, {partition: CommitPoint(NextOffset(1))}, ANSWER_S)
    admin.delete_group(group, ANSWER_S)
