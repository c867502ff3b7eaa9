"""The command line: one module a command, found by name."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

import typer

from streamq.model.errors import ConfigError, StreamqError

COMMANDS = ("broker", "worker", "publish", "topics", "lag", "replay", "dlq", "workers", "demo")

app = typer.Typer(name="streamq", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Run one command; a StreamqError becomes one sentence on stderr and an exit code."""
    for name in COMMANDS:
        if find_spec(f"streamq.cli.{name}") is None:
            continue
        import_module(f"streamq.cli.{name}").register(app)
    try:
        app()
    except StreamqError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None
