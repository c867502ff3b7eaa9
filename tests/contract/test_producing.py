"""What is produced stands in its topic, untouched, in order, where its key belongs."""

from __future__ import annotations

from streamq.core.murmur2 import partition_for
from streamq.model.errors import BrokerError, RecordTooLargeError
from streamq.model.records import Delivery, OutgoingRecord, TopicPartition
from tests.contract.backend import Backend
from tests.contract.driving import ANSWER_S, admin_of, attempt, produce, read


def test_records_of_a_partition_are_written_in_the_order_of_the_calls(backend: Backend) -> None:
    topic = backend.make_topic()
    values = [b"%d" % number for number in range(300)]
    deliveries = produce(backend, [OutgoingRecord(topic, b"k", value) for value in values])
    assert [delivery.offset for delivery in deliveries] == list(range(300))
    assert read(backend, TopicPartition(topic, 0)).values == values


def test_key_value_headers_and_timestamp_come_back_untouched(backend: Backend) -> None:
    topic = backend.make_topic()
    now_ms = int(backend.clock.time() * 1000)
    headers = (("a", b"1"), ("a", b"2"), ("none", None), ("empty", b""), ("bytes", b"\x00\xff"))
    sent = [
        OutgoingRecord(topic, b"\x00key\xff", b"\x00value\xff", headers, 0, now_ms - 5_000),
        OutgoingRecord(topic, None, b"without a key", (), 0, now_ms - 1),
        OutgoingRecord(topic, b"tombstone", None, (), 0, now_ms),
        OutgoingRecord(topic, b"", b"", (), 0, now_ms - 60_000),
    ]
    deliveries = produce(backend, sent)
    found = read(backend, TopicPartition(topic, 0)).records
    assert [(one.key, one.value, one.headers, one.timestamp_ms) for one in found] == [
        (one.key, one.value, one.headers, one.timestamp_ms) for one in sent
    ]
    assert [(one.topic, one.partition, one.offset) for one in found] == [(topic, 0, number) for number in range(4)]
    assert [delivery.timestamp_ms for delivery in deliveries] == [one.timestamp_ms for one in sent]


def test_without_a_timestamp_the_time_of_the_call_counts(backend: Backend) -> None:
    topic = backend.make_topic()
    before_ms = int(backend.clock.time() * 1000)
    produce(backend, [OutgoingRecord(topic, None, b"now")])
    (found,) = read(backend, TopicPartition(topic, 0)).records
    assert before_ms - 1 <= found.timestamp_ms <= int(backend.clock.time() * 1000) + 1


def test_under_log_append_time_the_broker_says_what_time_it_is(backend: Backend) -> None:
    topic = backend.make_topic(config={"message.timestamp.type": "LogAppendTime"})
    produce(backend, [OutgoingRecord(topic, None, b"late", (), None, 1_000_000_000_000)])
    (found,) = read(backend, TopicPartition(topic, 0)).records
    assert abs(found.timestamp_ms - backend.clock.time() * 1000) < 60_000


def test_a_key_decides_the_partition_as_java_clients_compute_it(backend: Backend) -> None:
    topic = backend.make_topic(partitions=7)
    keys = [b"key-%d" % number for number in range(100)] + ["Schlüssel".encode(), b"\x00", b""]
    deliveries = produce(backend, [OutgoingRecord(topic, key, b"v") for key in keys])
    assert [delivery.partition for delivery in deliveries] == [partition_for(key, 7) for key in keys]


def test_a_partition_that_is_named_counts_more_than_the_key(backend: Backend) -> None:
    topic = backend.make_topic(partitions=3)
    deliveries = produce(backend, [OutgoingRecord(topic, b"k", b"v", partition=number) for number in (2, 0, 1)])
    assert [delivery.partition for delivery in deliveries] == [2, 0, 1]


def test_without_a_key_any_partition_takes_it(backend: Backend) -> None:
    topic = backend.make_topic(partitions=3)
    deliveries = produce(backend, [OutgoingRecord(topic, None, b"v") for _ in range(10)])
    assert {delivery.partition for delivery in deliveries} <= {0, 1, 2}


def test_a_record_above_the_topics_limit_is_refused_and_harms_no_other(backend: Backend) -> None:
    topic = backend.make_topic(config={"max.message.bytes": "2000"})
    before, refused, after = (
        attempt(backend, [OutgoingRecord(topic, b"k", b"x" * size)])[0] for size in (100, 3_000, 1_900)
    )
    assert isinstance(before, Delivery)
    assert isinstance(refused, RecordTooLargeError)
    assert isinstance(after, Delivery)
    assert [len(record.value or b"") for record in read(backend, TopicPartition(topic, 0)).records] == [100, 1_900]


def test_producing_never_makes_a_topic(backend: Backend) -> None:
    topic = backend.new_name("missing")
    reports: list[Delivery | BrokerError] = []
    producer = backend.clients.producer()
    producer.produce(OutgoingRecord(topic, b"k", b"v"), reports.append)
    producer.flush(1.0)
    producer.close(0.1)
    assert not [report for report in reports if isinstance(report, Delivery)]
    assert admin_of(backend).describe_topics([topic], ANSWER_S) == {topic: None}
