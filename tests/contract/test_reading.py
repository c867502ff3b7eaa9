"""A reader gives what a partition holds, and its end, whatever the last offsets are."""

from __future__ import annotations

from contextlib import closing

from streamq.model.clock import Deadline
from streamq.model.ports import ConsumerEvent, ReachedEnd, ReaderPort
from streamq.model.records import Earliest, NextOffset, Record, TopicPartition
from tests.contract.backend import ABORTED, COMMITTED, KEPT, Backend
from tests.contract.driving import POLL_S, fill, locate, read


def test_an_empty_partition_has_an_end(backend: Backend) -> None:
    found = read(backend, TopicPartition(backend.make_topic(), 0))
    assert (found.records, found.ends) == ([], [0])


def test_reading_begins_at_the_position(backend: Backend) -> None:
    topic = backend.make_topic()
    values = fill(backend, topic, 10)
    found = read(backend, TopicPartition(topic, 0), 4)
    assert (found.values, found.ends) == (values[4:], [10])


def test_the_end_itself_is_a_position(backend: Backend) -> None:
    topic = backend.make_topic()
    fill(backend, topic, 3)
    found = read(backend, TopicPartition(topic, 0), 3)
    assert (found.records, found.ends, found.out_of_range) == ([], [3], [])


def test_an_end_behind_a_commit_marker_is_reached(backend: Backend) -> None:
    topic, partition = backend.make_topic(), 0
    fill(backend, topic, 3)
    backend.end_with_commit_marker(topic)
    found = read(backend, TopicPartition(topic, partition))
    assert found.values == [b"0", b"1", b"2", COMMITTED]
    assert found.ends == [5] == [locate(backend, TopicPartition(topic, partition))]


def test_an_end_behind_an_abort_marker_is_reached(backend: Backend) -> None:
    topic = backend.make_topic()
    fill(backend, topic, 3)
    backend.end_with_abort_marker(topic)
    found = read(backend, TopicPartition(topic, 0))
    assert found.values == [b"0", b"1", b"2"]
    assert found.ends == [5] == [locate(backend, TopicPartition(topic, 0))]


def test_aborted_records_are_there_for_those_who_want_them(backend: Backend) -> None:
    topic = backend.make_topic()
    backend.end_with_abort_marker(topic)
    found = read(backend, TopicPartition(topic, 0), isolation="read_uncommitted")
    assert (found.values, found.ends) == ([ABORTED], [2])


def test_records_go_on_behind_markers(backend: Backend) -> None:
    topic = backend.make_topic()
    backend.end_with_abort_marker(topic)
    backend.end_with_commit_marker(topic)
    fill(backend, topic, 2)
    found = read(backend, TopicPartition(topic, 0))
    assert [(record.offset, record.value) for record in found.records] == [(2, COMMITTED), (4, b"0"), (5, b"1")]
    assert found.ends == [6]


def test_an_end_behind_a_compacted_hole_is_reached(backend: Backend) -> None:
    topic = backend.make_topic_with_hole_at_end()
    partition = TopicPartition(topic, 0)
    found = read(backend, partition)
    end = locate(backend, partition)
    assert (found.values, found.ends) == ([KEPT], [end])
    assert found.records[-1].offset <= end - 3


def test_a_position_inside_a_hole_goes_on_behind_it(backend: Backend) -> None:
    topic = backend.make_topic()
    backend.end_with_abort_marker(topic)
    fill(backend, topic, 1)
    found = read(backend, TopicPartition(topic, 0), 1)
    assert [record.offset for record in found.records] == [2]


def test_a_position_beyond_the_end_is_out_of_range(backend: Backend) -> None:
    topic = backend.make_topic()
    fill(backend, topic, 3)
    assert read(backend, TopicPartition(topic, 0), 10).out_of_range == [10]


