"""Publishing in a process that was forked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import streamq as sq

from .publishing import WAIT_S, Order, World, wait_for


@pytest.fixture
def world() -> World:
    return World()


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
