"""What the local broker refuses before it starts anything."""

from __future__ import annotations

import os
import socket
from collections import namedtuple
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from streamq.local.broker import LocalBroker, running_pid, stop_background
from streamq.model.errors import ConfigError, FatalBrokerError, RetriableError

Usage = namedtuple("Usage", "total used free")
Listeners = dict[str, str]


def never(bootstrap: str) -> bool:
    """A probe that nothing answers."""
    return False


def make(folder: Path, port: int = 0) -> LocalBroker:
    """A broker that is not started."""
    return LocalBroker(folder, port=port, probe=never)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} is taken: .* choose another with --port"):
            make(tmp_path, port).start()


def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"port is 70000: use one from 1 to 65535"):
        make(tmp_path, 70_000).start()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match=r"data_dir .*file/data cannot be used \(Not a directory\)"):
        make(file / "data").start()


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**9, 10**9, 1024 * 1024))
    with pytest.raises(ConfigError, match=r"is on a disk with 1 MiB left: the broker wants at least 256 MiB"):
        make(tmp_path).start()


def test_a_folder_of_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "kafka.version").write_text("3.9.0\n")
    with pytest.raises(ConfigError, match=r"was made by Kafka 3\.9\.0"):
        make(tmp_path).start()


def test_a_pid_that_is_not_the_brokers_counts_for_nothing(tmp_path: Path) -> None:
    assert running_pid(tmp_path) is None
    (tmp_path / "broker.pid").write_text(f"{os.getpid()}\n")
    assert running_pid(tmp_path) is None, "this process is no broker, whatever the file says"
    with pytest.raises(RetriableError, match="no broker runs on data_dir"):
        stop_background(tmp_path)


def test_two_starts_on_one_folder_at_a_time_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "start.lock").open("ab") as other:
        flock(other, LOCK_EX)
        with pytest.raises(ConfigError, match="another process is starting a broker there"):
            make(tmp_path).start()


def listeners(folder: Path, monkeypatch: pytest.MonkeyPatch, *advertised: str) -> tuple[Listeners, Listeners, str]:
    """Where a broker listens, what it advertises, and the name of the listener by which it reaches itself."""
    monkeypatch.setattr("streamq.local.broker.java", lambda: "false")
    monkeypatch.setattr("streamq.local.broker.jars", lambda progress: [])
    with pytest.raises(FatalBrokerError, match="could not format"):
        LocalBroker(folder, port=0, probe=never, host="0.0.0.0", advertised=advertised).start()
    lines = (folder / "server.properties").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    names = {pair.split(":")[0] for pair in settings["listener.security.protocol.map"].split(",")}
    listening, told = (addresses(settings[name]) for name in ("listeners", "advertised.listeners"))
    assert listening.keys() == names
    return listening, told, settings["inter.broker.listener.name"]


def addresses(setting: str) -> Listeners:
    """Of a setting's listeners, by name."""
    return dict(listener.split("://", 1) for listener in setting.split(","))


def test_the_broker_reaches_itself_without_the_address_it_advertises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It connects to itself for each transaction; behind a published port the advertised address leads nowhere."""
    listening, told, itself = listeners(tmp_path, monkeypatch, "kafka.example:19092")
    assert told["PLAINTEXT"] == "kafka.example:19092"
    assert told[itself] == listening[itself]
    assert listening[itself].startswith("127.0.0.1:")


def test_a_further_address_gets_its_own_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's clients know it by another name than those on the machine around it."""
    listening, told, itself = listeners(tmp_path, monkeypatch, "127.0.0.1:9092", "kafka:29092")
    assert {address for name, address in told.items() if name != itself} == {"127.0.0.1:9092", "kafka:29092"}
    further = next(name for name, address in told.items() if address == "kafka:29092")
    assert listening[further] == "0.0.0.0:29092"
