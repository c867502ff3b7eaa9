"""Publishing: what is checked, in which order things are written, and who waits for what."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest

import streamq as sq
from streamq.model.errors import BrokerError, FatalBrokerError, OutcomeUnknownError, RecordTooLargeError
from streamq.model.ports import ProducerPort
from streamq.model.records import Delivery, TopicInfo, TopicSpec

from .fakes import FakeClients

WAIT_S = 10.0


class Order(msgspec.Struct):
    amount: float


class World:
    def __init__(self, *topics: str, room: int = 1_000_000, create: bool = True, timeout_s: float = WAIT_S) -> None:
        self.clients = FakeClients(*topics, room=room)
        self.app = sq.App("shop", clients=self.clients, create_topics=create, publish_timeout_s=timeout_s)
        self.orders = self.app.topic("orders", value=Order, partitions=6, config={"retention.ms": "5"})
        self.raw = self.app.topic("raw")

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self.clients.only_producer.produced]


@pytest.fixture
def world() -> World:
    return World()


def wait_for(condition: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(int(WAIT_S / 0.005)):
        if condition():
            return
        done.wait(0.005)
    raise AssertionError("did not happen in time")


# What is written.


def test_a_record_is_written_with_key_headers_time_and_partition(world: World) -> None:
    delivery = world.app.publish(
        world.orders,
        Order(2.5),
        key="ann",
        headers={"trace": "ü", "raw": b"\xff", "none": None},
        timestamp=datetime(2026, 11, 20, 8, tzinfo=timezone(timedelta(hours=2))),
        partition=4,
    ).result(1)
    assert delivery == Delivery("orders", 4, delivery.offset, 0)
    (record,) = world.clients.only_producer.produced
    assert (record.topic, record.key, record.value, record.partition) == ("orders", b"ann", b'{"amount":2.5}', 4)
    assert record.headers == (("trace", "ü".encode()), ("raw", b"\xff"), ("none", None))
    assert record.timestamp_ms == 1_763_618_400_000 + 365 * 86_400_000


def test_headers_may_be_pairs_so_that_a_name_can_come_twice(world: World) -> None:
    world.app.publish(world.raw, b"", headers=[("a", "1"), ("a", b"2")]).result(1)
    assert world.clients.only_producer.produced[0].headers == (("a", b"1"), ("a", b"2"))


def test_a_topic_may_be_named(world: World) -> None:
    world.app.publish("orders", Order(1)).result(1)
    assert world.values == [b'{"amount":1}']


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timestamp": datetime.fromisoformat("2026-11-20T08:00")}, "a time without a zone: use an aware datetime"),
        ({"timestamp": datetime(1969, 1, 1, tzinfo=UTC)}, "Kafka's times begin in 1970"),
        ({"partition": -1}, "partition is -1: use a whole number of at least 0"),
        ({"partition": True}, "partition is True"),
        ({"headers": {"a": 5}}, "header 'a' is 5: names are str, values str, bytes or None"),
        ({"headers": [(5, "a")]}, "header 5 is 'a'"),
    ],
)
def test_an_argument_that_cannot_work_is_refused_at_the_call(
    world: World, arguments: dict[str, object], message: str
) -> None:
    publish: Callable[..., object] = world.app.publish
    with pytest.raises(sq.ConfigError) as error:
        publish(world.orders, Order(1), **arguments)
    assert message in str(error.value)
    assert not world.clients.producers


def test_a_value_that_is_not_its_type_is_refused_at_the_call_with_topic_and_field(world: World) -> None:
    with pytest.raises(sq.SerdeError, match=r"topic orders: the value cannot be encoded: amount is 'much'"):
        world.app.publish("orders", {"amount": "much"})
    with pytest.raises(sq.SerdeError, match=r"topic orders: the key cannot be encoded: key is 5"):
        world.app.publish("orders", Order(1), key=5)
    assert not world.clients.producers


# Topics.


def test_the_first_publish_creates_a_missing_topic_as_declared_and_asks_once(world: World) -> None:
    for _ in range(3):
        world.app.publish(world.orders, Order(1)).result(1)
    assert world.clients.created == [TopicSpec("orders", 6, None, {"retention.ms": "5"})]
    assert world.clients.described == 1
    assert world.clients.admins_closed == 1


def test_a_topic_that_exists_is_left_alone() -> None:
    world = World("orders")
    world.app.publish(world.orders, Order(1)).result(1)
    assert not world.clients.created


def test_a_missing_topic_that_may_not_be_created_is_an_error_with_the_command() -> None:
    world = World(create=False)
    with pytest.raises(sq.TopicConfigError) as error:
        world.app.publish(world.orders, Order(1))
    message = str(error.value)
    assert "topic orders does not exist on kafka-1:9092" in message
    assert (
        "`kafka-topics.sh --bootstrap-server kafka-1:9092 --create --topic orders --partitions 6 "
        "--config retention.ms=5`" in message
    )
    assert "streamq topics create" in message
    world.clients.topics["orders"] = TopicInfo("orders", "id", 6, 1)
    assert world.app.publish(world.orders, Order(1)).result(1).topic == "orders"


def test_in_asyncio_the_publication_raises_that_error() -> None:
    world = World(create=False)

    async def main() -> None:
        publication = world.app.publish(world.orders, Order(1))
        with pytest.raises(sq.TopicConfigError, match="topic orders does not exist"):
            await publication

    asyncio.run(main())


def test_a_typo_never_makes_a_topic(world: World) -> None:
    with pytest.raises(
        sq.ConfigError, match=r"topic 'oders' is not declared by app 'shop' \(declared: 'orders', 'raw'\)"
    ):
        world.app.publish("oders", Order(1))
    assert not world.clients.created


def test_brokers_that_cannot_be_reached_are_named_within_the_timeout() -> None:
    world = World(timeout_s=0.2)
    world.clients.away = True
    with pytest.raises(
        sq.PublishError, match=r"topic orders: not published, because kafka-1:9092 did not answer in time"
    ):
        world.app.publish(world.orders, Order(1))

    async def main() -> None:
        with pytest.raises(sq.PublishError, match="kafka-1:9092"):
            await world.app.publish(world.orders, Order(1))
        with pytest.raises(sq.PublishError, match="kafka-1:9092"):
            await asyncio.to_thread(world.app.publish(world.orders, Order(1)).result, 0.05)

    asyncio.run(main())
    world.clients.away = False
    assert world.app.publish(world.orders, Order(1)).result(1)


# Asyncio never blocks, and keeps the order.


def test_on_an_event_loop_records_wait_in_order_while_their_topic_is_checked(world: World) -> None:
    world.clients.gate.clear()

    async def main() -> None:
        publications = [world.app.publish(world.orders, Order(number)) for number in range(50)]
        assert not any(publication.done() for publication in publications)
        world.clients.gate.set()
        await asyncio.gather(*publications)
        # The queue is empty, so this one goes straight to the producer, and behind the others.
        await world.app.publish(world.orders, Order(50))

    asyncio.run(main())
    assert world.values == [b'{"amount":%d}' % number for number in range(51)]


def test_a_topic_whose_check_hangs_holds_up_no_other() -> None:
    world = World("orders", "raw")
    world.app.publish(world.raw, b"0").result(1)
    world.clients.gate.clear()

    async def main() -> None:
        held = world.app.publish(world.orders, Order(1))
        await asyncio.wait_for(asyncio.ensure_future(_awaited(world.app.publish(world.raw, b"1"))), WAIT_S)
        assert not held.done()
        world.clients.gate.set()
        await held

    asyncio.run(main())


async def _awaited(publication: sq.Publication) -> Delivery:
    return await publication


def test_on_an_event_loop_a_full_buffer_delays_the_publication_and_not_the_loop() -> None:
    world = World("raw", room=3)
    world.app.publish(world.raw, b"first").result(1)
    producer = world.clients.only_producer
    producer.hold = True

    async def main() -> None:
        publications = [world.app.publish(world.raw, b"%d" % number) for number in range(20)]
        assert len(producer.pending) == 3
        while not all(publication.done() for publication in publications):
            await asyncio.to_thread(producer.deliver)
        await asyncio.gather(*publications)

    asyncio.run(main())
    assert world.values == [b"first", *(b"%d" % number for number in range(20))]


def test_a_thread_that_publishes_while_others_queue_comes_behind_them(world: World) -> None:
    world.clients.gate.clear()

    async def queue() -> None:
        for number in range(5):
            world.app.publish(world.orders, Order(number))

    asyncio.run(queue())
    late = threading.Thread(target=lambda: world.app.publish(world.orders, Order(5)).result(WAIT_S))
    late.start()
    world.clients.gate.set()
    late.join(WAIT_S)
    assert world.values == [b'{"amount":%d}' % number for number in range(6)]


def test_the_queue_of_event_loops_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamq.tasks.session.QUEUED_RECORDS", 10)
    world.clients.gate.clear()

    async def main() -> None:
        for _ in range(10):
            world.app.publish(world.orders, Order(1))
        with pytest.raises(sq.PublishError, match=r"10 records wait for kafka-1:9092 already: await some publications"):
            world.app.publish(world.orders, Order(1))
        world.clients.gate.set()

    asyncio.run(main())
    assert world.app.flush(WAIT_S) == 0
    assert len(world.values) == 10


def test_the_client_is_made_beside_the_event_loop_and_not_on_it(world: World) -> None:
    makers: list[threading.Thread] = []
    make = world.clients.producer

    def producer() -> ProducerPort:
        makers.append(threading.current_thread())
        return make()

    world.clients.producer = producer  # type: ignore[method-assign]  # seen from outside, a client that is slow to make

    async def main() -> None:
        await world.app.publish(world.raw, b"x")

    asyncio.run(main())
    assert makers
    assert makers[0] is not threading.current_thread()


def test_settings_that_make_no_client_are_told_by_call_or_publication() -> None:
    app = sq.App("shop", kafka={"enable.auto.commit": True})
    raw = app.topic("raw")
    with pytest.raises(sq.ConfigError, match=r"enable\.auto\.commit"):
        app.publish(raw, b"x")

    async def main() -> None:
        with pytest.raises(sq.ConfigError, match=r"enable\.auto\.commit"):
            await app.publish(raw, b"x")

    asyncio.run(main())


# Back-pressure in threads.


def test_a_thread_waits_for_room_until_deliveries_make_it() -> None:
    world = World("raw", room=2)
    world.app.publish(world.raw, b"first").result(1)
    producer = world.clients.only_producer
    producer.hold = True
    for number in range(2):
        world.app.publish(world.raw, b"%d" % number)
    blocked = threading.Thread(target=world.app.publish, args=(world.raw, b"2"))
    blocked.start()
    blocked.join(0.05)
    assert blocked.is_alive()
    producer.deliver(1)
    blocked.join(WAIT_S)
    assert not blocked.is_alive()
    assert world.values == [b"first", b"0", b"1", b"2"]


def test_a_thread_waits_no_longer_than_the_timeout_and_is_told_what_to_do() -> None:
    world = World("raw", room=1, timeout_s=0.1)
    world.app.publish(world.raw, b"first").result(1)
    world.clients.only_producer.hold = True
    world.app.publish(world.raw, b"0")
    with pytest.raises(sq.PublishError) as error:
        world.app.publish(world.raw, b"1")
    message = str(error.value)
    assert message.startswith("topic raw: no room for the record within publish_timeout_s=0.1")
    assert "kafka-1:9092" in message
    assert "publish slower (wait for publications) or raise publish_timeout_s" in message
    assert world.values == [b"first", b"0"]


def test_each_callers_order_is_kept_under_back_pressure_from_threads_and_loops_at_once() -> None:
    world = World(room=7)
    world.app.publish(world.raw, b"warm").result(1)
    producer = world.clients.only_producer
    producer.hold = True
    count = 100

    def in_a_thread(name: int) -> None:
        for number in range(count):
            world.app.publish(world.raw, b"%d:%d" % (name, number))

    async def on_a_loop(name: int) -> None:
        for number in range(count):
            world.app.publish(world.raw, b"%d:%d" % (name, number))
            await asyncio.sleep(0)

    callers = [threading.Thread(target=in_a_thread, args=(name,)) for name in range(3)]
    callers += [threading.Thread(target=lambda name=name: asyncio.run(on_a_loop(name))) for name in range(3, 6)]
    for caller in callers:
        caller.start()
    while any(caller.is_alive() for caller in callers) or len(producer.produced) < 6 * count + 1:
        producer.deliver()
    written = [tuple(map(int, (value or b"").split(b":"))) for value in world.values[1:]]
    for name in range(6):
        assert [number for caller, number in written if caller == name] == list(range(count))


# What the producer refuses.


def test_a_record_that_is_too_large_is_refused_at_the_call_or_by_the_publication() -> None:
    world = World("raw")
    world.app.publish(world.raw, b"first").result(1)
    producer = world.clients.only_producer
    error = RecordTooLargeError("message size 2000000", code="MSG_SIZE_TOO_LARGE")
    wanted = (
        r"topic raw: not written: it is larger than the topic takes \(message size 2000000\): .*max\.message\.bytes"
    )
    producer.refuse = error
    with pytest.raises(sq.PublishError, match=wanted) as refused:
        world.app.publish(world.raw, b"x")
    assert refused.value.__cause__ is error
    producer.refuse, producer.delivery_error = None, error
    publication = world.app.publish(world.raw, b"x")
    for _ in range(2):
        with pytest.raises(sq.PublishError, match=wanted) as failed:
            publication.result(1)
        assert failed.value.__cause__ is error
    producer.delivery_error = None
    assert world.app.publish(world.raw, b"y").result(1)
    assert len(world.clients.producers) == 1


def test_an_unknown_outcome_says_so() -> None:
    world = World("raw")
    world.app.publish(world.raw, b"first").result(1)
    world.clients.only_producer.delivery_error = OutcomeUnknownError("timed out")
    with pytest.raises(
        sq.PublishError, match=r"not confirmed by kafka-1:9092, and may have been written \(timed out\)"
    ):
        world.app.publish(world.raw, b"x").result(1)


def test_a_producer_that_is_no_more_is_replaced() -> None:
    world = World("raw")
    world.app.publish(world.raw, b"first").result(1)
    world.clients.producers[0].refuse = FatalBrokerError("fenced for good")
    with pytest.raises(sq.PublishError, match=r"topic raw: not written by kafka-1:9092 \(fenced for good\)"):
        world.app.publish(world.raw, b"x")
    assert world.app.publish(world.raw, b"y").result(1)
    assert [record.value for record in world.clients.producers[1].produced] == [b"y"]


def test_failures_nobody_may_look_at_are_logged_but_not_one_by_one(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.app.publish(world.raw, b"first").result(1)
    world.clients.only_producer.delivery_error = BrokerError("away")
    with caplog.at_level(logging.WARNING, logger="streamq.tasks.session"):
        for _ in range(100):
            world.app.publish(world.raw, b"x")
    (line,) = caplog.records
    assert "Published records were not confirmed" in line.getMessage()
    assert vars(line)["event"] == "publish.failed"


# The end.


def test_flush_waits_for_deliveries_and_counts_what_is_left(world: World) -> None:
    assert world.app.flush(0.1) == 0
    world.app.publish(world.raw, b"first").result(1)
    producer = world.clients.only_producer
    producer.hold = True
    world.app.publish(world.raw, b"x")
    assert world.app.flush(0.01) == 1
    producer.hold = False
    assert world.app.flush(0.01) == 0


def test_close_ends_the_client_and_a_later_publish_makes_another(world: World) -> None:
    world.app.publish(world.raw, b"1").result(1)
    assert world.app.close() == 0
    assert world.clients.producers[0].closed
    world.app.publish(world.raw, b"2").result(1)
    assert len(world.clients.producers) == 2


def test_the_end_of_the_process_says_how_many_were_not_confirmed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.app.publish(world.raw, b"first").result(1)
    world.clients.only_producer.hold = True
    for _ in range(3):
        world.app.publish(world.raw, b"x")
    world.app.publisher.flush_at_exit()
    assert "3 published records were not confirmed before the process ended" in caplog.text
    world.clients.producers[0].hold = False


# Forks. Newer Pythons warn of any fork beside threads, which is what is tested here.

FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def in_a_fork(check: Callable[[], None]) -> None:
    """Run a check in a child; what it raises fails the test."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"ok"
        try:
            check()
        except BaseException as error:
            answer = repr(error).encode()
            raise
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    assert answer == b"ok"


