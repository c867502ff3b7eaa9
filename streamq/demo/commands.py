"""Runs `streamq …` as child processes: what the demo shows is what a user would type."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from streamq.model.errors import StreamqError

APP: Final = "topologies.flights:app"
COMMAND_TIMEOUT_S: Final = 60.0
# Becomes the command after asking the kernel (PR_SET_PDEATHSIG, 1) for a SIGTERM when its parent is gone, however that
# ended.
_DIE_WITH_PARENT: Final = """
import ctypes, os, sys
getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(1, 15)
os.execv(sys.argv[1], sys.argv[1:])
"""


class DemoError(StreamqError):
    """A step of the demo did not do what it should."""


class Commands:
    """The command line, as it is for one broker and one folder."""

    def __init__(self, console: Console, bootstrap_servers: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._console = console
        self._folder = folder
        self._environment = {
            **os.environ,
            "STREAMQ_BOOTSTRAP_SERVERS": bootstrap_servers,
            # The children find the streamq and the topologies of this process, whatever their current folder holds.
            "PYTHONPATH": os.pathsep.join(filter(None, (_home(), os.environ.get("PYTHONPATH")))),
            "COLUMNS": str(console.width),
            **environment,
        }

    def show(self, *arguments: str, **environment: str) -> None:
        """Print the command line and run it; its output goes where ours goes. Blocks.

        Raises:
            DemoError: it failed.
        """
        self._console.print(f"[bold cyan]$ {shlex.join(('streamq', *arguments))}[/]", highlight=False)
        self._run(arguments, environment, capture=False)

    def ask(self, *arguments: str) -> bytes:
        """Run a command quietly and return what it printed. Blocks.

        Raises:
            DemoError: it failed.
        """
        return self._run(arguments, {}, capture=True)

    def ask_module(self, module: str, *arguments: str, codes: Sequence[int] = (0,)) -> bytes:
        """Run `python -m <module>` quietly and return what it printed. Blocks.

        Raises:
            DemoError: it ended with another code than these.
        """
        return self._run_line([sys.executable, "-m", module, *arguments], {}, capture=True, codes=codes)

    def start(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command that goes on, its output in a file, until it is stopped or this process is gone. Print the
        command line."""
        self._console.print(f"[bold cyan]$ {shlex.join(('streamq', *arguments))} &[/]", highlight=False)
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-c", _DIE_WITH_PARENT, *_line(arguments)], cwd=self._folder, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def _run(self, arguments: Sequence[str], environment: Mapping[str, str], *, capture: bool) -> bytes:
        return self._run_line(_line(arguments), environment, capture=capture)

    def _run_line(
        self, line: Sequence[str], environment: Mapping[str, str], *, capture: bool, codes: Sequence[int] = (0,)
    ) -> bytes:
        shown = shlex.join(line[2:])
        try:
            done = subprocess.run(
                line, cwd=self._folder, env={**self._environment, **environment}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else None, stderr=subprocess.PIPE if capture else None,
                timeout=COMMAND_TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"`{shown}` did not end within {COMMAND_TIMEOUT_S:g} s") from error
        if done.returncode not in codes:
            said = f": {done.stderr.decode(errors='replace').strip()}" if done.stderr else ""
            raise DemoError(f"`{shown}` ended with code {done.returncode}{said}")
        return done.stdout or b""


def stop(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """Ask a process to end (SIGTERM), kill it when it does not in time, and return its exit code. Blocks."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _line(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "streamq", *arguments]


def _home() -> str:
    return str(Path(__file__).resolve().parents[2])
