"""A publication: waiting for it from threads, from loops and by callback."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref

import pytest

import streamq as sq
from streamq.model.errors import StreamqError
from streamq.model.records import Delivery, Offset
from streamq.tasks import publication as module
from streamq.tasks.publication import Publication

WAIT_S = 10.0
THERE = Delivery("orders", 2, Offset(7), 1_700_000_000_000)


class Origin:
    """Where the publications of these tests come from."""

    description = "kafka-1:9092"
    inherited = False

    def __init__(self, timeout_s: float = WAIT_S) -> None:
        self.timeout_s = timeout_s
        self.settled: list[StreamqError | None] = []

    def on_settled(self, topic: str, error: StreamqError | None) -> None:
        self.settled.append(error)


@pytest.fixture
def origin() -> Origin:
    return Origin()


@pytest.fixture
def pending(origin: Origin) -> Publication:
    return Publication(origin, "orders")


def test_it_is_done_once_it_is_settled(origin: Origin, pending: Publication) -> None:
    assert not pending.done()
    assert repr(pending) == "<Publication to orders: not confirmed yet>"
    pending._settle(THERE)
    assert pending.done()
    assert pending.result() == pending.result(0) == THERE
    assert "confirmed at" in repr(pending)
    assert origin.settled == [None]


def test_threads_wait_for_it(pending: Publication) -> None:
    results: list[Delivery] = []
    waiters = [threading.Thread(target=lambda: results.append(pending.result(WAIT_S))) for _ in range(8)]
    for waiter in waiters:
        waiter.start()
    pending._settle(THERE)
    for waiter in waiters:
        waiter.join(WAIT_S)
    assert results == [THERE] * 8


@pytest.mark.parametrize("timeout_s", [0, 0.01])
def test_a_wait_ends_with_its_timeout_and_names_the_brokers(pending: Publication, timeout_s: float) -> None:
    with pytest.raises(
        sq.PublishError,
        match=rf"topic orders: not confirmed by kafka-1:9092 within {timeout_s:g} s, and may still be written later",
    ):
        pending.result(timeout_s)
    pending._settle(THERE)
    assert pending.result(timeout_s) == THERE


def test_without_a_timeout_the_apps_own_counts() -> None:
    with pytest.raises(sq.PublishError, match=r"within 0\.02 s"):
        Publication(Origin(0.02), "orders").result()

    async def main() -> None:
        with pytest.raises(sq.PublishError, match="not confirmed by"):
            await Publication(Origin(0.02), "orders")

    asyncio.run(main())


def test_loops_wait_for_it_and_are_woken_from_another_thread(origin: Origin) -> None:
    publications = [Publication(origin, "orders") for _ in range(200)]

    def settle_all() -> None:
        for publication in publications:
            publication._settle(THERE)

    async def main() -> list[Delivery]:
        waiting = [asyncio.ensure_future(wait(publication)) for publication in publications]
        await asyncio.sleep(0)
        threading.Thread(target=settle_all).start()
        return await asyncio.wait_for(asyncio.gather(*waiting), WAIT_S)

    assert asyncio.run(main()) == [THERE] * 200


async def wait(publication: Publication) -> Delivery:
    return await publication


def test_it_can_be_awaited_more_than_once_and_when_it_is_done(pending: Publication) -> None:
    async def main() -> None:
        first, second = asyncio.ensure_future(wait(pending)), asyncio.ensure_future(wait(pending))
        await asyncio.sleep(0)
        pending._settle(THERE)
        assert [await first, await second, await pending] == [THERE] * 3

    asyncio.run(main())


def test_a_cancelled_wait_leaves_the_publication_alone(pending: Publication) -> None:
    async def main() -> None:
        waiting = asyncio.ensure_future(wait(pending))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        pending._settle(THERE)
        assert await pending == THERE

    asyncio.run(main())


def test_a_loop_that_is_gone_is_no_trouble_to_the_producer(pending: Publication) -> None:
    async def leave() -> None:
        waiting = asyncio.ensure_future(wait(pending))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(leave())
    pending._settle(THERE)
    assert pending.result(0) == THERE


def test_loops_are_not_kept_by_publications(origin: Origin) -> None:
    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        publication = Publication(origin, "orders")
        waiting = asyncio.ensure_future(wait(publication))
        await asyncio.sleep(0)
        publication._settle(THERE)
        await waiting
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(main())
    gc.collect()
    assert loop() is None


def test_callbacks_run_when_it_is_settled_or_at_once(pending: Publication) -> None:
    seen: list[Publication] = []
    pending.add_done_callback(seen.append)
    assert not seen
    pending._settle(THERE)
    pending.add_done_callback(seen.append)
    assert seen == [pending, pending]


def test_a_callback_that_raises_is_logged_and_harms_nobody(
    pending: Publication, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(publication: Publication) -> None:
        raise ValueError("broken")

    seen: list[Publication] = []
    pending.add_done_callback(broken)
    pending.add_done_callback(seen.append)
    with caplog.at_level(logging.ERROR, logger=module.__name__):
        pending._settle(THERE)
    assert seen == [pending]
    assert "A callback of a publication raised" in caplog.text


def test_a_failure_is_raised_anew_for_each_who_asks(origin: Origin, pending: Publication) -> None:
    cause = sq.BrokerError("no leader", code="NOT_LEADER")
    pending._settle(cause)
    raised = []
    for _ in range(2):
        with pytest.raises(sq.PublishError, match=r"topic orders: not written by kafka-1:9092 \(no leader\)") as error:
            pending.result()
        assert error.value.__cause__ is cause
        raised.append(error.value)
    assert raised[0] is not raised[1]
    assert origin.settled == [cause]
