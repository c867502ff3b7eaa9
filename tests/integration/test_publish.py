"""Publishing to a real Kafka: from threads and asyncio, by a parent and its forked child, and at a process's end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import msgspec
import pytest

import streamq as sq
from streamq.model.records import Earliest, NextOffset, Record, TopicPartition

pytestmark = pytest.mark.kafka

WAIT_S = 20.0


class Order(msgspec.Struct):
    number: int


@pytest.fixture
def app(kafka_bootstrap: str) -> sq.App:
    return sq.App(f"publish-{uuid.uuid4().hex[:8]}", bootstrap_servers=kafka_bootstrap)


def everything(app: sq.App, topic: str, count: int) -> list[Record]:
    """The first `count` records of a topic, partition by partition in their order."""
    admin = app.clients.admin()
    info = admin.describe_topics([topic], WAIT_S)[topic]
    assert info is not None
    partitions = [TopicPartition(topic, number) for number in range(info.partitions)]
    starts = admin.list_offsets({partition: Earliest() for partition in partitions}).result(WAIT_S)
    admin.close()
    reader = app.clients.reader()
    reader.assign({partition: NextOffset(start) for partition, start in starts.items()})
    found: list[Record] = []
    while len(found) < count:
        found += reader.poll(WAIT_S, count).records
    reader.close()
    return found


def in_a_process(kafka_bootstrap: str, topic: str, body: str) -> None:
    """Run a program that publishes to `topic` with `app`, and must end by itself, soon and well."""
    program = textwrap.dedent(f"""
        import multiprocessing, os, sys
        import streamq as sq
        app = sq.App("shop", bootstrap_servers={kafka_bootstrap!r})
        raw = app.topic({topic!r})
    """) + textwrap.dedent(body)
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, timeout=WAIT_S, cwd=root)


def test_records_of_a_key_are_written_in_the_order_of_the_calls(app: sq.App) -> None:
    name = f"{app.name}-orders"
    orders = app.topic(name, value=Order, partitions=3)
    publications = [app.publish(orders, Order(number), key=f"k{number % 10}") for number in range(2_000)]
    deliveries = [publication.result(WAIT_S) for publication in publications]
    assert {delivery.partition for delivery in deliveries} == {0, 1, 2}
    by_key: dict[bytes | None, list[int]] = {}
    for record in everything(app, name, 2_000):
        by_key.setdefault(record.key, []).append(orders.value_serde.decode(record.value or b"", topic=name).number)
    assert by_key == {f"k{key}".encode(): list(range(key, 2_000, 10)) for key in range(10)}
    app.close()


def test_on_an_event_loop_order_holds_from_the_first_record_of_a_new_topic(app: sq.App) -> None:
    name = f"{app.name}-loop"
    orders = app.topic(name, value=Order, partitions=1)

    async def main() -> None:
        await asyncio.gather(*[app.publish(orders, Order(number)) for number in range(500)])

    asyncio.run(main())
    values = [orders.value_serde.decode(record.value or b"", topic=name) for record in everything(app, name, 500)]
    assert values == [Order(number) for number in range(500)]
    app.close()


def test_a_record_larger_than_the_broker_takes_is_an_error_and_the_next_one_is_not(app: sq.App) -> None:
    raw = app.topic(f"{app.name}-large")
    with pytest.raises(sq.PublishError, match=r"it is larger than the topic takes .*max\.message\.bytes"):
        app.publish(raw, b"x" * 3_000_000).result(WAIT_S)
    assert app.publish(raw, b"x").result(WAIT_S)
    app.close()


def test_brokers_that_are_not_there_are_named_within_the_timeout() -> None:
    app = sq.App("shop", bootstrap_servers="127.0.0.1:1", publish_timeout_s=1.0)
    with pytest.raises(sq.PublishError, match=r"127\.0\.0\.1:1 did not answer in time"):
        app.publish(app.topic("raw"), b"x")
    app.close(0)


def test_the_end_of_a_process_flushes_what_nobody_waited_for(app: sq.App, kafka_bootstrap: str) -> None:
    name = f"{app.name}-exit"
    in_a_process(kafka_bootstrap, name, "for number in range(1_000): app.publish(raw, b'%d' % number)")
    assert [record.value for record in everything(app, name, 1_000)] == [b"%d" % number for number in range(1_000)]


@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_forked_child_of_a_parent_that_has_published_makes_its_own_client(
    app: sq.App, kafka_bootstrap: str, how: str
) -> None:
    name = f"{app.name}-fork"
    body = """
        def child():
            app.publish(raw, b"child, confirmed").result(10)
            app.publish(raw, b"child, at its end")

        app.publish(raw, b"parent").result(10)
        if HOW == "os.fork":
            pid = os.fork()
            if pid == 0:
                child()
                sys.exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        else:
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join()
            assert process.exitcode == 0
        app.publish(raw, b"parent again").result(10)
    """
    in_a_process(kafka_bootstrap, name, f"HOW = {how!r}\n" + textwrap.dedent(body))
    assert [record.value for record in everything(app, name, 4)] == [
        b"parent",
        b"child, confirmed",
        b"child, at its end",
        b"parent again",
    ]
