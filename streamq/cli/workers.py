"""`streamq workers`: who works on what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from streamq.cli import output
from streamq.cli.output import Brokers, Json, Target

if TYPE_CHECKING:
    from streamq.ops.members import Member

COLUMNS = ("processor", "group is", "member", "host", "identity", "partitions", "lag", "longest under way")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("workers")(workers)


def workers(
    target: Target,
    processor: Annotated[str | None, typer.Option("--processor", "-p", help="Only this one. [default: all]")] = None,
    bootstrap_servers: Brokers = None,
    json: Json = False,
) -> None:
    """Members of the processors' groups: hosts, partitions, and what each has had under way the longest."""
    from streamq.model.clock import SystemClock
    from streamq.ops.members import members_of

    with output.opened(target, bootstrap_servers) as found:
        chosen = output.processors_of(found.app, processor)
        rows = [row for one in chosen for row in members_of(found.admin, found.reader, one, SystemClock())]
    if json:
        output.print_json(rows)
        return
    output.print_table("workers", COLUMNS, [_cells(row) for row in rows])
    idle = [one.name for one in chosen if one.name not in {row.processor for row in rows}]
    if idle:
        typer.echo(f"nobody works for {', '.join(idle)}: start `streamq worker {target}`")


def _cells(row: Member) -> Sequence[object]:
    oldest = row.oldest
    under_way = "-"
    if oldest is not None:
        under_way = (
            f"{oldest.partition}:{oldest.offset} key {output.cell(oldest.key)}, "
            f"attempt {output.cell(oldest.attempts)}, "
            f"{output.duration(oldest.age_s)}"
        )
    partitions = ", ".join(map(str, row.partitions)) or "none"
    return row.processor, row.state, row.client_id, row.host, row.instance_id, partitions, row.lag, under_way
