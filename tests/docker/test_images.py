"""docker/'s images: the contract suite holds on the Kafka image, and the worker image works against it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest

from tests.docker.conftest import ROOT
from tests.integration.worker_process import await_that
from topologies.orders import app, orders
from topologies.orders.records import Order

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


def test_the_contract_suite_holds_on_the_image(kafka_bootstrap: str) -> None:
    environment = os.environ | {"STREAMQ_TEST_BOOTSTRAP": kafka_bootstrap, "STREAMQ_REQUIRE_KAFKA": "1"}
    suite = [sys.executable, "-m", "pytest", "tests/contract", "-m", "kafka", "-q"]
    answer = subprocess.run(suite, cwd=ROOT, env=environment, check=False)
    assert answer.returncode == 0, "what failed, the suite says itself"


def test_the_worker_image_works(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes what is published from outside, says that it is ready, and a stop ends it with nothing left over."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with worker(kafka_bootstrap, port) as name:
        await_that(lambda: ready(port), 60, f"a ready worker, by its log:\n{log(name)}")
        monkeypatch.setenv("STREAMQ_BOOTSTRAP_SERVERS", kafka_bootstrap)
        order = Order(order_id="1", customer="ada", sku="lamp", quantity=1, unit_price_cents=4900)
        app.publish(orders, order, key="ada").result(30)
        await_that(lambda: "A record was given up" in log(name), 30, "a dead letter, since nobody stocked lamps")
        docker("stop", "--time", "30", name)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0", log(name)
        assert log(name).count("The worker has drained") == 3


@contextmanager
def worker(bootstrap: str, port: int) -> Iterator[str]:
    """The name of a container that works for topologies.orders and serves `/ready` on a port of this machine."""
    name = f"streamq-test-{os.getpid()}"
    options = [
        "--detach",
        "--init",
        "--network",
        "host",
        "--name",
        name,
        "--env",
        f"STREAMQ_BOOTSTRAP_SERVERS={bootstrap}",
    ]
    docker("run", *options, "streamq-worker", "topologies.orders:app", "--http", str(port))
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def ready(port: int) -> bool:
    """Whether a worker on this port says so."""
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def log(name: str) -> str:
    """What a container said so far."""
    answer = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True)
    return answer.stdout + answer.stderr


def docker(*arguments: str) -> str:
    """Run docker; its answer."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout
