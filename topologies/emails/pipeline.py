"""The app: e-mails come in, each goes out through SMTP."""

from __future__ import annotations

import os

import streamq as sq
from topologies.emails.records import Email
from topologies.emails.smtp import RefusedError, Server, compose, deliver

SERVER = "SMTP_SERVER"
DEFAULT_SERVER = "127.0.0.1:8025"

app = sq.App("emails", version="1")
emails = app.topic("emails", value=Email, key=str, partitions=6)


@app.processor(emails, concurrency=8, timeout_s=60, retry=sq.RetryPolicy(max_attempts=6, backoff_s=0.5))
def send(email: Email, ctx: sq.Context) -> None:
    """Send one e-mail; what the server refuses for good is a dead letter, everything else is tried again.

    A record may come twice (at least once): its e-mail has the same Message-ID then, by which mailboxes drop the
    second one.
    """
    record = ctx.record
    message_id = f"<{record.topic}.{record.partition}.{record.offset}@streamq.example>"
    try:
        deliver(compose(email, message_id), smtp_server())
    except RefusedError as error:
        raise sq.Reject(str(error)) from error


def smtp_server() -> Server:
    """The server of `SMTP_SERVER` (host:port), else one on this machine."""
    value = os.environ.get(SERVER) or DEFAULT_SERVER
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit():
        raise sq.ConfigError(f"{SERVER} is {value!r}: use host:port, for instance {DEFAULT_SERVER}")
    return Server(host, int(port))
