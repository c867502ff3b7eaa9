"""The command line: one module a command, found by name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from streamq.model.errors import ConfigError, StreamqError

COMMANDS = ("broker", "worker", "publish", "topics", "lag", "replay", "dlq", "workers", "demo")


def _version(wanted: bool) -> None:
    if wanted:
        from streamq import __version__

        typer.echo(f"streamq {__version__}")
        raise typer.Exit


class CommandLine:
    """All commands. Ctrl-C and a reader of the output that has seen enough are typer's to deal with."""

    def __init__(self) -> None:
        self.debug = False
        self.commands = typer.Typer(
            name="streamq", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
        )
        self.commands.callback()(self.options)
        for name in COMMANDS:
            import_module(f"streamq.cli.{name}").register(self.commands)

    def options(
        self,
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
        ] = False,
        debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    ) -> None:
        """Tasks and streams on Apache Kafka: ordered, at-least-once, per key, under failure."""
        self.debug = debug

    def run(self, arguments: Sequence[str] | None) -> None:
        """Run one command; an error becomes one sentence on stderr and an exit code.

        Raises:
            SystemExit: always; 0 done, 1 the operation failed, 2 wrong usage or configuration, 130 Ctrl-C.
        """
        try:
            _check_text(sys.argv[1:] if arguments is None else arguments)
            self.commands(args=arguments, prog_name="streamq")
        except StreamqError as error:
            if self.debug:
                raise
            sys.stderr.write(f"error: {error}\n")
            raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None


def _check_text(arguments: Sequence[str]) -> None:
    """Python hands over bytes that are no UTF-8 as lone surrogates, which nothing after this could write."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise ConfigError(
                f"argument {argument!r} is no UTF-8 text: mend it; other bytes can be published by a program only"
            ) from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave; `arguments=None` takes the process's own. See `CommandLine.run`."""
    CommandLine().run(arguments)
