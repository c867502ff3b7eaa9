"""The workloads: each returns records a second."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import msgspec

import streamq as sq
from streamq.config import WorkerConfig
from streamq.model.clock import SystemClock
from streamq.runtime.worker import settle_memory
from streamq.tasks.processor import Processor
from streamq.wiring import begin, make_owner


class Order(msgspec.Struct):
    """120 bytes as JSON."""

    order_id: str
    customer: str
    amount: float
    note: str


ORDER = msgspec.json.encode(Order("order-000000001", "customer-000001", 129.5, "x" * 36))
Count = Callable[[], None]


@dataclass
class Counter:
    """Counts handled records; fires when all are there, and knows when the first came."""

    wanted: int
    seen: int = 0
    began: float = 0.0

    def __post_init__(self) -> None:
        self.done = threading.Event()

    def __call__(self) -> None:
        """One more. From several threads the count may be short by a few: it is a stopping rule, no figure."""
        if not self.seen:
            self.began = time.perf_counter()
        self.seen += 1
        if self.seen >= self.wanted:
            self.done.set()


def make_app(bootstrap: str, topic: str, kind: str, wait_s: float, concurrency: int, count: Count) -> sq.App:
    """An app with one processor, `async def` or `def`, that waits `wait_s`."""
    app = sq.App(f"{topic}-{kind}-{time.monotonic_ns()}", bootstrap_servers=bootstrap)
    orders = app.topic(topic, value=Order)

    async def handle_async(order: Order) -> None:
        if wait_s:
            await asyncio.sleep(wait_s)
        count()

    def handle(order: Order) -> None:
        if wait_s:
            time.sleep(wait_s)
        count()

    app.processor(orders, name="bench", concurrency=concurrency)(handle_async if kind == "async" else handle)
    return app


def run(bootstrap: str, topic: str, records: int, *, kind: str, wait_s: float = 0.0, concurrency: int = 64) -> float:
    """Work through `records` records in this process. Records a second, from the first handler's start on."""
    counter = Counter(records)
    app = make_app(bootstrap, topic, kind, wait_s, concurrency, counter)
    processor: Processor = app.processors["bench"]
    clock, config = SystemClock(), WorkerConfig()
    with ExitStack() as stack:
        admin, producer = app.clients.admin(), app.clients.producer()
        stack.callback(producer.close, 1.0)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        begin(admin, processor, config)
        owner = make_owner(
            app, processor, clients=app.clients, producer=producer, admin=admin, worker=config, clock=clock,
            prepare=pool.submit,
        )  # fmt: skip
        settle_memory()
        thread = threading.Thread(target=owner.run, daemon=True)
        thread.start()
        if not counter.done.wait(120):
            raise TimeoutError(f"{topic} {kind}: {counter.seen} of {records} records within 120 s")
        seconds = time.perf_counter() - counter.began
        owner.request_stop()
        thread.join(30)
        admin.delete_topics([processor.dead_letter_topic, processor.retry_topic], 10)
    return records / seconds


def bare_asyncio(records: int, tasks: int, wait_s: float) -> float:
    """`tasks` tasks that each wait `wait_s` again and again: the most that any scheduler of waits can reach."""

    async def main() -> float:
        left = records

        async def one() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await asyncio.sleep(wait_s)

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(tasks)))
        return records / (time.perf_counter() - began)

    return asyncio.run(main())
