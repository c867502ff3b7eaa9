"""The contract suite's cluster, on docker/'s Kafka image."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from testcontainers.core.container import DockerContainer

from streamq.kafka import ping
from tests.integration.worker_process import await_that

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "streamq-kafka"

# No helper container is pulled, and ports are published on this machine's own address.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")
os.environ.setdefault("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """A Kafka in a container of docker/'s image, which is built if it is not there."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.fail("no container engine answers to `docker info`: start one, then run make test-docker again")
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode:
        subprocess.run([str(ROOT / "docker" / "build.sh")], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with DockerContainer(IMAGE).with_bind_ports(9092, port).with_env("ADVERTISE", address):
        await_that(lambda: ping(address), 60, f"a Kafka in {IMAGE} at {address}")
        yield address
