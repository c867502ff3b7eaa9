"""What only the in-memory cluster does, or does by itself: refusals, holes, real time, threads."""

from __future__ import annotations

import threading

import pytest

from streamq.model.errors import BrokerError, ConfigError, FatalBrokerError, RecordTooLargeError, RetriableError
from streamq.model.ports import ConsumerOptions, OutOfRange, ReachedEnd, Trouble
from streamq.model.records import Delivery, NextOffset, Offset, OutgoingRecord, Record, TopicPartition, TopicSpec
from streamq.testing import ManualClock, MemoryCluster
from streamq.testing.memory.topics import batch_bytes

from .listening import Listening

P0 = TopicPartition("t", 0)
WAIT_S = 10.0


def made(config: dict[str, str] | None = None, *, partitions: int = 1) -> MemoryCluster:
    """A cluster with one topic, its time by hand."""
    cluster = MemoryCluster(clock=ManualClock())
    cluster.create_topic("t", partitions, config)
    return cluster


# What a broker refuses


@pytest.mark.parametrize("name", ["", "a b", "ü", ".", "..", "x" * 250])
def test_names_that_kafka_does_not_take(name: str) -> None:
    with pytest.raises(FatalBrokerError, match="topic name"):
        made().create_topic(name)


def test_a_topic_has_partitions_and_does_not_shrink() -> None:
    cluster = made(partitions=3)
    with pytest.raises(FatalBrokerError, match="use 1 or more"):
        cluster.create_topic("none", 0)
    with pytest.raises(FatalBrokerError, match="cannot shrink to 2"):
        cluster.admin().add_partitions("t", 2, 1.0)
    with pytest.raises(RetriableError, match="does not exist"):
        cluster.admin().add_partitions("missing", 2, 1.0)


def test_a_timestamp_too_far_ahead_is_refused() -> None:
    cluster = made()
    now_ms = int(cluster.clock.time() * 1000)
    cluster.append(P0, b"v", timestamp_ms=now_ms + 3_600_000)
    with pytest.raises(FatalBrokerError, match="timestamp"):
        cluster.append(P0, b"v", timestamp_ms=now_ms + 3_600_001)


def test_a_compacted_topic_wants_keys() -> None:
    with pytest.raises(FatalBrokerError, match="without a key"):
        made({"cleanup.policy": "compact,delete"}).append(P0, b"v")


def test_the_size_of_a_record_is_its_batchs_size() -> None:
    """As Kafka's message format counts it: 61 bytes a batch, varints before each part."""
    assert batch_bytes(OutgoingRecord("t", None, b"")) == 61 + 1 + 6
    assert batch_bytes(OutgoingRecord("t", b"k" * 100, b"v" * 100)) == 61 + 2 + 3 + 102 + 102 + 1
    assert batch_bytes(OutgoingRecord("t", None, None, (("name", b"x"), ("none", None)))) == 61 + 1 + 6 + 5 + 2 + 5 + 1


def test_the_limit_itself_is_taken() -> None:
    fits = OutgoingRecord("t", None, b"v" * 500)
    cluster = made({"max.message.bytes": str(batch_bytes(fits))})
    cluster.append(P0, fits.value)
    with pytest.raises(RecordTooLargeError, match=r"max\.message\.bytes is"):
        cluster.append(P0, b"v" * 501)


def test_a_partition_that_does_not_exist_takes_nothing() -> None:
    reports: list[Delivery | BrokerError] = []
    made().producer().produce(OutgoingRecord("t", None, b"v", partition=1), reports.append)
    assert isinstance(reports[0], FatalBrokerError)


def test_a_partition_that_does_not_exist_is_reported_to_its_reader_once() -> None:
    reader = made().reader()
    reader.assign({TopicPartition("missing", 0): NextOffset(0)})
    (event,) = reader.poll(1.0, 1).events
    assert isinstance(event, Trouble)
    assert reader.poll(1.0, 1).events == ()


