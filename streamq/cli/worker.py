"""`streamq worker`: run processors."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streamq.cli.output import Brokers, Target

if TYPE_CHECKING:
    from streamq.app import App
    from streamq.config import WorkerConfig
    from streamq.tasks.processor import Processor

logger = logging.getLogger(__name__)

PARENT_S = 0.5


Processors = Annotated[
    list[str] | None, typer.Option("--processor", "-p", help="Run only this one; may be repeated. [default: all]")
]
Concurrency = Annotated[
    int | None, typer.Option(help="Attempts at once in each process, instead of what the processor declares.")
]
Processes = Annotated[int, typer.Option(help="Worker processes; a supervisor restarts those that die.")]
Http = Annotated[int | None, typer.Option(help="Serve /live, /ready and /metrics on this port (child n: port + n).")]
DrainTimeout = Annotated[float, typer.Option(help="Seconds that running handlers have at a stop or a rebalance.")]
CommitInterval = Annotated[float, typer.Option(help="Seconds between offset commits.")]
Protocol = Annotated[Literal["classic", "consumer"] | None, typer.Option(help="Group protocol. [default: the app's]")]
SessionTimeout = Annotated[
    float, typer.Option(help="Seconds after which a silent worker's partitions move (classic protocol).")
]
StaticMembers = Annotated[
    bool,
    typer.Option(
        "--static-members",
        help="Give each process of --processes a fixed identity, so that a killed one is back in a second "
        "(classic protocol; its partitions wait for it at a scale-in).",
    ),
]
CreateTopics = Annotated[bool, typer.Option(help="Create missing topics as declared, and extend dead-letter topics.")]
LogFormat = Annotated[Literal["text", "json"], typer.Option(help="Log lines for people or as JSON.")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], typer.Option(help="Least level logged.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker")(worker)


def worker(
    target: Target,
    processor: Processors = None,
    concurrency: Concurrency = None,
    processes: Processes = 1,
    http: Http = None,
    bootstrap_servers: Brokers = None,
    drain_timeout: DrainTimeout = 25.0,
    commit_interval: CommitInterval = 1.0,
    group_protocol: Protocol = None,
    session_timeout: SessionTimeout = 10.0,
    static_members: StaticMembers = False,
    create_topics: CreateTopics = True,
    log_format: LogFormat = "text",
    log_level: LogLevel = "info",
    child: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run an app's processors until SIGTERM or Ctrl-C.

    A stop drains: nothing new starts, running handlers have --drain-timeout seconds, offsets are committed, and the
    worker leaves its group. A second signal waits for no handler.
    """
    from streamq.app import load_app
    from streamq.cli.logs import configure
    from streamq.config import WorkerConfig

    configure(log_format, log_level)
    app = load_app(target)
    app.connect(bootstrap_servers=bootstrap_servers)
    _check_processes(processes, http, static=static_members and child is None)
    config = WorkerConfig(
        commit_interval_s=commit_interval,
        drain_timeout_s=drain_timeout,
        group_protocol=group_protocol or app.group_protocol,
        session_timeout_s=session_timeout,
        heartbeat_s=min(1.0, session_timeout / 3),
        instance_id=_instance_id(child or 0) if static_members else None,
        create_topics=create_topics and app.create_topics,
    )
    chosen = _chosen(app, processor, concurrency)
    if processes > 1 and child is None:
        raise typer.Exit(_supervise(processes, drain_timeout))
    if child is not None:
        _follow_parent()
        http = None if http is None else http + child
    raise typer.Exit(_work(app, chosen, config, http))


def _check_processes(processes: int, http: int | None, *, static: bool) -> None:
    from streamq.model.errors import ConfigError

    if processes < 1:
        raise ConfigError(f"--processes is {processes}: use a whole number of at least 1")
    if static and processes == 1:
        raise ConfigError("--static-members goes with --processes: a lone worker has no place that it comes back to")
    if http is not None and not 0 <= http <= 65535 - processes:
        raise ConfigError(f"--http is {http}: use a port from 1 to {65535 - processes}")


def _chosen(app: App, names: Sequence[str] | None, concurrency: int | None) -> list[Processor]:
    from streamq.model.errors import ConfigError

    known = app.processors
    if not known:
        raise ConfigError(f"app {app.name!r} has no processors: declare one with @app.processor(topic)")
    for name in names or ():
        if name not in known:
            raise ConfigError(f"--processor {name!r} is not one of app {app.name!r}: use {', '.join(map(repr, known))}")
    chosen = [known[name] for name in dict.fromkeys(names or known)]
    if concurrency is None:
        return chosen
    return [replace(one, config=replace(one.config, concurrency=concurrency)) for one in chosen]


def _work(app: App, processors: Sequence[Processor], config: WorkerConfig, http: int | None) -> int:
    from streamq.wiring import run_worker

    failures = run_worker(app, processors, config, http_port=http)
    return 1 if failures else 0


def _supervise(processes: int, drain_timeout: float) -> int:
    from streamq.model.clock import SystemClock
    from streamq.runtime.supervisor import Supervisor

    arguments = sys.argv[1:]
    supervisor = Supervisor(
        processes,
        lambda number: [sys.executable, "-m", "streamq", *arguments, "--child", str(number)],
        drain_timeout_s=drain_timeout,
        clock=SystemClock(),
    )
    signal.signal(signal.SIGTERM, lambda *_: supervisor.request_stop())
    signal.signal(signal.SIGINT, lambda *_: supervisor.request_stop())
    return supervisor.run()


def _instance_id(child: int) -> str:
    return f"{os.uname().nodename}.{child}"


def _follow_parent() -> None:
    """A child whose supervisor is gone (killed) drains and ends: nobody would stop it otherwise."""
    parent = os.getppid()

    def watch() -> None:
        pause = threading.Event()
        while os.getppid() == parent:
            pause.wait(PARENT_S)
        logger.error("The supervisor is gone: this worker process drains and ends", extra={"event": "orphaned"})
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="streamq-parent", daemon=True).start()
