"""The command line: one module a command, found by name."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from streamq.model.errors import ConfigError, StreamqError

COMMANDS = ("broker", "worker", "publish", "topics", "lag", "replay", "dlq", "workers", "demo")

INTERRUPTED = 130

app = typer.Typer(name="streamq", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        from streamq import __version__

        typer.echo(f"streamq {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Tasks and streams on Apache Kafka: ordered, at-least-once, per key, under failure."""


def main() -> None:
    """Run one command; a StreamqError becomes one sentence on stderr and an exit code."""
    for name in COMMANDS:
        import_module(f"streamq.cli.{name}").register(app)
    try:
        app()
    except StreamqError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing may be written to it at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
