"""Publishing faster than records go away: who waits for what, in which order, and what is refused."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

import streamq as sq
from streamq.model.errors import BrokerError, FatalBrokerError, OutcomeUnknownError, RecordTooLargeError
from streamq.model.ports import ProducerPort
from streamq.model.records import Delivery

from .publishing import WAIT_S, Order, World


@pytest.fixture
def world() -> World:
    return World()


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
