"""One e-mail over SMTP, with the answers sorted into what may pass later and what never will (RFC 5321, 4.2.1)."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from typing import NamedTuple

from topologies.emails.records import Email

TIMEOUT_S = 10.0


class Server(NamedTuple):
    """Where to send through."""

    host: str
    port: int


class RefusedError(Exception):
    """The server answered with a code from 500 up, or the address is none: it will not take this e-mail, ever."""


class NotNowError(Exception):
    """The server answered with a code of the 400s: the same e-mail may pass later."""


def compose(email: Email, message_id: str) -> EmailMessage:
    """The e-mail as it goes over the wire. Raises `RefusedError` where a header cannot hold what it should say."""
    message = EmailMessage()
    try:
        message["From"] = email.sender
        message["To"] = email.to
        message["Subject"] = email.subject
        message["Message-ID"] = message_id
    except (ValueError, IndexError) as error:
        raise RefusedError(f"e-mail to {email.to!r} cannot be written: {error}") from error
    if not email.to.partition("@")[2]:
        raise RefusedError(f"{email.to!r} is no e-mail address")
    message.set_content(email.text)
    return message


def deliver(message: EmailMessage, server: Server) -> None:
    """Hand the e-mail over. Blocks until the server has taken it, at most some `TIMEOUT_S` a step.

    Raises:
        RefusedError: never again.
        NotNowError: later.
        OSError: the server cannot be reached, or hung up.
    """
    try:
        with smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S) as session:
            session.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        (code, reason), *_ = error.recipients.values()
        raise _sorted(code, reason) from error
    except smtplib.SMTPNotSupportedError as error:
        raise RefusedError(f"the server cannot take this e-mail: {error}") from error
    except smtplib.SMTPResponseException as error:
        raise _sorted(error.smtp_code, error.smtp_error) from error


def _sorted(code: int, reason: bytes | str) -> RefusedError | NotNowError:
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
    return RefusedError(f"{code} {text}") if code >= 500 else NotNowError(f"{code} {text}")
