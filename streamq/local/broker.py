"""Starts and stops the broker's process."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streamq.local.distribution import KAFKA_VERSION, Progress, jars, java
from streamq.local.process import end_process, pid_in
from streamq.model.clock import Clock, Deadline, SystemClock
from streamq.model.errors import ConfigError, FatalBrokerError, RetriableError

Probe = Callable[[str], bool]
"""Whether the broker at an address answers. Blocks at most a second or so."""

START_TIMEOUT_S: Final = 60.0
LEAST_FREE_BYTES: Final = 256 * 1024 * 1024
_LOG_TAIL_LINES: Final = 15
_LOG_TAIL_BYTES: Final = 64 * 1024
_LOG_ALARMS: Final = (" ERROR ", " FATAL ")
_JAVA_OPTIONS: Final = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC")
# Becomes Java after asking the kernel (PR_SET_PDEATHSIG, 1) to end it when its parent is gone, even by SIGKILL; a
# parent that went before that is noticed by its pid. Where the kernel has no such thing, it only becomes Java.
_DIE_WITH_PARENT: Final = (
    "import ctypes, os, sys; "
    "getattr(ctypes.CDLL(None), 'prctl', lambda *_: 0)(1, 15); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)

_LOG4J = """\
Configuration:
  status: error
  Appenders:
    RollingFile:
      name: file
      fileName: broker.log
      filePattern: broker.log.%i
      PatternLayout: {pattern: "%d %p %m (%c)%n"}
      SizeBasedTriggeringPolicy: {size: 20 MB}
      DefaultRolloverStrategy: {max: 2}
  Loggers:
    Root:
      level: info
      AppenderRef: {ref: file}
