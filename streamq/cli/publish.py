"""`streamq publish`: one record, or a file of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from streamq.cli import output
from streamq.cli.output import Brokers, Json, Target

if TYPE_CHECKING:
    from streamq.app import App
    from streamq.ops.publishing import Summary
    from streamq.tasks.topic import AnyTopic


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("publish")(publish)


def publish(
    target: Target,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="A topic that the app declares.")],
    value: Annotated[
        str | None, typer.Option(help="The value, as JSON (or text, where the topic holds bytes).")
    ] = None,
    key: Annotated[str | None, typer.Option(help="The key; none if it is left out.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; may be repeated.")] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Instead of the one that the key decides.")] = None,
    file: Annotated[
        str | None, typer.Option(help='JSON lines {"key": …, "value": …, "headers": …, "partition": …}; - is stdin.')
    ] = None,
    bootstrap_servers: Brokers = None,
    json: Json = False,
) -> None:
    """Publish one record, or a file of JSON lines. Each value is checked against the topic's type first.

    Returns when all are confirmed by the brokers.
    """
    from streamq.model.errors import ConfigError

    app = output.open_app(target, bootstrap_servers)
    declared = app.topics.get(topic)
    if declared is None:
        raise ConfigError(
            f"topic {topic!r} is not one of app {app.name!r}: it declares {', '.join(app.topics) or 'none'}"
        )
    if (value is None) == (file is None):
        raise ConfigError("use either --value for one record or --file for many")
    if file is not None and not (key is None and partition is None and not header):
        raise ConfigError("--key, --partition and --header go with --value: with --file each line holds its own")
    headers = _headers(header)
    try:
        _check_reachable(app, declared)
        if file is not None:
            _publish_file(app, declared, file, json)
        else:
            _publish_one(app, declared, value or "", key, headers, partition, json)
    finally:
        app.close()


def _check_reachable(app: App, topic: AnyTopic) -> None:
    from streamq.ops.publishing import check_reachable

    admin = app.clients.admin()
    try:
        check_reachable(admin, topic)
    finally:
        admin.close()


def _headers(pairs: list[str] | None) -> dict[str, str]:
    from streamq.model.errors import ConfigError

    headers = {}
    for pair in pairs or ():
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise ConfigError(f"--header is {pair!r}: use NAME=VALUE")
        headers[name] = text
    return headers


def _publish_one(
    app: App,
    topic: AnyTopic,
    value: str,
    key: str | None,
    headers: dict[str, str],
    partition: int | None,
    json: bool,
) -> None:
    from streamq.ops.publishing import CONFIRM_S, key_from_text, value_of

    publication = app.publish(
        topic, value_of(topic, value.encode()), key=key_from_text(topic, key), headers=headers, partition=partition
    )
    delivery = publication.result(CONFIRM_S)
    if json:
        facts = {"topic": delivery.topic, "partition": delivery.partition, "offset": delivery.offset}
        output.print_json_line(facts)
    else:
        typer.echo(f"published to {delivery.topic} {delivery.partition}:{delivery.offset}")


def _publish_file(app: App, topic: AnyTopic, file: str, json: bool) -> None:
    from streamq.model.errors import ConfigError
    from streamq.ops.publishing import Publishes, publish_lines

    publish_ = cast("Publishes", app.publish)
    if file == "-":
        with output.progress_bar(f"publishing to {topic.name}", None) as advance:
            summary = publish_lines(publish_, topic, sys.stdin.buffer, advance)
    else:
        try:
            size = Path(file).stat().st_size
            with Path(file).open("rb") as lines, output.progress_bar(f"publishing to {topic.name}", size) as advance:
                summary = publish_lines(publish_, topic, lines, advance)
        except OSError as error:
            raise ConfigError(f"--file {file} cannot be read: {error.strerror}") from error
    _print(summary, json)
    if summary.refused:
        raise typer.Exit(1)


def _print(summary: Summary, json: bool) -> None:
    if json:
        output.print_json(summary)
        return
    for refused in summary.refused:
        typer.echo(f"line {refused.line}: {refused.error}", err=True)
    if summary.stopped_at is not None:
        typer.echo(f"stopped at line {summary.stopped_at}: publish it and what follows again later", err=True)
    typer.echo(f"{summary.published:,} published, {len(summary.refused):,} refused")
