"""The demo's own Kafka: a real one, on a free port, gone at the end."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from streamq.kafka.probe import ping
from streamq.local.broker import LocalBroker
from streamq.model.clock import SystemClock

PROBE_S = 1.0


def start_kafka(stack: ExitStack, data_dir: Path, console: Console) -> LocalBroker:
    """Start a broker, with a progress bar where its files have to be downloaded first; the stack stops it. Blocks for
    some seconds.

    Raises:
        StreamqError: as `LocalBroker.start`.
    """
    clock = SystemClock()
    begun = clock.monotonic()
    broker = LocalBroker(data_dir, port=0, probe=partial(ping, timeout_s=PROBE_S))
    stack.callback(broker.stop)
    with Progress(
        TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    ) as progress:
        task = progress.add_task("Kafka's files", total=None, visible=False)

        def downloaded(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        broker.start(downloaded)
    console.print(f"  Apache Kafka at {broker.bootstrap_servers} after {clock.monotonic() - begun:.1f} s")
    return broker
