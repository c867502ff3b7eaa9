"""`streamq lag`: how far processors are behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from streamq.cli import output
from streamq.cli.output import Brokers, Json, Opened, Target

if TYPE_CHECKING:
    from streamq.ops.lag import PartitionLag

COLUMNS = (
    "processor", "partition", "committed", "end", "lag", "finished", "behind", "head key", "head offset", "attempts",
    "dead letters",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("lag")(lag)


def lag(
    target: Target,
    processor: Annotated[str | None, typer.Option("--processor", "-p", help="Only this one. [default: all]")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks of --watch.")] = 2.0,
    bootstrap_servers: Brokers = None,
    json: Json = False,
) -> None:
    """Records and seconds behind, a partition a row.

    "finished" counts records above the committed offset that are done already; "head" is the record that holds the
    committed offset, the one to look at when a partition does not go on.
    """
    with output.opened(target, bootstrap_servers) as found:
        if watch:
            _watch(found, processor, interval, json)
            return
        rows = _rows(found, processor)
    if json:
        output.print_json(rows)
        return
    output.print_table("lag", COLUMNS, [_cells(row) for row in rows])
    typer.echo(_total(rows))


def _rows(found: Opened, name: str | None) -> Sequence[PartitionLag]:
    from streamq.model.clock import SystemClock
    from streamq.ops.lag import lag_of

    return [
        row
        for one in output.processors_of(found.app, name)
        for row in lag_of(found.admin, found.reader, one, SystemClock())
    ]


def _cells(row: PartitionLag) -> Sequence[object]:
    return (
        row.processor, row.partition, row.committed, row.end, row.lag, row.finished, output.duration(row.behind_s),
        row.head_key, row.head_offset, row.head_attempts, row.dead_letters,
    )  # fmt: skip


def _total(rows: Sequence[PartitionLag]) -> str:
    behind = max((row.behind_s for row in rows), default=0.0)
    return (
        f"{sum(row.lag for row in rows):,} records behind, the oldest since {output.duration(behind)}; "
        f"{sum(row.dead_letters for row in rows):,} dead letters"
    )


def _watch(found: Opened, name: str | None, interval_s: float, json: bool) -> None:
    from rich.console import Group
    from rich.live import Live

    from streamq.model.clock import SystemClock

    clock = SystemClock()
    if json:
        while True:
            output.print_json_line(_rows(found, name))
            clock.sleep(interval_s)
    with Live(auto_refresh=False) as live:
        while True:
            rows = _rows(found, name)
            table = output.make_table("lag (Ctrl-C ends)", COLUMNS, [_cells(row) for row in rows])
            live.update(Group(table, _total(rows)), refresh=True)
            clock.sleep(interval_s)
