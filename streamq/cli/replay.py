"""`streamq replay`: a processor over a part of its topic again."""

from __future__ import annotations

import re
import shlex
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streamq.cli import output
from streamq.cli.output import Brokers, Json, Opened, Target

if TYPE_CHECKING:
    from streamq.ops.replay import Plan
    from streamq.ops.replay_record import Limit
    from streamq.runtime.owner import Owner
    from streamq.tasks.processor import Processor

_PLACE = re.compile(r"(\d+):(\d+)")
LOOK_S = 0.2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    target: Target,
    processor: Annotated[str, typer.Argument(metavar="PROCESSOR", help="Name of the processor.")],
    since: Annotated[
        str | None, typer.Option("--from", help="Records from this time on (ISO 8601 with a zone).")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Records before this time. [default: the end now]")] = None,
    from_offset: Annotated[
        list[str] | None, typer.Option(help="PARTITION:OFFSET to begin at; may be repeated.")
    ] = None,
    to_offset: Annotated[
        list[str] | None, typer.Option(help="PARTITION:OFFSET to end before; may be repeated.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Only records with this key.")] = None,
    name: Annotated[
        str | None,
        typer.Option(help="The replay's name: under it, one that was interrupted goes on. [default: the time]"),
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Instead of what the processor declares.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed, and do nothing.")] = False,
    bootstrap_servers: Brokers = None,
    json: Json = False,
) -> None:
    """Run a processor's handler over a part of its topic again, in a group of its own.

    The live group is not touched. The ends are fixed when the replay begins. Handlers run with their effects; what
    fails is retried, and given up into the processor's dead-letter topic, marked with the replay's group. Ctrl-C lets
    running handlers end; a second one waits for none. Either way the replay goes on under its name.
    """
    from streamq.model.errors import ConfigError
    from streamq.ops import publishing
    from streamq.ops.replay import plan as make_plan

    first, last = _limit("--from", since, "--from-offset", from_offset), _limit("--to", until, "--to-offset", to_offset)
    if first is None and last is None and key is None:
        raise ConfigError(
            "say what to replay: --from and --to, --from-offset and --to-offset, or --key "
            "(all of it: --from 1970-01-01T00:00Z)"
        )
    with output.opened(target, bootstrap_servers) as found:
        one = output.processor_of(found.app, processor)
        wanted_key = publishing.key_bytes(one.topic, key)
        plan = make_plan(found.admin, one, name or _name_by_time(), since=first, until=last, key=key)
        if dry_run:
            _print_plan(plan, json)
            return
        finished, counts = _run(found, one, plan, wanted_key, concurrency, quiet=json)
    _print_result(target, plan, counts, finished=finished, json=json)
    if not finished:
        raise typer.Exit(1)


def _name_by_time() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S")


def _print_result(target: str, plan: Plan, counts: dict[str, int], *, finished: bool, json: bool) -> None:
    if json:
        output.print_json({"group": plan.group, "finished": finished, **counts})
        return
    if not plan.left_at_most:
        typer.echo(f"replay {plan.name!r} has been through this range already: another --name runs it again")
        return
    typer.echo(
        f"{counts['done']:,} records done, {counts['failed']:,} attempts failed, {counts['dead']:,} dead letters"
    )
    if not finished:
        typer.echo(f"interrupted; it goes on with: {_command(target, plan)}")


def _command(target: str, plan: Plan) -> str:
    """What resumes a replay up to the ends that were fixed when it began."""
    words = ["streamq", "replay", target, plan.processor, "--name", plan.name]
    for span in plan.spans:
        words += ["--from-offset", f"{span.partition}:{span.start}", "--to-offset", f"{span.partition}:{span.end}"]
    if plan.key is not None:
        words += ["--key", plan.key]
    return shlex.join(words)


def _limit(time_option: str, time: str | None, offset_option: str, places: list[str] | None) -> Limit:
    from streamq.model.errors import ConfigError

    if time is not None and places:
        raise ConfigError(f"use either {time_option} or {offset_option}, not both")
    if time is not None:
        return output.aware_time(time_option, time)
    if not places:
        return None
    offsets = {}
    for place in places:
        match = _PLACE.fullmatch(place)
        if match is None:
            raise ConfigError(f"{offset_option} is {place!r}: use PARTITION:OFFSET, for instance 0:1200")
        offsets[int(match[1])] = int(match[2])
    return offsets


def _print_plan(plan: Plan, json: bool) -> None:
    if json:
        output.print_json(plan)
        return
    rows = [(span.partition, span.start, span.end, span.position, span.end - span.position) for span in plan.spans]
    output.print_table(
        f"replay of {plan.topic} as {plan.group}", ("partition", "from", "to", "goes on at", "left"), rows
    )
    only = "" if plan.key is None else f", of them those with key {plan.key!r}"
    typer.echo(f"{plan.left_at_most:,} offsets to look at{only}; nothing was done")


def _run(
    found: Opened, processor: Processor, plan: Plan, key: bytes | None, concurrency: int | None, *, quiet: bool
) -> tuple[bool, dict[str, int]]:
    from dataclasses import replace

    from streamq.config import WorkerConfig
    from streamq.model.clock import SystemClock
    from streamq.ops.replay import begin
    from streamq.wiring import make_owner

    if not plan.left_at_most:
        return True, {"done": 0, "failed": 0, "dead": 0}
    begin(found.admin, processor, plan, create_topics=found.app.create_topics)
    if concurrency is not None:
        processor = replace(processor, config=replace(processor.config, concurrency=concurrency))
    producer = found.app.clients.producer()
    with ThreadPoolExecutor(1) as pool:
        owner = make_owner(
            found.app, processor, clients=found.app.clients, producer=producer, admin=found.admin,
            worker=WorkerConfig(group_protocol=found.app.group_protocol, create_topics=found.app.create_topics),
            clock=SystemClock(), prepare=pool.submit, group=plan.group, bounds=plan.bounds(key),
        )  # fmt: skip
        try:
            finished = _watch(owner, plan, quiet=quiet)
        finally:
            found.app.close()
            producer.close(5.0)
    if finished:
        _clear(found, processor, plan)
    stats = owner.stats
    return finished, {"done": stats.done, "failed": stats.failed, "dead": stats.dead.total()}


def _clear(found: Opened, processor: Processor, plan: Plan) -> None:
    """Remove what a replay needs only while it runs. It is done, whatever comes of this."""
    from streamq.model.clock import SystemClock
    from streamq.model.errors import RetriableError
    from streamq.ops.replay import end

    try:
        stays = end(found.admin, found.reader, processor, plan.group, SystemClock())
    except RetriableError as error:
        stays = f"the retry topic of {plan.group} may be there still: {error}"
    if stays is not None:
        typer.echo(stays.replace("BROKERS", found.app.bootstrap_servers), err=True)


def _watch(owner: Owner, plan: Plan, *, quiet: bool) -> bool:
    """Run the owner in a thread while this one shows how far it is. Whether it came to the end.

    Raises:
        StreamqError: what stopped it.
    """
    from streamq.model.errors import InvariantError, StreamqError

    outcome: list[bool | StreamqError] = []
    over = threading.Event()

    def work() -> None:
        try:
            owner.run()
            outcome.append(owner.completed)
        except StreamqError as error:
            outcome.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=work, name="replay", daemon=True)
    with _signals_to(owner):
        thread.start()
        if not quiet:
            typer.echo(f"replaying {plan.left_at_most:,} offsets of {plan.topic} as {plan.group}", err=True)
        with output.progress_bar("replaying", None if quiet else plan.left_at_most) as advance:
            seen = 0
            while not over.wait(LOOK_S):
                received = owner.stats.received
                advance(received - seen)
                seen = received
        thread.join()
    if not outcome:
        raise InvariantError("the replay ended by an error of streamq's own: see above")
    result = outcome[0]
    if isinstance(result, StreamqError):
        raise result
    return result


@contextmanager
def _signals_to(owner: Owner) -> Iterator[None]:
    """The first SIGINT or SIGTERM in here lets the owner drain, the second lets it wait for no handler. Main thread
    only."""
    stopping = False

    def step() -> None:
        nonlocal stopping
        if stopping:
            owner.request_abort()
        stopping = True
        owner.request_stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: step()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
