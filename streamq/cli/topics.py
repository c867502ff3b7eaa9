"""`streamq topics`: create, check and list what an app needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from streamq.cli import output
from streamq.cli.output import Brokers, Json, Opened, Target

if TYPE_CHECKING:
    from streamq.ops.topic_check import Difference


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The topics of an app.", no_args_is_help=True)
    group.command("create")(create)
    group.command("check")(check)
    group.command("list")(list_topics)
    app.add_typer(group, name="topics")


def create(
    target: Target,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands and do nothing.")] = False,
    bootstrap_servers: Brokers = None,
    json: Json = False,
) -> None:
    """Create the topics that are missing: those the app declares, and its processors' retry and dead-letter topics.

    A retry or dead-letter topic with fewer partitions than its source is extended.
    """
    from streamq.ops import topic_check

    with output.opened(target, bootstrap_servers) as found:
        if dry_run:
            _print_commands(found, json)
            return
        done = topic_check.create(found.admin, found.app.topics.values(), found.app.processors.values())
    if json:
        output.print_json(done)
        return
    for name, what in done.items():
        typer.echo(f"{what}  {name}")


def _print_commands(found: Opened, json: bool) -> None:
    from streamq.ops import topic_check

    pending = topic_check.pending(found.admin, found.app.topics.values(), found.app.processors.values())
    missing = {one.topic for one in pending if one.what == "topic"}
    commands = [_named(found, one.command) for one in pending]
    if json:
        output.print_json(commands)
        return
    typer.echo("\n".join(commands) if commands else "nothing is missing")
    if missing & {one.topic.name for one in found.app.processors.values()}:
        typer.echo(
            "retry and dead-letter topics follow the settings that their sources get from the broker: "
            "run `streamq topics check` afterwards",
            err=True,
        )


def _named(found: Opened, command: str) -> str:
    """A command with the brokers that it is for."""
    return command.replace("BROKERS", found.app.bootstrap_servers, 1)


def check(target: Target, bootstrap_servers: Brokers = None, json: Json = False) -> None:
    """Each difference between what is there and what the app needs, with the command that mends it.

    Also what is parked or given up and has no processor any more. Exit code 1 if there is any.
    """
    from msgspec.structs import replace

    from streamq.model.clock import SystemClock
    from streamq.ops import topic_check

    with output.opened(target, bootstrap_servers) as found:
        app = found.app
        wanted = topic_check.wanted(found.admin, app.topics.values(), app.processors.values())
        differences = [
            *topic_check.differences(found.admin, wanted),
            *topic_check.unworked(found.admin, found.reader, app.name, app.processors.values(), SystemClock()),
        ]
        rows = [replace(row, command=_named(found, row.command), note=_named(found, row.note)) for row in differences]
    if json:
        output.print_json(rows)
    elif rows:
        columns = ("topic", "what", "found", "wanted")
        output.print_table("differences", columns, [(row.topic, row.what, row.found, row.wanted) for row in rows])
        _print_remedies(rows)
    else:
        typer.echo(f"all {len(wanted)} topics are as the app needs them")
    if rows:
        raise typer.Exit(1)


def _print_remedies(rows: Sequence[Difference]) -> None:
    notes = [row.note for row in rows if row.note]
    if notes:
        typer.echo("to know before:")
        for note in notes:
            typer.echo(f"  {note}")
    commands = [row.command for row in rows if row.command]
    if commands:
        typer.echo("to mend them:")
        for command in commands:
            typer.echo(f"  {command}")


def list_topics(target: Target, bootstrap_servers: Brokers = None, json: Json = False) -> None:
    """The topics of an app, and what is there of them."""
    from streamq.ops import topic_check

    with output.opened(target, bootstrap_servers) as found:
        wanted = topic_check.wanted(found.admin, found.app.topics.values(), found.app.processors.values())
        rows = topic_check.status(found.admin, wanted)
    if json:
        output.print_json(rows)
        return
    columns = ("topic", "purpose", "partitions", "wanted", "replicas")
    cells = [
        (
            row.topic,
            row.purpose,
            "missing" if row.partitions is None else row.partitions,
            row.wanted_partitions,
            row.replication_factor,
        )
        for row in rows
    ]
    output.print_table("topics", columns, cells)
