"""`streamq topics`: create, check and list what an app needs."""

from __future__ import annotations

from typing import Annotated

import typer

from streamq.cli import output
from streamq.cli.output import Brokers, Json, Target


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
    """Create the topics that are missing: those the app declares, and its processors' dead-letter topics."""
    from streamq.ops import topic_check, topics

    with output.opened(target, bootstrap_servers) as found:
        wanted = topic_check.wanted(found.admin, found.app.topics.values(), found.app.processors.values())
        if dry_run:
            rows = [row for row in topic_check.status(found.admin, wanted) if row.partitions is None]
            missing = {row.topic for row in rows}
            commands = [
                topics.create_command(topic_check.creatable(one.spec)) for one in wanted if one.spec.name in missing
            ]
            if json:
                output.print_json(commands)
            else:
                typer.echo("\n".join(commands) if commands else "nothing is missing")
            return
        created = topic_check.create(found.admin, [one for one in wanted if not one.exact])
        # What is derived follows its source's settings: they are asked for once the source is there.
        wanted = topic_check.wanted(found.admin, (), found.app.processors.values())
        created |= topic_check.create(found.admin, wanted)
    if json:
        output.print_json(created)
        return
    for name, new in created.items():
        typer.echo(f"{'created' if new else 'there already'}  {name}")


def check(target: Target, bootstrap_servers: Brokers = None, json: Json = False) -> None:
    """Each difference between what is there and what the app needs, with the command that mends it.

    Exit code 1 if there is any.
    """
    from streamq.ops import topic_check

    with output.opened(target, bootstrap_servers) as found:
        wanted = topic_check.wanted(found.admin, found.app.topics.values(), found.app.processors.values())
        rows = topic_check.differences(found.admin, wanted)
    if json:
        output.print_json(rows)
    elif rows:
        columns = ("topic", "what", "found", "wanted")
        output.print_table("differences", columns, [(row.topic, row.what, row.found, row.wanted) for row in rows])
        typer.echo("to mend them:")
        for row in rows:
            typer.echo(f"  {row.command}")
    else:
        typer.echo(f"all {len(wanted)} topics are as the app needs them")
    if rows:
        raise typer.Exit(1)


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
