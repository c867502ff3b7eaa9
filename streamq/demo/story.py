"""The demo from beginning to end, a function a chapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from threading import Event
from typing import Final

import msgspec
from rich.console import Console

from streamq.demo import verdict
from streamq.demo.commands import APP, Commands, DemoError, stop
from streamq.demo.folder import DemoFolder, demo_folder, logging_to
from streamq.demo.kafka import start_kafka
from streamq.demo.publishing import Published, publish_all
from streamq.demo.verdict import Verdict
from streamq.demo.working import Kill, wait_until_committed, work_through
from streamq.model.clock import SystemClock
from streamq.model.records import TopicPartition
from topologies.flights.audit import audit
from topologies.flights.check import Comparison
from topologies.flights.pipeline import DATABASE, LEDGER, app, flights
from topologies.flights.records import Flight
from topologies.flights.source import load
from topologies.flights.store import FlightStore

PROCESSOR: Final = "legs"
KILL_SHARE: Final = 0.4
"""How far the work is when a process is killed."""
STOP_S: Final = 30.0
REPLAYED: Final = "N725MQ"
"""The aircraft with the most legs."""


class DeadLetterRow(msgspec.Struct):
    """What the demo reads of a line of `dlq list --json`."""

    partition: int
    offset: int
    reason: str
    source_partition: int
    source_offset: int


def run(console: Console, wanted: Path | None, *, keep: bool) -> int:
    """Tell the whole story. Returns 0, or 1 where anything was not as promised. Blocks for about a minute.

    Raises:
        StreamqError: a step could not be done.
    """
    clock = SystemClock()
    begun = clock.monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(demo_folder(wanted))
        stack.enter_context(logging_to(folder.log))
        console.print(f"Everything is written below [bold]{folder.path}[/]", highlight=False)
        # Reading takes as long as Kafka's start: both at once.
        reading = stack.enter_context(ThreadPoolExecutor(1)).submit(load)
        commands = _start_kafka(stack, folder, console)
        published = _publish(commands, reading, console)
        kill = _work(stack, commands, folder, published, console)
        result, dead_letter = _judge(commands, folder, published, kill, console)
        _look_around(commands, dead_letter, console)
        faults = result.faults() + _replay(commands, folder, console)
        return _end(faults, clock.monotonic() - begun, commands, console, keep=keep)


def _start_kafka(stack: ExitStack, folder: DemoFolder, console: Console) -> Commands:
    _chapter(console, 1, "A real Kafka on this machine")
    broker = start_kafka(stack, folder.kafka, console)
    app.connect(bootstrap_servers=broker.bootstrap_servers)
    stack.callback(app.close)
    environment = {DATABASE: str(folder.database), LEDGER: str(folder.ledger)}
    return Commands(console, broker.bootstrap_servers, folder.path, environment)


def _publish(commands: Commands, reading: Future[list[Flight]], console: Console) -> Published:
    _chapter(console, 2, "Tasks: every flight out of New York in 2013")
    commands.show("topics", "create", APP)
    with console.status("reading the flights"):
        records = reading.result()
    _count_gaps(records, console)
    return publish_all(records, console)


def _count_gaps(records: Sequence[Flight], console: Console) -> None:
    cancelled = sum(flight.cancelled for flight in records)
    nameless = sum(flight.tailnum is None for flight in records)
    console.print(
        f"  {len(records):,} flights, {cancelled:,} never departed, {nameless:,} name no aircraft", highlight=False
    )


def _work(stack: ExitStack, commands: Commands, folder: DemoFolder, published: Published, console: Console) -> Kill:
    _chapter(console, 3, "Two worker processes; one is killed midway and comes back")
    worker = commands.start("worker", APP, "--processes", "2", "--static-members", log=folder.worker_log)
    stack.callback(stop, worker, STOP_S)
    total = len(published.places)
    kill = work_through(worker, folder.ledger, total, round(total * KILL_SHARE), console)
    partitions = [TopicPartition(flights.name, number) for number in range(flights.spec.partitions)]
    with console.status("waiting for the last commit"), closing(app.clients.admin()) as admin:
        wait_until_committed(worker, admin, app.processors[PROCESSOR].group, partitions)
    code = stop(worker, STOP_S)
    if code != 0:
        raise DemoError(f"the worker ended with code {code}; see {folder.worker_log}")
    return kill


def _judge(
    commands: Commands, folder: DemoFolder, published: Published, kill: Kill, console: Console
) -> tuple[Verdict, DeadLetterRow]:
    _chapter(console, 4, "What came of it: the ledger of effects, and pandas over the same flights")
    with (
        console.status("checking the ledger, computing the figures, reading the dead letters"),
        ThreadPoolExecutor(2) as pool,
    ):
        # Three programs on what cores there are; the ledger is read by this one.
        comparing = pool.submit(_compare, commands, folder)
        listing = pool.submit(_dead_letters, commands)
        findings = audit(folder.ledger, published.places)
        comparison, letters = comparing.result(), listing.result()
    reasons = Counter({(row.source_partition, row.source_offset): row.reason for row in letters}.values())
    result = Verdict(findings, comparison, reasons, len(letters) - reasons.total(), kill, published.seconds)
    verdict.show(result, console)
    if not letters:
        raise DemoError("there are no dead letters, although some flights name no aircraft")
    return result, letters[0]


def _compare(commands: Commands, folder: DemoFolder) -> Comparison:
    # Code 1 says that figures differ: the verdict says which.
    printed = commands.ask_module("topologies.flights.check", str(folder.database), "--json", codes=(0, 1))
    if not printed:
        raise DemoError("the figures could not be computed: try `python -m topologies.flights.check` by hand")
    return msgspec.json.decode(printed, type=Comparison)


def _dead_letters(commands: Commands) -> list[DeadLetterRow]:
    printed = commands.ask("dlq", "list", APP, PROCESSOR, "--json")
    return [msgspec.json.decode(line, type=DeadLetterRow) for line in printed.splitlines() if line.strip()]


def _look_around(commands: Commands, letter: DeadLetterRow, console: Console) -> None:
    _chapter(console, 5, "What an operator sees")
    commands.show("lag", APP)
    commands.show("dlq", "show", APP, PROCESSOR, f"{letter.partition}:{letter.offset}")


def _replay(commands: Commands, folder: DemoFolder, console: Console) -> list[str]:
    """Lose what is known of one aircraft, replay its flights, and hold the two against each other."""
    _chapter(console, 6, "A replay: the books of one aircraft are lost and made again")
    with closing(FlightStore(folder.database)) as store:
        before = store.aircraft(REPLAYED)
        console.print(f"  {REPLAYED}: {store.forget(REPLAYED):,} legs deleted", highlight=False)
        commands.show("replay", APP, PROCESSOR, "--key", REPLAYED, **{LEDGER: ""})
        after = store.aircraft(REPLAYED)
    legs = after.legs if after else 0
    console.print(f"  {REPLAYED}: {legs:,} legs, the same figures as before: {_yes(before == after)}", highlight=False)
    return [] if before == after else [f"the replay of {REPLAYED} gave {after}, not {before}"]


def _end(faults: Sequence[str], seconds: float, commands: Commands, console: Console, *, keep: bool) -> int:
    console.rule()
    for fault in faults:
        console.print(f"[bold red]not as promised:[/] {fault}", highlight=False)
    if not faults:
        console.print(f"[bold green]Nothing lost, nothing out of order.[/] {seconds:.0f} s.", highlight=False)
    console.print("Try it yourself:", highlight=False)
    for line in _suggestions(commands, keep=keep):
        console.print(f"  [cyan]{line}[/]", highlight=False)
    if keep:
        _wait_for_interrupt(commands, console)
    return 1 if faults else 0


def _suggestions(commands: Commands, *, keep: bool) -> list[str]:
    if keep:
        first = f"export STREAMQ_BOOTSTRAP_SERVERS={commands.bootstrap_servers}"
        rest = [f"streamq workers {APP}", f"streamq dlq list {APP} {PROCESSOR} --limit 10"]
    else:
        first = "streamq broker --background"
        rest = [f"streamq topics create {APP}", f"streamq worker {APP} --processes 2"]
    return [first, *rest, f"streamq lag {APP} --watch", "streamq --help"]


def _wait_for_interrupt(commands: Commands, console: Console) -> None:
    console.print(f"Kafka stays at {commands.bootstrap_servers} until Ctrl-C.", highlight=False)
    with suppress(KeyboardInterrupt):
        Event().wait()


def _chapter(console: Console, number: int, title: str) -> None:
    console.rule(f"[bold]{number}. {title}[/]", align="left")


def _yes(value: bool) -> str:
    return "[bold green]yes[/]" if value else "[bold red]no[/]"
