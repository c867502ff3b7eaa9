"""`streamq dlq`: dead letters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streamq.cli import dlq_requests, output
from streamq.cli.output import Brokers, Json, Target
from streamq.core.marks import LetterState
from streamq.model.outcomes import DeadReason

if TYPE_CHECKING:
    from streamq.ops.dead_letters import DeadLetter, Whole

COLUMNS = ("place", "state", "key", "reason", "error", "message", "attempts", "source", "given up")
ProcessorName = Annotated[str, typer.Argument(metavar="PROCESSOR", help="Name of the processor.")]
TABLE_ROWS = 100
_PLACE = re.compile(r"(\d+):(\d+)")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Dead letters: records that were given up.", no_args_is_help=True)
    group.command("list")(list_letters)
    group.command("show")(show)
    dlq_requests.register(group)
    app.add_typer(group, name="dlq")


def list_letters(
    target: Target,
    processor: ProcessorName,
    reason: Annotated[DeadReason | None, typer.Option(help="Only those given up for this reason.")] = None,
    key: Annotated[str | None, typer.Option(help="Only this key.")] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Only those that fit: 'attempts > 3 and value.amount >= 100 and at >= 2026-11-20T08:00Z'. Names are "
            "reason, error_type, message, key, state, partition, offset, attempts, at, and value with its fields."
        ),
    ] = None,
    state: Annotated[LetterState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many. [default: 100; all with --json]")] = None,
    bootstrap_servers: Brokers = None,
    json: Json = False,
) -> None:
    """The dead letters of a processor, with reason, error and where each came from.

    Open are those that wait for somebody to redrive or purge them. A record that was given up again after it was
    redriven is listed once.
    """
    from streamq.model.clock import SystemClock
    from streamq.ops import dead_letters
    from streamq.ops.where import filter_of

    with output.opened(target, bootstrap_servers) as found:
        one = output.processor_of(found.app, processor)
        fits = None if where is None else filter_of(where, one.topic)
        total = dead_letters.count(found.admin, one)
        most = limit or (total if json else TABLE_ROWS)
        with output.progress_bar("reading dead letters", 2 * total) as advance:
            rows, more = _first(
                dead_letters.letters(
                    found.admin, found.reader, one, SystemClock(),
                    key=key, reason=reason, state=state, where=fits, progress=advance,
                ),
                most,
            )  # fmt: skip
    if json:
        for letter in rows:
            output.print_json_line(letter)
        return
    output.print_table(f"dead letters of {one.group}", COLUMNS, [_cells(letter) for letter in rows])
    if more:
        typer.echo(f"{more:,} more: raise --limit, or use --where, --state, --reason or --key")


def _first(letters: Iterable[DeadLetter], most: int) -> tuple[list[DeadLetter], int]:
    """So many of them in order, and how many more there are."""
    rows: list[DeadLetter] = []
    more = 0
    for letter in letters:
        if len(rows) < most:
            rows.append(letter)
        else:
            more += 1
    rows.sort(key=lambda letter: (letter.partition, letter.offset))
    return rows, more


def _cells(letter: DeadLetter) -> Sequence[object]:
    return (
        f"{letter.partition}:{letter.offset}",
        letter.state,
        letter.key,
        letter.reason,
        letter.error_type,
        letter.message[:80],
        letter.attempts,
        f"{letter.source_topic} {letter.source_partition}:{letter.source_offset}",
        _time(letter.dead_at_ms),
    )


def _time(at_ms: int | None) -> str:
    return "-" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(" ", "seconds")


def show(
    target: Target,
    processor: ProcessorName,
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="As `dlq list` shows it.")],
    bootstrap_servers: Brokers = None,
    json: Json = False,
) -> None:
    """One dead letter, whole: value, headers, error and stack."""
    from streamq.model.clock import SystemClock
    from streamq.model.errors import ConfigError
    from streamq.ops import dead_letters

    match = _PLACE.fullmatch(place)
    if match is None:
        raise ConfigError(f"place is {place!r}: use PARTITION:OFFSET as `streamq dlq list` shows it, for instance 0:17")
    with output.opened(target, bootstrap_servers) as found:
        one = output.processor_of(found.app, processor)
        whole = dead_letters.whole(found.admin, found.reader, one, SystemClock(), int(match[1]), int(match[2]))
    if json:
        output.print_json(whole)
    else:
        typer.echo(_text(whole))


def _text(whole: Whole) -> str:
    import msgspec

    letter = whole.letter
    value = whole.value if isinstance(whole.value, str) else msgspec.json.encode(whole.value).decode()
    lines = [
        f"place      {letter.partition}:{letter.offset}",
        f"state      {letter.state}",
        f"source     {letter.source_topic} {letter.source_partition}:{letter.source_offset}",
        f"key        {output.cell(letter.key)}",
        f"reason     {letter.reason}, after {output.cell(letter.attempts)} attempts, at {_time(letter.dead_at_ms)}",
        f"error      {letter.error_type}: {letter.message}",
        f"value      {'none: a tombstone' if whole.value is None else value}",
        "headers",
        *(f"  {name} = {text}" for name, text in whole.headers.items() if not name.startswith("streamq.error.")),
    ]
    return output.printable("\n".join([*lines, "stack", whole.stack.rstrip()] if whole.stack else lines))
