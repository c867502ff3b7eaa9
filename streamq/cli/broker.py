"""`streamq broker`: a real single-node Kafka on this machine."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streamq.local.broker import LocalBroker

DEFAULT_DATA_DIR = Path(".streamq") / "broker"
_ASKED_TO_END = (0, 128 + signal.SIGTERM, -signal.SIGTERM)
"""Exit codes of a broker that somebody ended from elsewhere (`streamq broker --stop`)."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("broker")(broker)


def broker(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 picks a free one.")] = 9092,
    data_dir: Annotated[Path, typer.Option(help="Folder of its data, log and pid file.")] = DEFAULT_DATA_DIR,
    background: Annotated[bool, typer.Option("--background", help="Leave it running and return.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the one that runs on --data-dir.")] = False,
    listen: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 in a container.")] = "127.0.0.1",
    advertise: Annotated[
        list[str] | None,
        typer.Option(
            help="host:port that clients are told to connect to; unless given, 127.0.0.1 and the port. Given again: "
            "one more port to listen on, and what the clients there are told."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Run a real single-node Apache Kafka, for development and tests. Needs no Java and no Docker."""
    from streamq.kafka import ping
    from streamq.local.broker import LocalBroker, stop_background
    from streamq.model.errors import ConfigError

    if stop and background:
        raise ConfigError("--stop and --background exclude each other: give one of them")
    if stop:
        pid = stop_background(data_dir)
        _say(json, {"stopped": pid, "data_dir": str(data_dir)}, f"stopped the broker with pid {pid}")
        return
    # From here on a SIGTERM ends the command as Ctrl-C does: with the broker, even while that starts.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    local = LocalBroker(data_dir, port=port, probe=ping, detached=background, host=listen, advertised=advertise or ())
    _start(local)
    facts = {"bootstrap_servers": local.bootstrap_servers, "data_dir": str(data_dir), "log": str(local.log_file)}
    sentence = f"Kafka runs on {local.bootstrap_servers}; its data are in {data_dir}, its log is {local.log_file}"
    if background:
        _say(json, facts, f"{sentence}. Stop it with: streamq broker --stop --data-dir {data_dir}")
        return
    _wait(local, lambda: _say(json, facts, f"{sentence}. Ctrl-C stops it"))


def _start(local: LocalBroker) -> None:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("starting Kafka", total=None)
        local.start(lambda done, total: bar.update(task, description="downloading Kafka", completed=done, total=total))


def _wait(local: LocalBroker, announce: Callable[[], None]) -> None:
    from streamq.model.errors import FatalBrokerError

    try:
        announce()  # in here, since whoever reads it may press Ctrl-C at once
        code = local.wait()
    except KeyboardInterrupt:
        return
    finally:
        local.stop()
    if code not in _ASKED_TO_END:
        raise FatalBrokerError(
            f"the broker ended by itself with code {code}; its log is {local.log_file} and says:\n{local.log_tail()}"
        )


def _say(json: bool, facts: Mapping[str, object], sentence: str) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(facts).decode() if json else sentence)
