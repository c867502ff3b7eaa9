"""What librdkafka says in words and bytes, read without a broker."""

from __future__ import annotations

import struct

import pytest
from confluent_kafka import Consumer, KafkaError, Producer

from streamq.kafka import KafkaClients
from streamq.kafka import settings as rules
from streamq.kafka.batches import Sending
from streamq.kafka.logs import LibrdkafkaLog
from streamq.kafka.membership import is_member
from streamq.kafka.refusals import Refusals
from streamq.model.clock import Deadline, SystemClock
from streamq.model.errors import ConfigError, FatalBrokerError, InvariantError
from streamq.model.records import CommitPoint, NextOffset, OutgoingRecord, TopicPartition
from streamq.model.transactions import Batch

NOBODY = "127.0.0.1:1"


def metadata(generation: int, member: str) -> bytes:
    """As the client library writes it."""
    return b"CGMDv2:" + struct.pack("=i", generation) + b"shop.charge\0" + member.encode() + b"\0\x01"


def test_only_a_member_with_a_generation_is_one() -> None:
    assert is_member(metadata(0, "m-1"))
    assert is_member(metadata(258, "m-1"))
    assert not is_member(metadata(-1, "m-1"))
    assert not is_member(metadata(-1, ""))
    assert not is_member(metadata(3, ""))


@pytest.mark.parametrize("unknown", [b"CGMDv3:\0\0\0\0g\0m\0", "CGMDv2:", None])
def test_metadata_of_another_form_is_refused(unknown: object) -> None:
    with pytest.raises(InvariantError):
        is_member(unknown)


def test_the_library_writes_it_so() -> None:
    consumer = Consumer({"bootstrap.servers": NOBODY, "group.id": "g"}, logger=LibrdkafkaLog())
    found = consumer.consumer_group_metadata()
    consumer.close()
    assert found == metadata(-1, "").replace(b"shop.charge", b"g")


def sending(*metadata_lengths: int) -> Sending:
    """A batch with a point in as many partitions."""
    producer = Producer({"bootstrap.servers": NOBODY}, logger=LibrdkafkaLog())
    points = {
        TopicPartition("orders", number): CommitPoint(NextOffset(0), "x" * length)
        for number, length in enumerate(metadata_lengths)
    }
    return Sending(producer, Batch((), points), Deadline(SystemClock(), 1.0))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("Failed to commit offsets: orders((null))[1](Broker: Unknown topic or partition) (after 3ms)", 1),
        ("Failed to commit offsets: orders(aGVsbG8)[2](Broker: Unknown topic or partition) (after 3ms)", 2),
        ("Failed to commit offsets: orders[1](Broker: Unknown topic or partition) (after 3ms)", 1),
        ("Failed to commit offsets: other((null))[1](Broker: Unknown topic or partition) (after 3ms)", None),
        ("Failed to commit offsets", None),
    ],
)
def test_the_partition_that_is_named_in_words_is_the_culprit(said: str, named: int | None) -> None:
    error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, said)
    found = sending(1, 1, 1).culprit(error)
    assert found == (None if named is None else TopicPartition("orders", named))


def test_metadata_too_large_that_nobody_names_is_the_longest() -> None:
    error = KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE, "too large")
    assert sending(5, 4096, 9).culprit(error) == TopicPartition("orders", 1)


def test_a_partition_that_only_the_log_names_is_the_culprit_once() -> None:
    refusals = Refusals()
    words = 'TxnCoordinator/1: Failed to add partition "{}" [{}] to transaction: Broker: {}'
    for topic, number, cause in (("r", 0, "Operation not attempted"), ("d", 2, "Topic authorization failed")):
        refusals.log(20, "%s %s %s", "ADDPARTS", "[rdkafka#producer-1]", words.format(topic, number, cause))
    found = refusals.take()
    assert found is not None
    assert (found.record, found.partition) == (None, TopicPartition("d", 2))
    assert isinstance(found.error, FatalBrokerError)
    assert "grant" in str(found.error)
    assert refusals.take() is None


def test_a_record_without_a_partition_is_a_bug() -> None:
    producer = Producer({"bootstrap.servers": NOBODY}, logger=LibrdkafkaLog())
    batch = Batch([OutgoingRecord("orders", b"k", b"v")])
    with pytest.raises(InvariantError, match="partition"):
        Sending(producer, batch, Deadline(SystemClock(), 1.0)).hand_over()


def test_a_transactions_times_fit_together_whatever_the_user_sets() -> None:
    user = {
        "delivery.timeout.ms": 120_000,
        "message.timeout.ms": 120_000,
        "socket.timeout.ms": 60_000,
        "transaction.timeout.ms": 900_000,
        "compression.type": "lz4",
    }
    made = rules.transactions(NOBODY, rules.check(user), "shop.charge.1")
    assert made["transactional.id"] == "shop.charge.1"
    assert made["compression.type"] == "lz4"
    assert (made["enable.idempotence"], made["acks"]) == (True, "all")
    assert (made["transaction.timeout.ms"], made["delivery.timeout.ms"], made["retry.backoff.ms"]) == (10_000, 3_000, 5)
    assert "message.timeout.ms" not in made
    assert int(str(made["socket.timeout.ms"])) < 10_000
    Producer(dict(made), logger=LibrdkafkaLog())


def test_a_transactional_id_is_not_the_users_to_set() -> None:
    with pytest.raises(ConfigError, match=r"transactional\.id"):
        KafkaClients(NOBODY, {"transactional.id": "mine"})
