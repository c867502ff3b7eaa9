"""Starts and stops the broker's process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streamq.local.distribution import KAFKA_VERSION, Progress, jars, java
from streamq.model.clock import Clock, Deadline, SystemClock
from streamq.model.errors import ConfigError, FatalBrokerError, RetriableError

Probe = Callable[[str], bool]
"""Whether the broker at an address answers. Blocks at most a second or so."""

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 15.0
LEAST_FREE_BYTES: Final = 256 * 1024 * 1024
_LOG_TAIL_LINES: Final = 15
_HEAP: Final = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4", "-Xshare:auto")
# Becomes Java after asking the kernel (PR_SET_PDEATHSIG, 1) to end it when its parent is gone, even by SIGKILL.
_DIE_WITH_PARENT: Final = (
    "import ctypes, os, sys; "
    "getattr(ctypes.CDLL(None), 'prctl', lambda *_: 0)(1, 15); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)

_LOG4J = """\
Configuration:
  status: error
  Appenders:
    File:
      name: file
      fileName: "{log}"
      PatternLayout: {{pattern: "%d %p %m (%c)%n"}}
  Loggers:
    Root:
      level: info
      AppenderRef: {{ref: file}}
"""

# Nothing here waits for what a single node never has: a first rebalance, other replicas, long sessions.
_SETTINGS: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
    "log.segment.bytes": "134217728",
    "log.message.timestamp.after.max.ms": "9223372036854775807",
}


class LocalBroker:
    """A single-node Kafka in KRaft mode, listening on 127.0.0.1 only unless `host` says otherwise; `advertised` is the
    address that it tells its clients then.

    `port=0` picks a free one. The data stay in `data_dir` after a stop and are there at the next start. In the
    foreground (`detached=False`) the broker dies with this process, however that ends.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 9092,
        probe: Probe,
        detached: bool = False,
        host: str = "127.0.0.1",
        advertised: str | None = None,
        settings: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port or _free_port()
        self._probe = probe
        self._detached = detached
        self._host = host
        self._advertised = advertised or f"127.0.0.1:{self.port}"
        self._settings = dict(settings or {})
        self._clock = clock or SystemClock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        """What the broker says."""
        return self.data_dir / "broker.log"

    @property
    def pid_file(self) -> Path:
        """Who runs on the folder."""
        return self.data_dir / "broker.pid"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, progress: Progress | None = None) -> None:
        """Download what is missing, format the folder if it is new, start, and wait until the broker answers. Blocks.

        Raises:
            ConfigError: no Java; the port is taken; the folder cannot be written, is full, or is another version's.
            RetriableError: the download failed.
            FatalBrokerError: the broker ended or does not answer; the message names its log.
        """
        program = java()
        self._check_port()
        self._prepare_folder()
        classpath = os.pathsep.join(str(jar) for jar in jars(progress))
        try:
            self._write_configuration()
            self._format(program, classpath)
            self._launch(program, classpath)
        except OSError as error:
            raise self._unusable(error) from error
        self._await_answer()

    def stop(self) -> None:
        """End the broker and wait until it has. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            end_process(process.pid, self._clock, wait=process.poll)
            self.pid_file.unlink(missing_ok=True)

    def wait(self) -> int:
        """Block until the broker ends. Its exit code."""
        return 0 if self._process is None else self._process.wait()

    def _check_port(self) -> None:
        if not 0 < self.port < 65536:
            raise ConfigError(f"port is {self.port}: use one from 1 to 65535, or 0 for a free one")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise ConfigError(
                    f"port {self.port} is taken ({error.strerror}): stop what listens there "
                    "(`streamq broker --stop` if it is a broker of yours), or choose another with --port"
                ) from error

    def _prepare_folder(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            trial = self.data_dir / ".trial"
            trial.write_bytes(b"trial")
            trial.unlink()
            free = shutil.disk_usage(self.data_dir).free
        except OSError as error:
            raise self._unusable(error) from error
        if free < LEAST_FREE_BYTES:
            raise ConfigError(
                f"data_dir {self.data_dir} is on a disk with {free // 1024 // 1024} MiB left: the broker wants "
                f"at least {LEAST_FREE_BYTES // 1024 // 1024} MiB; free some, or choose another folder with --data-dir"
            )
        running = running_pid(self.pid_file)
        if running is not None:
            raise ConfigError(
                f"data_dir {self.data_dir} is in use by the broker with pid {running}: stop it (`streamq broker --stop "
                f"--data-dir {self.data_dir}`), or choose another folder with --data-dir"
            )
        version = self.data_dir / "kafka.version"
        if version.exists() and version.read_text().strip() != KAFKA_VERSION:
            raise ConfigError(
                f"data_dir {self.data_dir} was made by Kafka {version.read_text().strip()}, this is {KAFKA_VERSION}: "
                "choose another folder with --data-dir, or delete this one if its data are not needed"
            )
        version.write_text(KAFKA_VERSION + "\n")

    def _unusable(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"data_dir {self.data_dir} cannot be used ({error.strerror or error}): make room or give it write "
            "permission, or choose another folder with --data-dir"
        )

    def _write_configuration(self) -> None:
        controller = _free_port()
        settings = {
            **_SETTINGS,
            "listeners": f"PLAINTEXT://{self._host}:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self._advertised}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(self.data_dir / "data"),
            **self._settings,
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.data_dir / "server.properties").write_text(text)
        (self.data_dir / "log4j2.yaml").write_text(_LOG4J.format(log=self.log_file))

    def _command(self, program: str, classpath: str, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.data_dir / 'log4j2.yaml'}"
        return [program, *_HEAP, logging, "-cp", classpath, main, *arguments]

    def _format(self, program: str, classpath: str) -> None:
        if (self.data_dir / "data" / "meta.properties").exists():
            return
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        properties = str(self.data_dir / "server.properties")
        answer = subprocess.run(
            self._command(program, classpath, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties),
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise FatalBrokerError(
                f"Kafka could not format {self.data_dir}: {(answer.stderr or answer.stdout).strip()}"
            )

    def _launch(self, program: str, classpath: str) -> None:
        command = self._command(program, classpath, "kafka.Kafka", str(self.data_dir / "server.properties"))
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command if self._detached else [sys.executable, "-I", "-c", _DIE_WITH_PARENT, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid_file.write_text(f"{self._process.pid}\n")

    def _await_answer(self) -> None:
        deadline = Deadline(self._clock, START_TIMEOUT_S)
        process = self._process
        while process is not None and process.poll() is None and not deadline.expired():
            if self._probe(self.bootstrap_servers):
                return
            self._clock.sleep(0.05)
        ended = process is not None and process.poll() is not None
        self.stop()
        what = "ended while it started" if ended else f"did not answer within {START_TIMEOUT_S:g} s"
        raise FatalBrokerError(f"the broker {what}; its log is {self.log_file} and ends with:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        try:
            lines = self.log_file.read_text(errors="replace").splitlines()
        except OSError:
            return "(no log)"
        return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:])


def stop_background(data_dir: Path, clock: Clock | None = None) -> int:
    """End the broker that runs in the background on a folder. Returns the pid it had.

    Raises:
        RetriableError: none runs there.
    """
    pid_file = data_dir.absolute() / "broker.pid"
    pid = running_pid(pid_file)
    if pid is None:
        raise RetriableError(f"no broker runs on data_dir {data_dir.absolute()}: nothing to stop")
    end_process(pid, clock or SystemClock())
    pid_file.unlink(missing_ok=True)
    return pid


def running_pid(pid_file: Path) -> int | None:
    """The pid in the file, if that process is a Kafka broker; None otherwise, also when the pid is another's by now."""
    try:
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if b"kafka.Kafka" in command and str(pid_file.parent).encode() in command else None


def end_process(pid: int, clock: Clock, wait: Callable[[], int | None] | None = None) -> None:
    """SIGTERM, then SIGKILL when it takes too long; returns when the process is no more."""
    deadline = Deadline(clock, STOP_TIMEOUT_S)
    _signal(pid, signal.SIGTERM)
    while _alive(pid, wait):
        if deadline.expired():
            _signal(pid, signal.SIGKILL)
        clock.sleep(0.02)


def _alive(pid: int, wait: Callable[[], int | None] | None) -> bool:
    if wait is not None:
        return wait() is None
    return Path(f"/proc/{pid}").exists()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