def test_a_position_that_retention_took_is_out_of_range(backend: Backend) -> None:
    topic = backend.make_topic()
    partition = TopicPartition(topic, 0)
    values = fill(backend, topic, 10)
    backend.delete_records(partition, 6)
    assert locate(backend, partition, Earliest()) == 6
    assert read(backend, partition, 2).out_of_range == [2]
    assert read(backend, partition, 6).values == values[6:]


def poll_until_end(backend: Backend, reader: ReaderPort, end: int) -> tuple[list[Record], list[ConsumerEvent]]:
    """Poll until this end is reported, and a little longer."""
    records: list[Record] = []
    events: list[ConsumerEvent] = []
    deadline = Deadline(backend.clock, backend.patience_s)
    while end not in [event.next_offset for event in events if isinstance(event, ReachedEnd)]:
        assert not deadline.expired(), f"end {end} is not reported: {events}"
        polled = reader.poll(POLL_S, 100)
        records.extend(polled.records)
        events.extend(polled.events)
    for _ in range(3):
        polled = reader.poll(POLL_S, 100)
        records.extend(polled.records)
        events.extend(polled.events)
    return records, events


def test_each_end_is_reported_once_and_again_after_new_records(backend: Backend) -> None:
    topic = backend.make_topic()
    partition = TopicPartition(topic, 0)
    with closing(backend.clients.reader()) as reader:
        reader.assign({partition: NextOffset(0)})
        assert poll_until_end(backend, reader, 0) == ([], [ReachedEnd(partition, NextOffset(0))])
        values = fill(backend, topic, 3)
        records, events = poll_until_end(backend, reader, 3)
        assert [record.value for record in records] == values
        assert events[-1] == ReachedEnd(partition, NextOffset(3))
        assert len(events) == len(set(events))


def test_a_poll_gives_no_more_than_it_is_asked_for(backend: Backend) -> None:
    topic = backend.make_topic()
    values = fill(backend, topic, 50)
    polled_values: list[bytes | None] = []
    deadline = Deadline(backend.clock, backend.patience_s)
    with closing(backend.clients.reader()) as reader:
        reader.assign({TopicPartition(topic, 0): NextOffset(0)})
        while len(polled_values) < 50:
            assert not deadline.expired()
            polled = reader.poll(POLL_S, 7)
            assert len(polled.records) <= 7
            polled_values += [record.value for record in polled.records]
    assert polled_values == values


def test_several_partitions_each_in_order(backend: Backend) -> None:
    topic = backend.make_topic(partitions=3)
    for number in range(3):
        fill(backend, topic, 40, partition=number)
    found: dict[int, list[bytes | None]] = {0: [], 1: [], 2: []}
    ends: set[TopicPartition] = set()
    deadline = Deadline(backend.clock, backend.patience_s)
    with closing(backend.clients.reader()) as reader:
        reader.assign({TopicPartition(topic, number): NextOffset(10 * number) for number in range(3)})
        while len(ends) < 3:
            assert not deadline.expired()
            polled = reader.poll(POLL_S, 25)
            for record in polled.records:
                found[record.partition].append(record.value)
            for event in polled.events:
                if isinstance(event, ReachedEnd):
                    ends.add(event.partition)
                    assert len(found[event.partition.partition]) == 40 - 10 * event.partition.partition
    assert found == {number: [b"%d" % value for value in range(10 * number, 40)] for number in range(3)}


def test_to_assign_anew_replaces_what_was_read(backend: Backend) -> None:
    first, second = backend.make_topic(), backend.make_topic()
    fill(backend, first, 5)
    fill(backend, second, 5, start=100)
    with closing(backend.clients.reader()) as reader:
        reader.assign({TopicPartition(first, 0): NextOffset(0)})
        poll_until_end(backend, reader, 5)
        reader.assign({TopicPartition(second, 0): NextOffset(3)})
        records, _ = poll_until_end(backend, reader, 5)
    assert [(record.topic, record.value) for record in records] == [(second, b"103"), (second, b"104")]