def test_a_closed_client_is_no_more() -> None:
    cluster = made()
    reader, producer, consumer = cluster.reader(), cluster.producer(), cluster.consumer(ConsumerOptions("g", "c"))
    reader.close()
    producer.close(0.0)
    consumer.close(0.0)
    with pytest.raises(FatalBrokerError, match="closed"):
        reader.poll(0.0, 1)
    with pytest.raises(FatalBrokerError, match="closed"):
        producer.produce(OutgoingRecord("t", None, b"v"), lambda _: None)
    with pytest.raises(FatalBrokerError, match="closed"):
        consumer.poll(0.0, 1)


def test_a_consumer_of_another_cluster_cannot_crash_here() -> None:
    with pytest.raises(ConfigError, match="no consumer of this cluster"):
        made().crash(made().consumer(ConsumerOptions("g", "c")))


# Logs with holes


def read_all(cluster: MemoryCluster, start: int, most: int = 100) -> tuple[list[Record], list[object]]:
    """All that one reader gets from there on."""
    reader = cluster.reader()
    reader.assign({P0: NextOffset(start)})
    records: list[Record] = []
    events: list[object] = []
    while not events:
        polled = reader.poll(1.0, most)
        records += polled.records
        events += polled.events
    return records, events


@pytest.mark.parametrize("most", [1, 2, 100])
@pytest.mark.parametrize("start", range(10))
def test_holes_are_passed_from_wherever_one_starts(start: int, most: int) -> None:
    cluster = made()
    cluster.append_hole(P0, 2)
    cluster.append(P0, b"2")
    cluster.append_aborted(P0, b"3")
    cluster.append(P0, b"5")
    cluster.append(P0, b"6")
    cluster.append_hole(P0, 2)
    records, events = read_all(cluster, start, most)
    assert [record.offset for record in records] == [offset for offset in (2, 5, 6) if offset >= start]
    assert events == [ReachedEnd(P0, NextOffset(9))]


def test_compaction_keeps_the_last_of_each_key() -> None:
    cluster = made({"cleanup.policy": "compact"})
    for key, value in ((b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None)):
        cluster.append(P0, value, key)
    cluster.compact(P0)
    records, events = read_all(cluster, 0)
    assert [(record.offset, record.key, record.value) for record in records] == [(2, b"a", b"2")]
    assert events == [ReachedEnd(P0, NextOffset(4))]


def test_retention_may_take_everything() -> None:
    cluster = made()
    cluster.append(P0, b"1")
    cluster.delete_records(P0, 99)
    assert read_all(cluster, 1)[1] == [ReachedEnd(P0, NextOffset(1))]
    assert read_all(cluster, 0)[1] == [OutOfRange(P0, Offset(0))]
    assert cluster.append(P0, b"2").offset == 1
    assert [record.value for record in cluster.records("t")] == [b"2"]


def test_partitions_take_turns() -> None:
    """A full partition does not keep the others waiting."""
    cluster = made(partitions=3)
    partitions = [TopicPartition("t", number) for number in range(3)]
    for partition in partitions:
        for _ in range(20):
            cluster.append(partition, b"v")
    reader = cluster.reader()
    reader.assign(dict.fromkeys(partitions, NextOffset(0)))
    assert {record.partition for _ in range(3) for record in reader.poll(0.0, 5).records} == {0, 1, 2}


# Groups of a topic that changes


def test_a_deleted_topic_takes_its_assignment_and_its_offsets_with_it() -> None:
    cluster = made()
    admin = cluster.admin()
    consumer = cluster.consumer(ConsumerOptions("g", "c"))
    listener = Listening(consumer)
    consumer.subscribe("t", listener)
    consumer.poll(0.0, 1)
    admin.delete_topics(["t"], 1.0)
    consumer.poll(0.0, 1)
    assert listener.log == [("assigned", (P0,)), ("revoked", (P0,))]
    assert admin.create_topic(TopicSpec("t", 1), 1.0)
    consumer.poll(0.0, 1)
    assert listener.log[-1] == ("assigned", (P0,))
    assert admin.group_offsets("g", [P0]).result(0.0) == {P0: None}