@FORKS
def test_a_child_of_a_parent_that_has_published_makes_its_own_client(world: World) -> None:
    parents = world.app.publish(world.raw, b"parent")
    parents.result(1)

    def child() -> None:
        assert world.app.publish(world.raw, b"child").result(1)
        assert len(world.clients.producers) == 2
        assert [record.value for record in world.clients.producers[1].produced] == [b"child"]
        assert parents.result(0)

    in_a_fork(child)
    assert len(world.clients.producers) == 1
    assert world.app.publish(world.raw, b"parent again").result(1)


@FORKS
def test_a_child_does_not_wait_for_what_its_parent_published(world: World) -> None:
    world.app.publish(world.raw, b"first").result(1)
    world.clients.only_producer.hold = True
    pending = world.app.publish(world.raw, b"x")

    def child() -> None:
        with pytest.raises(sq.PublishError, match="published by the parent process, before the fork"):
            pending.result(WAIT_S)
        assert world.app.flush(WAIT_S) == 0

    in_a_fork(child)
    world.clients.only_producer.deliver()


@FORKS
def test_locks_that_are_held_while_a_process_forks_are_free_in_the_child(world: World) -> None:
    world.app.publish(world.raw, b"first").result(1)
    world.clients.gate.clear()
    holder = threading.Thread(target=world.app.publish, args=(world.orders, Order(1)))
    holder.start()
    wait_for(lambda: world.clients.described == 2)

    def child() -> None:
        world.clients.gate.set()
        assert world.app.publish(world.orders, Order(2)).result(WAIT_S)

    in_a_fork(child)
    world.clients.gate.set()
    holder.join(WAIT_S)


@FORKS
@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_child_flushes_at_its_end_like_any_process(how: str, tmp_path: Path) -> None:
    log = tmp_path / "flushed"
    program = f"""
import multiprocessing, os, sys
import streamq as sq
from tests.unit.tasks.fakes import FakeClients, FakeProducer

def close(self, timeout_s):
    with open({str(log)!r}, "a") as file:
        file.write(f"{{[record.value for record in self.produced]}}\\n")

FakeProducer.close = close
app = sq.App("shop", clients=FakeClients("raw"))
app.topic("raw")
app.publish("raw", b"parent")

def child():
    app.publish("raw", b"child")

if {how!r} == "os.fork":
    pid = os.fork()
    if pid == 0:
        child()
        sys.exit(0)
    os.waitpid(pid, 0)
else:
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, cwd=Path(__file__).parents[3])
    assert log.read_text().splitlines() == ["[b'child']", "[b'parent']"]