"""

# Nothing here waits for what a single node never has: a first rebalance, other replicas, long sessions.
_SETTINGS: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "SELF",
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
    """A single-node Kafka in KRaft mode, listening on 127.0.0.1 only unless `host` says otherwise; the first of
    `advertised` is the address that it tells its clients then. For each further one it listens on that one's own port,
    too, and whoever connects there is told that address.

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
        advertised: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port or _free_ports(1)[0]
        self._probe = probe
        self._detached = detached
        self._host = host
        self._advertised = tuple(advertised) or (f"127.0.0.1:{self.port}",)
        self._settings = dict(settings or {})
        self._clock = clock or SystemClock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

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
        return _pid_file(self.data_dir)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, progress: Progress | None = None) -> None:
        """Download what is missing, format the folder if it is new, start, and wait until the broker answers. Blocks.

        In the foreground, call it from a thread that lives as long as the broker shall: the kernel takes the end of
        that thread for the end of the parent (prctl(2), PR_SET_PDEATHSIG).

        Raises:
            ConfigError: no Java; the port is taken; the folder cannot be written, is full, in use or another version's.
            RetriableError: the download failed.
            FatalBrokerError: the broker ended or does not answer; the message names its log.
        """
        program = java()
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with _alone(self.data_dir):
                self._check_folder()
                self._check_port()
                classpath = os.pathsep.join(str(jar) for jar in jars(progress))
                self._write_configuration()
                self._format(program, classpath)
                self._run(program, classpath)
        except OSError as error:
            raise self._unusable(error) from error

    def stop(self) -> None:
        """End the broker and wait until it has. Idempotent. Blocks for a second or so, 20 s at most.

        Raises:
            FatalBrokerError: it does not end.
        """
        process, self._process = self._process, None
        if process is not None:
            end_process(process.pid, self._clock, lambda: process.poll() is not None)
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
                probe.bind((self._host, self.port))
            except OSError as error:
                raise self._unbindable(error) from error

    def _unbindable(self, error: OSError) -> ConfigError:
        match error.errno:
            case errno.EADDRINUSE:
                return ConfigError(
                    f"port {self.port} is taken: stop what listens there (`streamq broker --stop --data-dir …` if it "
                    "is a broker of yours), or choose another with --port"
                )
            case errno.EACCES:
                return ConfigError(f"port {self.port} needs more rights than yours: choose one above 1023 with --port")
            case _:
                return ConfigError(f"the broker cannot listen on {self._host}:{self.port}: {error.strerror or error}")

    def _check_folder(self) -> None:
        trial = self.data_dir / ".trial"
        trial.write_bytes(b"trial")
        trial.unlink()
        free = shutil.disk_usage(self.data_dir).free
        if free < LEAST_FREE_BYTES:
            raise ConfigError(
                f"data_dir {self.data_dir} is on a disk with {free // 1024 // 1024} MiB left: the broker wants "
                f"at least {LEAST_FREE_BYTES // 1024 // 1024} MiB; free some, or choose another folder with --data-dir"
            )
        running = running_pid(self.data_dir)
        if running is not None:
            raise ConfigError(
                f"data_dir {self.data_dir} is in use by the broker with pid {running}: stop it (`streamq broker --stop "
                f"--data-dir {self.data_dir}`), or choose another folder with --data-dir"
            )
        version = self.data_dir / "kafka.version"
        made_by = version.read_text().strip() if version.exists() else ""
        if made_by not in {"", KAFKA_VERSION}:
            raise ConfigError(
                f"data_dir {self.data_dir} was made by Kafka {made_by}, this is {KAFKA_VERSION}: "
                "choose another folder with --data-dir, or delete this one if its data are not needed"
            )
        version.write_text(KAFKA_VERSION + "\n")

    def _unusable(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"data_dir {self.data_dir} cannot be used ({error.strerror or error}): make room or give it write "
            "permission, or choose another folder with --data-dir"
        )

    def _write_configuration(self) -> None:
        # Each transaction makes the broker connect to itself: by an address of its own, since the one that its clients
        # are told may lead nowhere from here (a container's published port).
        controller, own = _free_ports(2)
        told = {"PLAINTEXT" if n == 0 else f"CLIENTS{n}": address for n, address in enumerate(self._advertised)}
        ports = {name: address.rpartition(":")[2] for name, address in told.items()} | {"PLAINTEXT": str(self.port)}
        listeners = [f"{name}://{self._host}:{port}" for name, port in ports.items()]
        itself = f"SELF://127.0.0.1:{own}"
        settings = {
            **_SETTINGS,
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in ("CONTROLLER", "SELF", *told)),
            "listeners": ",".join([*listeners, itself, f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join([*(f"{name}://{address}" for name, address in told.items()), itself]),
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": "data",
            **self._settings,
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.data_dir / "server.properties").write_text(text)
        (self.data_dir / "log4j2.yaml").write_text(_LOG4J)

    def _command(self, program: str, classpath: str, main: str, *arguments: str) -> list[str]:
        logging = "-Dlog4j2.configurationFile=log4j2.yaml"
        return [program, *_JAVA_OPTIONS, logging, _marker(self.data_dir), "-cp", classpath, main, *arguments]

    def _format(self, program: str, classpath: str) -> None:
        if (self.data_dir / "data" / "meta.properties").exists():
            return
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        answer = subprocess.run(
            self._command(
                program, classpath, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties"
            ),
            cwd=self.data_dir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if answer.returncode:
            raise FatalBrokerError(
                f"Kafka could not format {self.data_dir}: {(answer.stderr or answer.stdout).strip()}"
            )

    def _run(self, program: str, classpath: str) -> None:
        command = self._command(program, classpath, "kafka.Kafka", "server.properties")
        launcher = [sys.executable, "-I", "-c", _DIE_WITH_PARENT, str(os.getpid())]
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command if self._detached else [*launcher, *command],
                cwd=self.data_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.pid_file.write_text(f"{self._process.pid}\n")
            self._await_answer()
        except BaseException:
            # Whatever ended the start, Ctrl-C too: nothing is left running that nobody asked for.
            self.stop()
            raise

    def _await_answer(self) -> None:
        deadline = Deadline(self._clock, START_TIMEOUT_S)
        process = self._process
        while process is not None and process.poll() is None and not deadline.expired():
            if self._probe(self.bootstrap_servers):
                return
            self._clock.sleep(0.05)
        ended = process is not None and process.poll() is not None
        what = "ended while it started" if ended else f"did not answer within {START_TIMEOUT_S:g} s"
        raise FatalBrokerError(f"the broker {what}; its log is {self.log_file} and says:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Lines of the log, indented, for an error's message: from the first alarm near its end on, else the last."""
        try:
            with self.log_file.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                # What was there before this start is of no interest; a log that was rolled over is new as a whole.
                log.seek(max(self._log_start if self._log_start <= size else 0, size - _LOG_TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return "(no log)"
        alarms = (at for at, line in enumerate(lines) if any(word in line for word in _LOG_ALARMS))
        first = next(alarms, max(0, len(lines) - _LOG_TAIL_LINES))
        return "\n".join(f"  {line}" for line in lines[first : first + _LOG_TAIL_LINES])


def stop_background(data_dir: Path, clock: Clock | None = None) -> int:
    """End the broker that runs on a folder, whoever started it. Returns the pid it had. Blocks until it is gone.

    Raises:
        RetriableError: none runs there.
        FatalBrokerError: it does not end.
    """
    folder = data_dir.absolute()
    pid = running_pid(folder)
    if pid is None:
        raise RetriableError(f"no broker runs on data_dir {folder}: nothing to stop")
    end_process(pid, clock or SystemClock(), lambda: running_pid(folder) != pid)
    _pid_file(folder).unlink(missing_ok=True)
    return pid


def running_pid(folder: Path) -> int | None:
    """The pid of the broker that runs on a folder; None when none does."""
    return pid_in(_pid_file(folder), _marker(folder))


def _pid_file(folder: Path) -> Path:
    return folder / "broker.pid"


def _marker(folder: Path) -> str:
    """Among Java's arguments, says whose process it is. Kafka itself gets relative paths only: its files of properties
    hold no character beyond Latin-1, and its list of folders no comma."""
    return f"-Dstreamq.data_dir={folder}"


def _free_ports(count: int) -> Sequence[int]:
    # All are held until the last is there, so that none comes twice.
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time start a broker on a folder."""
    with (folder / "start.lock").open("ab") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"data_dir {folder} is in use: another process is starting a broker there; "
                "wait for that one, or choose another folder with --data-dir"
            ) from error
        yield
