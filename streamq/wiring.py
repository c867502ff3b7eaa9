"""Wires an app's processors, the adapters and the runtime into a worker. Holds no policy.

Beside `streamq.app`: what a process needs to work on tasks, as `App` is what it needs to publish them.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import FrameType

from streamq.app import App
from streamq.config import WorkerConfig
from streamq.model import names
from streamq.model.clock import Clock, Deadline, SystemClock
from streamq.model.errors import RetriableError, StreamqError
from streamq.model.handlers import AsyncHandler, BoundHandler
from streamq.model.ports import AdminPort, Clients, ConsumerOptions, ProducerPort
from streamq.ops.topics import ensure_processor_topics
from streamq.runtime.assignment import Covered
from streamq.runtime.async_executor import AsyncExecutor
from streamq.runtime.executor import Executor
from streamq.runtime.gate import StartGate
from streamq.runtime.http import StatusServer
from streamq.runtime.inline_executor import InlineExecutor
from streamq.runtime.intake import Bounds
from streamq.runtime.letters import Identity
from streamq.runtime.owner import Owner, OwnerParts
from streamq.runtime.start import begin_group
from streamq.runtime.stats import OwnerStats
from streamq.runtime.thread_executor import ThreadExecutor
from streamq.runtime.worker import Worker, settle_memory
from streamq.tasks.invoke import bind
from streamq.tasks.processor import Processor
from streamq.wiring_parking import ParkingMaker, topic_ids

START_TIMEOUT_S = 12.0
"""How long a worker waits at its start for the brokers to answer; later it waits for them as long as it takes."""
ASK_TIMEOUT_S = 10.0
PAUSE_S = 0.2

Prepare = Callable[[Callable[[], Covered]], Future[Covered]]


def make_owner(
    app: App,
    processor: Processor,
    *,
    clients: Clients,
    producer: ProducerPort,
    admin: AdminPort,
    worker: WorkerConfig,
    clock: Clock,
    prepare: Prepare,
    inline: bool = False,
    measure_lag: bool = False,
    group: str | None = None,
    bounds: Bounds | None = None,
) -> Owner:
    """An owner for one processor, not started. `prepare` runs the blocking check of derived topics somewhere; `inline`
    runs handlers on the owner's own thread; `measure_lag` fills the lag gauge; `group` and `bounds` are a replay's."""
    name = group or processor.group
    handler = bind(processor, app.publisher, clock=clock, is_replay=bounds is not None)
    identity = Identity(app.name, app.version, processor.name, name, processor.dead_letter_topic)
    consumer, process, stats = clients.consumer(_consumer_options(name, worker)), os.urandom(8), OwnerStats(name)
    retry_topic = names.retry_topic(name) if processor.has_journal else None

    def topics() -> Covered:
        created, timeout_s = worker.create_topics, START_TIMEOUT_S
        covered = ensure_processor_topics(admin, processor, create=created, timeout_s=timeout_s, group=group)
        return Covered(covered, topic_ids(admin, processor.topic.name, retry_topic))

    parking = ParkingMaker(
        identity, processor.config, worker, retry_topic or "", clients, admin, consumer, clock, process, stats, inline
    )
    parts = OwnerParts(
        topic=processor.topic.name,
        identity=identity,
        config=processor.config,
        worker=worker,
        consumer=consumer,
        producer=producer,
        admin=admin,
        clock=clock,
        chance=random.SystemRandom().random,
        process=process,
        prepare=lambda: prepare(topics),
        make_executor=lambda gate: _executor(processor, handler, gate, clock, inline=inline),
        make_parking=None if retry_topic is None else parking.make,
        bounds=bounds,
        measure_lag=measure_lag,
        stats=stats,
    )
    return Owner(parts)


def _consumer_options(group: str, worker: WorkerConfig) -> ConsumerOptions:
    return ConsumerOptions(
        group=group,
        client_id=f"streamq-{os.uname().nodename}-{os.getpid()}",
        protocol=worker.group_protocol,
        instance_id=None if worker.instance_id is None else f"{group}.{worker.instance_id}",
        session_timeout_s=worker.session_timeout_s,
        heartbeat_s=worker.heartbeat_s,
    )


def _executor(processor: Processor, handler: BoundHandler, gate: StartGate, clock: Clock, *, inline: bool) -> Executor:
    concurrency, timeout_s = processor.config.concurrency, processor.config.timeout_s
    if inline:
        return InlineExecutor(handler, concurrency=concurrency, timeout_s=timeout_s, gate=gate, clock=clock)
    if isinstance(handler, AsyncHandler):
        return AsyncExecutor(
            handler, concurrency=concurrency, timeout_s=timeout_s, gate=gate, clock=clock, name=processor.name
        )
    return ThreadExecutor(
        handler, concurrency=concurrency, timeout_s=timeout_s, gate=gate, clock=clock, name=processor.name
    )


def prepare_inline(call: Callable[[], Covered]) -> Future[Covered]:
    """Run the check where it is asked for. For tests: it blocks."""
    answer: Future[Covered] = Future()
    try:
        answer.set_result(call())
    except StreamqError as error:
        answer.set_exception(error)
    return answer


def run_worker(
    app: App,
    processors: Sequence[Processor],
    worker: WorkerConfig,
    *,
    http_port: int | None = None,
    on_start: Callable[[Worker], None] | None = None,
) -> Mapping[str, BaseException]:
    """Work on these processors until SIGTERM or SIGINT. Blocks; belongs on the main thread, whose signal handlers it
    sets. Returns what made any of them fail.

    Raises:
        ConfigError: topics are missing or unfit and may not be created, or the port cannot be had.
        BrokerError: the brokers cannot be reached within the start's time-out.
    """
    clock = SystemClock()
    with ExitStack() as stack:
        clients = app.clients
        admin = clients.admin()
        stack.callback(admin.close)
        for processor in processors:
            begin(admin, processor, worker)
        producer = clients.producer()
        stack.callback(producer.close, 5.0)
        pool = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="streamq-topics"))
        owners = {
            processor.name: make_owner(
                app,
                processor,
                clients=clients,
                producer=producer,
                admin=admin,
                worker=worker,
                clock=clock,
                prepare=pool.submit,
                measure_lag=http_port is not None,
            )
            for processor in processors
        }
        running = Worker(owners)
        if http_port is not None:
            server = StatusServer(running, http_port, clock)
            stack.callback(server.close)
        _stop_on_signals(running.request_stop)
        if on_start is not None:
            on_start(running)
        settle_memory()
        return running.run()


def begin(
    admin: AdminPort, processor: Processor, worker: WorkerConfig, group: str | None = None, clock: Clock | None = None
) -> None:
    """Make sure of the topics, and commit where a new group starts. Blocks; what passes by itself (a coordinator that
    loads, a broker that is just starting) is waited for within the start's time-out."""
    clock = clock or SystemClock()
    deadline = Deadline(clock, START_TIMEOUT_S)
    while True:
        try:
            timeout_s = min(ASK_TIMEOUT_S, max(1.0, deadline.remaining_s()))
            partitions = ensure_processor_topics(
                admin, processor, create=worker.create_topics, timeout_s=timeout_s, group=group
            )
            source, start = processor.topic.name, processor.config.start
            begin_group(admin, group or processor.group, source, partitions, start, timeout_s)
        except RetriableError:
            if deadline.remaining_s() < PAUSE_S:
                raise
            clock.sleep(PAUSE_S)
        else:
            return


def _stop_on_signals(stop: Callable[[], None]) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
