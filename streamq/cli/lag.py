"""`streamq lag`: how far processors are behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from streamq.cli import output
from streamq.cli.output import Brokers, Json, Opened, Target

if TYPE_CHECKING:
    from rich.console import RenderableType

    from streamq.model.clock import Clock
    from streamq.ops.lag import LagView, PartitionLag

COLUMNS = ("partition", "committed", "end", "lag", "finished", "behind", "head", "parked")
WHERE_ANY = ("next attempt", "chained", "held", "requests")
"""Columns that stand in a table only where a partition has something in them."""
LAST = "dead letters"


class Table(NamedTuple):
    """One that can be printed or shown live."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


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
    committed offset, the one to look at when a partition does not go on. "parked" are records that wait in the retry
    topic, "chained" and "held" keys that stand since a record of theirs was given up, "requests" what operators asked
    for and the worker has not finished. Dead letters are those that are open.
    """
    from streamq.model.clock import SystemClock

    clock = SystemClock()
    with output.opened(target, bootstrap_servers) as found:
        views = _views(found, processor, clock)
        if watch:
            _watch(views, interval, json, clock)
            return
        with output.progress_bar("reading what is parked and given up", None) as advance:
            rows = [row for view in views for row in view.look(advance)]
    if json:
        output.print_json(rows)
        return
    for table in _tables(rows, clock.time()):
        output.print_table(*table)
    for line in _lines(rows, clock.time()):
        typer.echo(line)


def _views(found: Opened, name: str | None, clock: Clock) -> Sequence[LagView]:
    from streamq.ops.lag import LagView

    return [LagView(found.admin, found.reader, one, clock) for one in output.processors_of(found.app, name)]


def _tables(rows: Sequence[PartitionLag], now: float) -> list[Table]:
    groups: dict[str, list[PartitionLag]] = {}
    for row in rows:
        groups.setdefault(f"{row.processor} on {row.topic} as {row.group}", []).append(row)
    return [_table(title, mine, now) for title, mine in groups.items()]


def _table(title: str, rows: Sequence[PartitionLag], now: float) -> Table:
    extra = [_parked_cells(row, now) for row in rows]
    shown = [at for at in range(len(WHERE_ANY)) if any(cells[at] for cells in extra)]
    columns = (*COLUMNS, *(WHERE_ANY[at] for at in shown), LAST)
    return Table(
        title,
        columns,
        [(*_cells(row), *(more[at] for at in shown), _letters(row)) for row, more in zip(rows, extra, strict=True)],
    )


def _cells(row: PartitionLag) -> Sequence[object]:
    head = "-"
    if row.head_offset is not None:
        head = f"{row.head_offset} key {output.cell(row.head_key)}, attempt {output.cell(row.head_attempts)}"
    parked = "?" if row.parked is None or row.parked.trouble else row.parked.entries
    behind = output.duration(row.behind_s)
    return row.partition, row.committed, row.end, row.lag, row.finished, behind, head, parked


def _parked_cells(row: PartitionLag, now: float) -> Sequence[object]:
    parked = row.parked
    if parked is None or parked.trouble:
        return (None,) * len(WHERE_ANY)
    return _due(parked.next_at_ms, now), parked.chained, parked.held, parked.requests


def _due(at_ms: int | None, now: float) -> str | None:
    if at_ms is None:
        return None
    return "now" if at_ms <= now * 1000 else f"in {output.duration(at_ms / 1000 - now)}"


def _letters(row: PartitionLag) -> object:
    return row.dead_letters if row.dead_letters_trouble is None else f"at most {row.dead_letters:,}"


def _lines(rows: Sequence[PartitionLag], now: float) -> list[str]:
    """What is amiss, and the sum of all."""
    behind = max((row.behind_s for row in rows), default=0.0)
    total = [f"{sum(row.lag for row in rows):,} records behind, the oldest since {output.duration(behind)}"]
    parked = [row.parked for row in rows if row.parked is not None]
    if entries := sum(one.entries for one in parked):
        due = _due(min((one.next_at_ms for one in parked if one.next_at_ms is not None), default=None), now)
        total.append(f"{entries:,} parked, the next attempt {due or 'when an operator lets it'}")
    total.append(f"{sum(row.dead_letters or 0 for row in rows):,} dead letters")
    return [*(line for row in rows for line in _troubles(row)), "; ".join(total)]


def _troubles(row: PartitionLag) -> list[str]:
    where = f"{row.processor}, partition {row.partition}:"
    parked, lines = row.parked, []
    if parked is not None and parked.trouble:
        lines.append(f"{where} what is parked is not known: {parked.trouble}")
    if parked is not None and parked.undecided_s:
        lines.append(
            f"{where} a transaction has been open in the retry topic for at least "
            f"{output.duration(parked.undecided_s)}; what stands behind it is not counted, and a new owner of the "
            "partition waits for its end"
        )
    if row.dead_letters_trouble:
        lines.append(f"{where} not all dead letters are counted: {row.dead_letters_trouble}")
    return lines


def _watch(views: Sequence[LagView], interval_s: float, json: bool, clock: Clock) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from streamq.model.errors import RetriableError

    if json:
        while True:
            try:
                output.print_json_line([row for view in views for row in view.look()])
            except RetriableError as error:
                typer.echo(f"the next look follows: {error}", err=True)
            clock.sleep(interval_s)
    shown: Sequence[RenderableType] = ()
    with Live(auto_refresh=False) as live:
        while True:
            try:
                rows = [row for view in views for row in view.look()]
            except RetriableError as error:
                last = f"what stands above is old, the next look follows: {error}"
            else:
                shown = [output.make_table(*table) for table in _tables(rows, clock.time())]
                last = "\n".join([*_lines(rows, clock.time()), "Ctrl-C ends"])
            live.update(Group(*shown, Text(output.printable(last))), refresh=True)
            clock.sleep(interval_s)
