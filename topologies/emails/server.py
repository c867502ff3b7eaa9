"""A local SMTP server for trying the topology: real SMTP, no e-mail leaves the machine.

    python -m topologies.emails.server [PORT]

Addresses at `refused.example` are refused for good, the first try of one at `greylist.example` for now; all other
e-mails are taken and kept.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.message import EmailMessage
from threading import Event, Lock, Thread
from types import SimpleNamespace

from aiosmtpd.smtp import SMTP, Envelope, Session

from topologies.emails.smtp import Server

TAKEN = "250 OK"
NO_SUCH_USER = "550 5.1.1 no such user here"
TRY_LATER = "451 4.7.1 greylisted, try again later"


class Mailroom:
    """What the server does with e-mails, and those it took: `inbox` by recipient, in the order in which they came."""

    def __init__(self, *, show: bool = False) -> None:
        self._show = show
        self._lock = Lock()
        self._greylisted: set[str] = set()
        self._inbox: dict[str, list[EmailMessage]] = {}

    def inbox(self, address: str) -> list[EmailMessage]:
        """The e-mails that came for an address. From any thread."""
        with self._lock:
            return list(self._inbox.get(address, ()))

    def count(self) -> int:
        """How many e-mails were taken. From any thread."""
        with self._lock:
            return sum(map(len, self._inbox.values()))

    def hooks(self) -> SimpleNamespace:
        """What aiosmtpd calls, by the names that it looks for."""
        return SimpleNamespace(handle_RCPT=self._recipient, handle_DATA=self._take)

    async def _recipient(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        domain = address.rpartition("@")[2]
        if domain == "refused.example":
            return NO_SUCH_USER
        if domain == "greylist.example" and address not in self._greylisted:
            self._greylisted.add(address)
            return TRY_LATER
        envelope.rcpt_tos.append(address)
        return TAKEN

    async def _take(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        message = email.message_from_bytes(content, policy=email.policy.default)
        with self._lock:
            for address in envelope.rcpt_tos:
                self._inbox.setdefault(address, []).append(message)
        if self._show:
            print(f"{', '.join(envelope.rcpt_tos)}: {message['Subject']}", flush=True)
        return TAKEN


@contextmanager
def serving(mailroom: Mailroom, port: int = 0) -> Iterator[Server]:
    """The server on a thread of its own, until the block ends. Port 0 takes a free one; what is given tells which.

    Raises:
        OSError: the port is taken.
    """
    loop = asyncio.new_event_loop()
    with closing(loop):
        hooks = mailroom.hooks()
        server = loop.run_until_complete(
            loop.create_server(lambda: SMTP(hooks, hostname="localhost", loop=loop), "127.0.0.1", port)
        )
        thread = Thread(target=loop.run_forever, name="smtp", daemon=True)
        thread.start()
        try:
            yield Server("127.0.0.1", server.sockets[0].getsockname()[1])
        finally:
            asyncio.run_coroutine_threadsafe(_close(server), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


async def _close(server: asyncio.Server) -> None:
    """Stop listening and end the sessions that are open."""
    server.close()
    sessions = asyncio.all_tasks() - {asyncio.current_task()}
    for session in sessions:
        session.cancel()
    await asyncio.gather(*sessions, return_exceptions=True)


def main() -> int:
    """Serve until Ctrl-C."""
    arguments = ArgumentParser(description="A local SMTP server; no e-mail leaves the machine.")
    arguments.add_argument("port", type=int, nargs="?", default=8025)
    port: int = arguments.parse_args().port
    try:
        with serving(Mailroom(show=True), port) as server:
            print(f"SMTP on {server.host}:{server.port}; Ctrl-C ends it", flush=True)
            Event().wait()
    except (OSError, OverflowError) as error:
        print(f"error: port {port} cannot be listened on ({error}): name another one", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
