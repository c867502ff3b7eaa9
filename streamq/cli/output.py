"""What the commands share: opening an app, tables and JSON, times, progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from streamq.app import App
    from streamq.model.ports import AdminPort, ReaderPort
    from streamq.tasks.processor import Processor

Target = Annotated[str, typer.Argument(metavar="APP", help="Module and attribute of the app: package.module:app")]
Brokers = Annotated[
    str | None, typer.Option("--bootstrap-servers", help="Kafka brokers, host:port[,…]. [default: the app's]")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Opened(NamedTuple):
    """An app with what asks its cluster."""

    app: App
    admin: AdminPort
    reader: ReaderPort


def open_app(target: str, bootstrap_servers: str | None) -> App:
    """Load an app and point it at the brokers that the option names."""
    from streamq.app import load_app

    _quiet_logs()
    app = load_app(target)
    app.connect(bootstrap_servers=bootstrap_servers)
    return app


def _quiet_logs() -> None:
    """Only what has a consequence is logged, beside what a command prints: the client's attempts to connect have none,
    and what fails is an error of the command. A program that has set up logging keeps it."""
    import logging

    from streamq.cli.logs import configure

    if not logging.getLogger().handlers:
        configure("text", "warning")
        logging.getLogger("streamq.kafka").setLevel(logging.ERROR)


@contextmanager
def opened(target: str, bootstrap_servers: str | None) -> Iterator[Opened]:
    """Load an app and connect; everything is closed afterwards."""
    app = open_app(target, bootstrap_servers)
    admin, reader = app.clients.admin(), app.clients.reader()
    try:
        yield Opened(app, admin, reader)
    finally:
        reader.close()
        admin.close()


def processor_of(app: App, name: str) -> Processor:
    """A processor of an app by its name.

    Raises:
        ConfigError: there is none; the message names those there are.
    """
    from streamq.model.errors import ConfigError

    if name not in app.processors:
        known = ", ".join(map(repr, app.processors)) or "none"
        raise ConfigError(f"processor {name!r} is not one of app {app.name!r}: it has {known}")
    return app.processors[name]


def processors_of(app: App, name: str | None) -> Sequence[Processor]:
    """One processor, or all."""
    return [processor_of(app, name)] if name is not None else list(app.processors.values())


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def print_json_line(document: object) -> None:
    """One line of JSON on stdout."""
    import msgspec

    typer.echo(msgspec.json.encode(document).decode())


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people; a sentence where there is nothing."""
    from rich.console import Console

    # Where nobody looks at a terminal there is no width to fold to.
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(make_table(title, columns, rows) if rows else f"{title}: nothing")


def make_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table that can be printed or shown live. Numbers stand to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for at, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[at], int | float) or row[at] is None for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell(value))) for value in row))
    return table


def cell(value: object) -> str:
    """One value in a table."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def printable(text: str) -> str:
    """The text with its control characters written out. Anybody may have written a record: nothing in it may command
    the terminal."""
    return "".join(one if one in "\n\t" or one.isprintable() else repr(one)[1:-1] for one in text)


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def aware_time(option: str, text: str) -> datetime:
    """An ISO 8601 time with its zone.

    Raises:
        ConfigError: it is none, or it has no zone.
    """
    from streamq.model.errors import ConfigError

    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} is {text!r}: use ISO 8601 with a zone, for instance 2026-11-20T08:00Z") from None
    if time.tzinfo is None:
        whole = time.isoformat(timespec="minutes")
        raise ConfigError(
            f"{option} is {text!r}, a time without a zone: add one, for instance {whole}Z for UTC or {whole}+01:00"
        )
    return time


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr where that is a terminal; nothing elsewhere. Yields what moves it on by so many."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.update(task, advance=count)
