"""`streamq lag`: how far processors are behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from streamq.cli import output
from streamq.cli.output import Brokers, Json, Opened, Target

if TYPE_CHECKING:
    from rich.console import RenderableType

    from streamq.ops.lag import PartitionLag

COLUMNS = ("partition", "committed", "end", "lag", "finished", "behind", "head", "dead letters")


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
    for title, mine in _by_processor(rows).items():
        output.print_table(title, COLUMNS, mine)
    typer.echo(_total(rows))


def _rows(found: Opened, name: str | None) -> Sequence[PartitionLag]:
    from streamq.model.clock import SystemClock
    from streamq.ops.lag import lag_of

    return [
        row
        for one in output.processors_of(found.app, name)
        for row in lag_of(found.admin, found.reader, one, SystemClock())
    ]


def _by_processor(rows: Sequence[PartitionLag]) -> dict[str, list[Sequence[object]]]:
    tables: dict[str, list[Sequence[object]]] = {}
    for row in rows:
        tables.setdefault(f"{row.processor} on {row.topic} as {row.group}", []).append(_cells(row))
    return tables


def _cells(row: PartitionLag) -> Sequence[object]:
    head = "-"
    if row.head_offset is not None:
        head = f"{row.head_offset} key {output.cell(row.head_key)}, attempt {output.cell(row.head_attempts)}"
    behind = output.duration(row.behind_s)
    return row.partition, row.committed, row.end, row.lag, row.finished, behind, head, row.dead_letters


def _total(rows: Sequence[PartitionLag]) -> str:
    behind = max((row.behind_s for row in rows), default=0.0)
    return (
        f"{sum(row.lag for row in rows):,} records behind, the oldest since {output.duration(behind)}; "
        f"{sum(row.dead_letters for row in rows):,} dead letters"
    )


def _watch(found: Opened, name: str | None, interval_s: float, json: bool) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from streamq.model.clock import SystemClock
    from streamq.model.errors import RetriableError

    clock = SystemClock()
    if json:
        while True:
            try:
                output.print_json_line(_rows(found, name))
            except RetriableError as error:
                typer.echo(f"the next look follows: {error}", err=True)
            clock.sleep(interval_s)
    shown: Sequence[RenderableType] = ()
    with Live(auto_refresh=False) as live:
        while True:
            try:
                rows = _rows(found, name)
            except RetriableError as error:
                last = f"what stands above is old, the next look follows: {error}"
            else:
                shown = [output.make_table(title, COLUMNS, mine) for title, mine in _by_processor(rows).items()]
                last = f"{_total(rows)}; Ctrl-C ends"
            live.update(Group(*shown, Text(last)), refresh=True)
            clock.sleep(interval_s)
