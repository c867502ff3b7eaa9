"""`streamq dlq redrive`, `purge` and `release`: what an operator asks the owners of the partitions for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from streamq.cli import output
from streamq.cli.output import Brokers, Json, Opened, Target
from streamq.model.outcomes import DeadReason

if TYPE_CHECKING:
    from streamq.model.ports import ProducerPort
    from streamq.ops.letter_selection import Asked, Choice, Place, Selection
    from streamq.ops.requests import Following, RequestDesk
    from streamq.tasks.processor import Processor

ProcessorName = Annotated[str, typer.Argument(metavar="PROCESSOR", help="Name of the processor.")]
Where = Annotated[str | None, typer.Option(help="Only those that fit, as with `dlq list`: 'value.amount > 100'.")]
Key = Annotated[str | None, typer.Option(help="Only this key.")]
Reason = Annotated[DeadReason | None, typer.Option(help="Only those given up for this reason.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many, the oldest of each partition first.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be asked for, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether to go on.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Ask, and do not wait until it is done.")]
Rate = Annotated[str | None, typer.Option(help="At most so many letters in a time: 100/s, 600/m. [default: no limit]")]

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/([smh]))?")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, None: 1}
SHOWN = 20


def register(group: typer.Typer) -> None:
    """Add the commands to `streamq dlq`."""
    group.command("redrive")(redrive)
    group.command("release")(release)
    group.command("purge")(purge)


class Asking(NamedTuple):
    """One run of a command."""

    found: Opened
    processor: Processor
    producer: ProducerPort
    verb: str
    json: bool
    no_wait: bool

    def say(self, text: str) -> None:
        """For people: beside a JSON document, not in it."""
        typer.echo(text, err=self.json)


def redrive(
    target: Target,
    processor: ProcessorName,
    where: Where = None,
    key: Key = None,
    reason: Reason = None,
    limit: Limit = None,
    rate: Rate = None,
    edit: Annotated[bool, typer.Option("--edit", help="Open each value in $EDITOR first.")] = False,
    to: Annotated[str | None, typer.Option(metavar="TOPIC", help="Publish them there instead, and close them.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_wait: NoWait = False,
    bootstrap_servers: Brokers = None,
    json: Json = False,
) -> None:
    """Put dead letters back: they are attempted anew, in the order of their keys, by this processor alone.

    The workers carry it out, each letter once, however often this is interrupted and run again. While a key's letters
    are moved nothing of it runs. Where dead letters stop or chain their key, a key's letters go together, and the key
    goes on behind them.
    """
    per_s = _per_second(rate)
    with _asking(target, processor, bootstrap_servers, "redriven", json=json, no_wait=no_wait) as asking:
        together = to is None and asking.processor.config.on_dead != "skip"
        selection = _select(asking, _choice(asking.processor, where, key, reason, limit, together=together))
        _say_what(asking, selection, to)
        if dry_run or not selection.letters:
            _print_plan(asking, selection)
            return
        edits = _edits(asking, selection) if edit else {}
        _confirm(f"{'publish' if to else 'redrive'} {len(selection.letters):,} dead letters?", yes=yes)
        if to is None:
            _redrive(asking, selection, edits, per_s)
        else:
            _publish(asking, selection, edits, to, per_s)


def purge(
    target: Target,
    processor: ProcessorName,
    where: Where = None,
    key: Key = None,
    reason: Reason = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_wait: NoWait = False,
    bootstrap_servers: Brokers = None,
    json: Json = False,
) -> None:
    """Close dead letters for good: they are not open any more, and no redrive takes them.

    What stands in Kafka stays there: `dlq list --state purged` still shows them. A key that is chained or held stays
    so: `dlq release` lets it go on.
    """
    with _asking(target, processor, bootstrap_servers, "purged", json=json, no_wait=no_wait) as asking:
        selection = _select(asking, _choice(asking.processor, where, key, reason, limit, together=False))
        if dry_run or not selection.letters:
            _print_plan(asking, selection)
            return
        _confirm(f"purge {len(selection.letters):,} dead letters for good?", yes=yes)
        _purge(asking, selection)


def release(
    target: Target,
    processor: ProcessorName,
    key: Annotated[str, typer.Option(help="The key that stands still.")],
    skip_head: Annotated[
        bool, typer.Option("--skip-head", help="Go on without the letter that stopped it: that stays a dead letter.")
    ] = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    bootstrap_servers: Brokers = None,
    json: Json = False,
) -> None:
    """Let a key go on that a dead letter holds (`on_dead="hold"`).

    The letter that stopped it goes back and is attempted first, for instance after a fix; what has been waiting behind
    it follows in order.
    """
    from streamq.ops import publishing
    from streamq.ops.key_release import releases
    from streamq.ops.letter_selection import Choice

    with _asking(target, processor, bootstrap_servers, "redriven", json=json, no_wait=no_wait) as asking:
        wanted = publishing.key_bytes(asking.processor.topic, key) or b""
        desk, selection = _desk(asking), _select(asking, Choice(key=key))
        following = desk.begin(selection)
        asked = releases(desk.view, selection, wanted, key, skip_head=skip_head)
        following.selection = selection.only({place for one in asked for place in one.places})
        following.asked.clear()
        if dry_run:
            _print_plan(asking, following.selection)
            return
        desk.send(following, asked)
        _follow(asking, desk, following)
        _print_released(asking, key, len(asked), done=not desk.open(following))


# Choosing


@contextmanager
def _asking(
    target: str, processor: str, bootstrap_servers: str | None, verb: str, *, json: bool, no_wait: bool
) -> Iterator[Asking]:
    with output.opened(target, bootstrap_servers) as found:
        producer = found.app.clients.producer()
        try:
            yield Asking(found, output.processor_of(found.app, processor), producer, verb, json, no_wait)
        finally:
            producer.close(5.0)


def _choice(
    processor: Processor,
    where: str | None,
    key: str | None,
    reason: DeadReason | None,
    limit: int | None,
    *,
    together: bool,
) -> Choice:
    from streamq.ops.letter_selection import Choice
    from streamq.ops.where import filter_of

    return Choice(key, reason, None if where is None else filter_of(where, processor.topic), limit, together)


def _select(asking: Asking, choice: Choice) -> Selection:
    from streamq.model.clock import SystemClock
    from streamq.ops import dead_letters
    from streamq.ops.letter_selection import select

    found, processor = asking.found, asking.processor
    total = 2 * dead_letters.count(found.admin, processor)
    with output.progress_bar("reading dead letters", total) as advance:
        return select(found.admin, found.reader, processor, SystemClock(), choice, advance)


def _say_what(asking: Asking, selection: Selection, to: str | None) -> None:
    if selection.joined:
        asking.say(f"{selection.joined:,} more letters of the same keys go with them, so that the keys stay in order")
    if selection.foreign:
        asking.say(f"{selection.foreign:,} letters were given up by another group (a replay): they are left out")
    keyed = sum(key is not None for key in selection.letters.values())
    if to is None and asking.processor.config.on_dead == "skip" and keyed:
        asking.say(f'on_dead is "skip": later records of their keys went on before these {keyed:,} letters')


def _print_plan(asking: Asking, selection: Selection) -> None:
    by_partition: dict[int, tuple[int, set[bytes | None]]] = {}
    for place, key in selection.letters.items():
        count, keys = by_partition.get(place.partition, (0, set()))
        by_partition[place.partition] = count + 1, keys | {key}
    if asking.json:
        rows = [{"partition": at, "letters": count} for at, (count, _) in sorted(by_partition.items())]
        output.print_json({"selected": len(selection.letters), "partitions": rows})
        return
    if not selection.letters:
        typer.echo("no open dead letter fits")
        return
    cells = [(at, count, len(keys - {None})) for at, (count, keys) in sorted(by_partition.items())]
    output.print_table(f"open dead letters of {asking.processor.group}", ("partition", "letters", "keys"), cells)
    typer.echo(f"{len(selection.letters):,} letters would be {asking.verb}; nothing was done")


def _confirm(question: str, *, yes: bool) -> None:
    import sys

    from streamq.model.errors import ConfigError

    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} There is nobody to ask here: say --yes, or --dry-run")
    typer.confirm(question, abort=True, err=True)


def _edits(asking: Asking, selection: Selection) -> dict[Place, bytes | None]:
    from streamq.cli.editing import edited
    from streamq.model.clock import SystemClock
    from streamq.ops.letter_publishing import batches

    letters = [
        letter for batch in batches(asking.found.reader, asking.processor, SystemClock(), selection) for letter in batch
    ]
    return edited(asking.processor.topic, iter(letters))


def _per_second(rate: str | None) -> float | None:
    from streamq.model.errors import ConfigError

    if rate is None:
        return None
    match = _RATE.fullmatch(rate)
    per_s = 0.0 if match is None else float(match[1]) / _SECONDS[match[2]]
    if per_s <= 0:
        raise ConfigError(f"--rate is {rate!r}: use a number above 0 and a time, for instance 100/s or 600/m")
    return per_s


# Asking


def _desk(asking: Asking) -> RequestDesk:
    from streamq.model.clock import SystemClock
    from streamq.ops.requests import RequestDesk

    found = asking.found
    return RequestDesk(found.admin, found.reader, asking.producer, asking.processor, SystemClock())


def _redrive(asking: Asking, selection: Selection, edits: Mapping[Place, bytes | None], rate: float | None) -> None:
    from streamq.ops.letter_selection import redrives

    desk = _desk(asking)
    following = desk.begin(selection)
    follow = asking.processor.config.on_dead == "chain"
    _say_covered(asking, following)
    with _interruptible(asking):
        left = selection.without(following.covered)
        with output.progress_bar("asking", len(left.letters)) as advance:
            desk.send(following, redrives(left, edits, follow=follow), rate=rate, progress=advance)
        _follow(asking, desk, following)
    _print_outcome(asking, desk, following)


def _purge(asking: Asking, selection: Selection) -> None:
    from streamq.model.clock import SystemClock
    from streamq.ops.letter_publishing import close_plainly
    from streamq.ops.letter_selection import purges

    if not asking.processor.has_journal:
        for one in purges(selection):
            close_plainly(asking.producer, asking.processor, SystemClock(), one)
        _print_figures(asking, len(selection.letters), done=len(selection.letters))
        return
    desk = _desk(asking)
    following = desk.begin(selection)
    _say_covered(asking, following)
    with _interruptible(asking):
        desk.send(following, purges(selection.without(following.covered)))
        _follow(asking, desk, following)
    _print_outcome(asking, desk, following)


def _publish(
    asking: Asking, selection: Selection, edits: Mapping[Place, bytes | None], topic: str, rate: float | None
) -> None:
    from streamq.model.clock import SystemClock
    from streamq.ops.letter_publishing import check_target, close_plainly, publish

    found, processor, producer, clock = asking.found, asking.processor, asking.producer, SystemClock()
    check_target(found.admin, processor, topic)

    def run(left: Selection, close: Callable[[Asked], None]) -> None:
        publish(found.reader, producer, processor, clock, left, topic, edits=edits, rate=rate, close=close)

    if not processor.has_journal:
        run(selection, lambda one: close_plainly(producer, processor, clock, one))
        _print_figures(asking, len(selection.letters), done=len(selection.letters))
        return
    desk = _desk(asking)
    following = desk.begin(selection)
    _say_covered(asking, following)
    with _interruptible(asking):
        run(selection.without(following.covered), lambda one: desk.send(following, [one]))
        _follow(asking, desk, following)
    _print_outcome(asking, desk, following)


def _say_covered(asking: Asking, following: Following) -> None:
    if following.covered:
        asking.say(f"{len(following.covered):,} of them are asked for already: they are not asked for again")


@contextmanager
def _interruptible(asking: Asking) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(
            "interrupted: what was asked for is carried out all the same; the same command asks for the rest", err=True
        )
        raise


def _follow(asking: Asking, desk: RequestDesk, following: Following) -> None:
    if not desk.workers():
        typer.echo(
            f"no worker of {asking.processor.group} runs: what is asked for stays in {asking.processor.retry_topic} "
            "and is carried out when one comes",
            err=True,
        )
    if asking.no_wait:
        return
    with output.progress_bar(asking.verb, len(following.selection.letters)) as advance:
        desk.wait(following, advance)


# What came of it


def _print_outcome(asking: Asking, desk: RequestDesk, following: Following) -> None:
    if asking.no_wait:
        desk.view.look()
    outcome = desk.outcome(following)
    failed = desk.failed(following)
    _print_figures(
        asking, outcome.selected, done=outcome.done, already=outcome.already, waiting=outcome.waiting, failed=failed
    )


def _print_figures(
    asking: Asking, selected: int, *, done: int, already: int = 0, waiting: int = 0, failed: Sequence[Place] = ()
) -> None:
    places = [f"{place.partition}:{place.offset}" for place in failed]
    if asking.json:
        figures = {"selected": selected, asking.verb: done, "already": already, "waiting": waiting}
        output.print_json({**figures, "failed": len(places), "failed_places": places})
    else:
        parts = [f"{done:,} {asking.verb}", f"{already:,} closed by somebody else", f"{len(places):,} failed"]
        if waiting:
            parts.append(f"{waiting:,} asked for and not done yet")
        typer.echo(f"{selected:,} dead letters: {', '.join(parts)}")
        if places:
            more = "" if len(places) <= SHOWN else ", …"
            typer.echo(f"still open, see the workers' logs: {', '.join(places[:SHOWN])}{more}", err=True)
    if failed:
        raise typer.Exit(1)


def _print_released(asking: Asking, key: str, partitions: int, *, done: bool) -> None:
    if asking.json:
        output.print_json({"key": key, "partitions": partitions, "released": done})
    else:
        typer.echo(f"key {key!r} {'goes on' if done else 'goes on as soon as a worker has carried it out'}")
