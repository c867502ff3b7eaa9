"""docker/'s images: the contract suite holds on the Kafka image, and the worker image works against it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import streamq as sq
from tests.docker.conftest import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


def test_the_contract_suite_holds_on_the_image(kafka_bootstrap: str) -> None:
    environment = os.environ | {"STREAMQ_TEST_BOOTSTRAP": kafka_bootstrap, "STREAMQ_REQUIRE_KAFKA": "1"}
    suite = [sys.executable, "-m", "pytest", "tests/contract", "-m", "kafka", "-q"]
    answer = subprocess.run(suite, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout[-4000:]


def test_the_worker_image_works(kafka_bootstrap: str) -> None:
    app = sq.App("orders-image", bootstrap_servers=kafka_bootstrap)
    topic = app.topic("image-check", value=bytes)
    app.publish(topic, b"x").result(30)
    name = f"streamq-test-{os.getpid()}"
    run = ["docker", "run", "--rm", "--detach", "--network", "host", "--name", name]
    environment = ["--env", f"STREAMQ_BOOTSTRAP_SERVERS={kafka_bootstrap}"]
    subprocess.run([*run, *environment, "streamq-worker", "topologies.orders:app"], check=True, capture_output=True)
    try:
        deadline = time.monotonic() + 60
        log = ""
        while "Partitions are assigned" not in log:
            assert time.monotonic() < deadline, log
            answer = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=False)
            log = answer.stdout + answer.stderr
    finally:
        stopped = subprocess.run(["docker", "stop", "--time", "30", name], capture_output=True, text=True, check=False)
    assert stopped.returncode == 0
