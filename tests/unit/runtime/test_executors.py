"""A handler may do what it likes: its slot, its key and its thread go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from streamq.core.lanes import KeyScheduler, Run
from streamq.core.partition import PartitionState
from streamq.model.clock import SystemClock
from streamq.model.handlers import AsyncCall, AsyncHandler, SyncHandler
from streamq.model.outcomes import DONE, Failure, Outcome, Retry
from streamq.model.records import NextOffset, Offset, Record, TopicPartition
from streamq.runtime.async_executor import AsyncExecutor
from streamq.runtime.executor import Completion, Executor
from streamq.runtime.gate import StartGate
from streamq.runtime.thread_executor import ThreadExecutor

CLOCK = SystemClock()


def gate() -> StartGate:
    """One that is open."""
    return StartGate(60.0, CLOCK.monotonic())


def came_to(completion: Completion) -> Outcome | None:
    """What became of a run of one; None if it did not start."""
    run, outcome = completion
    return DONE if run.done == len(run.works) else outcome


class Desk:
    """Hands records over and collects what comes back."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.scheduler = KeyScheduler()
        self.state = PartitionState(TopicPartition("t", 0), 1, self.scheduler, NextOffset(0), ordering="none")
        self.next = 0

    def hand_over(self, count: int) -> None:
        records = [Record("t", 0, Offset(self.next + at), None, b"") for at in range(count)]
        self.next += count
        self.state.receive(records)
        self.executor.hand_over(self.scheduler.take(count))

    def hand_over_run(self, count: int) -> Run:
        """So many records of one key, as one run."""
        self.state = PartitionState(TopicPartition("t", 0), 1, self.scheduler, NextOffset(0))
        self.state.receive([Record("t", 0, Offset(at), b"k", b"") for at in range(count)])
        [run] = self.scheduler.take(count, count)
        self.executor.hand_over([run])
        return run

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the executor's threads do."""
        ends = CLOCK.monotonic() + 10
        while not condition():
            assert CLOCK.monotonic() < ends
            self.executor.wait(0.002)

    def collect(self, count: int) -> list[Completion]:
        found: list[Completion] = []
        ends = CLOCK.monotonic() + 10
        while len(found) < count:
            assert CLOCK.monotonic() < ends, f"{len(found)} of {count} came back"
            self.executor.wait(0.05)
            found += self.executor.collect()
        return found


@contextmanager
def async_desk(call: AsyncCall, *, concurrency: int, timeout_s: float | None = None) -> Iterator[Desk]:
    executor = AsyncExecutor(
        AsyncHandler(call), concurrency=concurrency, timeout_s=timeout_s, gate=gate(), clock=CLOCK, name="test"
    )
    yield Desk(executor)
    executor.stop(5.0)


async def cancels_itself(record: Record, attempt: int) -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    if record.offset % 2 == 0:
        task.cancel()
        await asyncio.sleep(0)
    return DONE


async def interrupts(record: Record, attempt: int) -> Outcome:
    raise KeyboardInterrupt


async def sleeps(record: Record, attempt: int) -> Outcome:
    await asyncio.sleep(60 if record.offset % 2 == 0 else 0)
    return DONE


async def refuses_to_end(record: Record, attempt: int) -> Outcome:
    try:
        await asyncio.sleep(60 if record.offset == 0 else 0)
    except asyncio.CancelledError:
        await asyncio.sleep(0.05)
    return DONE


@pytest.mark.parametrize("call", [cancels_itself, interrupts])
def test_a_coroutine_that_ends_its_own_task_does_not_end_its_slot(call: AsyncCall) -> None:
    with async_desk(call, concurrency=1) as desk:
        desk.hand_over(6)
        outcomes = [came_to(one) for one in desk.collect(6)]
    assert len(outcomes) == 6
    assert any(isinstance(outcome, Retry) for outcome in outcomes)


def test_a_time_out_cancels_a_coroutine_and_the_slot_goes_on() -> None:
    with async_desk(sleeps, concurrency=1, timeout_s=0.1) as desk:
        desk.hand_over(4)
        outcomes = {one[0].works[0].record.offset: came_to(one) for one in desk.collect(4)}
    assert [type(outcomes[Offset(at)]).__name__ for at in range(4)] == ["Retry", "Done", "Retry", "Done"]
    late = outcomes[Offset(0)]
    assert isinstance(late, Retry)
    assert late.failure.error_type == "TimeoutError"
    assert "its timeout_s is 0.1" in late.failure.message


def test_a_coroutine_that_refuses_its_cancellation_gets_its_outcome_when_it_ends() -> None:
    with async_desk(refuses_to_end, concurrency=1, timeout_s=0.05) as desk:
        desk.hand_over(2)
        outcomes = [came_to(one) for one in desk.collect(2)]
    assert isinstance(outcomes[0], Retry)
    assert outcomes[1] is DONE