def test_a_static_member_that_does_not_return_is_let_go_of() -> None:
    cluster = made()
    clock = cluster.clock
    assert isinstance(clock, ManualClock)
    fixed = cluster.consumer(ConsumerOptions("g", "c", instance_id="one", session_timeout_s=10.0))
    fixed.subscribe("t", Listening(fixed))
    fixed.poll(0.0, 1)
    fixed.close(0.0)
    clock.advance(9.0)
    info = cluster.admin().describe_group("g", 1.0)
    assert info is not None
    assert info.members[0].instance_id == "one"
    clock.advance(1.0)
    assert cluster.admin().describe_group("g", 1.0) is None


# Real time and threads


def test_a_waiting_poll_is_woken_by_what_comes() -> None:
    cluster = MemoryCluster()
    cluster.create_topic("t")
    reader = cluster.reader()
    reader.assign({P0: NextOffset(0)})
    assert reader.poll(0.0, 1).events
    found: list[Record] = []
    thread = threading.Thread(target=lambda: found.extend(reader.poll(WAIT_S, 1).records))
    thread.start()
    cluster.append(P0, b"v")
    thread.join(WAIT_S)
    assert [record.value for record in found] == [b"v"]


def test_in_real_time_what_is_delayed_comes_by_itself() -> None:
    cluster = MemoryCluster()
    cluster.create_topic("t")
    cluster.faults.delay_produces(0.05)
    reported = threading.Event()
    cluster.producer().produce(OutgoingRecord("t", None, b"v"), lambda _: reported.set())
    assert not reported.is_set()
    assert reported.wait(WAIT_S)
    cluster.faults.delay_admin(0.05)
    assert cluster.admin().group_offsets("g", [P0]).result(WAIT_S) == {P0: None}


class Reading(Listening):
    """A member in a thread of its own, that reads each partition from its beginning."""

    def __init__(self, cluster: MemoryCluster, name: str, seen: set[tuple[int, int]], total: int) -> None:
        super().__init__(cluster.consumer(ConsumerOptions("g", name)))
        self.thread = threading.Thread(target=self._run)
        self.all_seen = threading.Event()
        self.stop = threading.Event()
        self.jumps: list[tuple[int, int]] = []
        self._seen, self._total = seen, total
        self._next: dict[int, int] = {}

    def _run(self) -> None:
        self.consumer.subscribe("t", self)
        while not self.stop.is_set():
            for record in self.consumer.poll(0.01, 50).records:
                if record.offset != self._next[record.partition]:
                    self.jumps.append((record.partition, record.offset))
                self._next[record.partition] = record.offset + 1
                self._seen.add((record.partition, record.offset))
            self._open()
            if len(self._seen) == self._total:
                self.all_seen.set()
        self.consumer.close(1.0)

    def _open(self) -> None:
        for _, partitions in (entry for entry in self.log if entry[0] == "assigned"):
            for partition in partitions:
                self._next[partition.partition] = 0
                self.consumer.seek(partition, NextOffset(0))
            self.consumer.resume(partitions)
        self.log.clear()


def test_members_in_threads_of_their_own_read_all_and_each_in_order() -> None:
    cluster = MemoryCluster()
    cluster.create_topic("t", 6)
    seen: set[tuple[int, int]] = set()
    members = [Reading(cluster, name, seen, 1_200) for name in ("a", "b", "c")]
    for member in members:
        member.thread.start()
    producer = cluster.producer()
    for number in range(1_200):
        producer.produce(OutgoingRecord("t", None, b"%d" % number, partition=number % 6), lambda _: None)
    everything_was_seen = members[0].all_seen.wait(WAIT_S)
    for member in members:
        member.stop.set()
        member.thread.join(WAIT_S)
    assert everything_was_seen
    assert [member.jumps for member in members] == [[], [], []]