def test_a_thread_handler_that_raises_what_ends_threads_does_not_end_its_slot() -> None:
    def call(record: Record, attempt: int) -> Outcome:
        raise KeyboardInterrupt

    executor = ThreadExecutor(SyncHandler(call), concurrency=1, timeout_s=None, gate=gate(), clock=CLOCK, name="test")
    desk = Desk(executor)
    desk.hand_over(3)
    assert all(isinstance(came_to(one), Retry) for one in desk.collect(3))
    executor.stop(1.0)


def test_a_slow_thread_does_not_keep_works_that_have_a_free_slot() -> None:
    release = threading.Event()

    def call(record: Record, attempt: int) -> Outcome:
        if record.offset == 0:
            assert release.wait(10)
        return DONE

    executor = ThreadExecutor(SyncHandler(call), concurrency=4, timeout_s=None, gate=gate(), clock=CLOCK, name="test")
    desk = Desk(executor)
    desk.hand_over(1)
    desk.hand_over(3)
    assert {run.works[0].record.offset for run, _ in desk.collect(3)} == {1, 2, 3}
    release.set()
    assert len(desk.collect(1)) == 1
    executor.stop(1.0)


def test_what_has_not_started_of_a_stopped_partition_comes_back_without_an_outcome() -> None:
    release = threading.Event()

    def call(record: Record, attempt: int) -> Outcome:
        assert release.wait(10)
        return DONE

    executor = ThreadExecutor(SyncHandler(call), concurrency=1, timeout_s=None, gate=gate(), clock=CLOCK, name="test")
    desk = Desk(executor)
    desk.hand_over(3)
    while not any(slot.work is not None for slot in executor._slots):
        executor.wait(0.01)
    desk.state.stop()
    executor.withdraw()
    assert [came_to(one) for one in desk.collect(2)] == [None, None]
    release.set()
    assert [came_to(one) for one in desk.collect(1)] == [DONE]
    executor.stop(1.0)


def test_nothing_starts_while_the_gate_is_shut() -> None:
    shut = StartGate(1.0, CLOCK.monotonic() - 60.0)
    shut.tick(CLOCK.monotonic())
    executor = ThreadExecutor(
        SyncHandler(lambda record, attempt: DONE), concurrency=2, timeout_s=None, gate=shut, clock=CLOCK, name="test"
    )
    desk = Desk(executor)
    desk.hand_over(2)
    assert [came_to(one) for one in desk.collect(2)] == [None, None]
    executor.stop(1.0)


async def fails_at_two(record: Record, attempt: int) -> Outcome:
    return Retry(Failure.of("ValueError", "two")) if record.offset == 2 else DONE


def test_a_run_goes_in_order_and_ends_at_the_first_that_is_not_done() -> None:
    with async_desk(fails_at_two, concurrency=4) as desk:
        run = desk.hand_over_run(5)
        [(back, outcome)] = desk.collect(1)
    assert back is run
    assert isinstance(outcome, Retry)
    assert run.done == 2, "and nothing behind the failed one has run"


def test_what_is_done_of_a_run_is_known_while_the_next_one_hangs() -> None:
    release = threading.Event()

    async def hangs_at_two(record: Record, attempt: int) -> Outcome:
        if record.offset == 2:
            await asyncio.to_thread(release.wait, 10)
        return DONE

    with async_desk(hangs_at_two, concurrency=2) as desk:
        run = desk.hand_over_run(4)
        desk.until(lambda: run.done == 2)
        assert desk.executor.under_way() == [run]
        assert [work.record.offset for work in desk.executor.at_work()] == [2]
        desk.state.settle_done(run)
        assert desk.state.tracker.next_offset == 2
        desk.state.stop()
        release.set()
        assert desk.collect(1) == [(run, None)]
    assert run.done == 3, "what came after it did not start, since the partition stops"


def test_a_run_on_a_thread_ends_at_the_first_that_is_not_done() -> None:
    def call(record: Record, attempt: int) -> Outcome:
        return Retry(Failure.of("ValueError", "two")) if record.offset == 2 else DONE

    executor = ThreadExecutor(SyncHandler(call), concurrency=2, timeout_s=None, gate=gate(), clock=CLOCK, name="test")
    desk = Desk(executor)
    run = desk.hand_over_run(5)
    [(back, outcome)] = desk.collect(1)
    assert back is run
    assert isinstance(outcome, Retry)
    assert run.done == 2
    executor.stop(1.0)


def test_handlers_that_were_fast_and_wait_all_at_once_get_all_slots() -> None:
    """The measured time says that one slot is enough; it is not, and nobody tells."""
    release = threading.Event()

    async def waits_when_told(record: Record, attempt: int) -> Outcome:
        if record.offset >= 2_000:
            await asyncio.to_thread(release.wait, 10)
        return DONE

    with async_desk(waits_when_told, concurrency=32) as desk:
        for _ in range(100):
            desk.hand_over(20)
            desk.collect(20)
        desk.hand_over(64)
        desk.until(lambda: len(desk.executor.at_work()) == 32)
        release.set()
        assert len(desk.collect(64)) == 64
