"""Over real SMTP: what a server takes arrives, and its refusals are sorted into never and later."""

from __future__ import annotations

import pytest

from topologies.emails.records import Email
from topologies.emails.server import Mailroom, serving
from topologies.emails.smtp import NotNowError, RefusedError, Server, compose, deliver


def mail(to: str, subject: str = "Your order") -> Email:
    """A short e-mail."""
    return Email(to=to, subject=subject, text="It is on its way.\n.\nNot the end: ä\n")


def test_an_email_arrives_whole() -> None:
    mailroom = Mailroom()
    with serving(mailroom) as server:
        deliver(compose(mail("ada@example.org"), "<emails.0.7@streamq.example>"), server)
    (message,) = mailroom.inbox("ada@example.org")
    assert message["Subject"] == "Your order"
    assert message["Message-ID"] == "<emails.0.7@streamq.example>"
    assert message.get_content().replace("\r\n", "\n") == mail("ada@example.org").text


def test_a_refused_address_is_refused_for_good() -> None:
    with serving(Mailroom()) as server, pytest.raises(RefusedError, match=r"550 5\.1\.1 no such user here"):
        deliver(compose(mail("nobody@refused.example"), "<1@streamq.example>"), server)


def test_a_greylisted_address_passes_later() -> None:
    mailroom = Mailroom()
    with serving(mailroom) as server:
        message = compose(mail("eve@greylist.example"), "<1@streamq.example>")
        with pytest.raises(NotNowError, match="451"):
            deliver(message, server)
        deliver(message, server)
    assert len(mailroom.inbox("eve@greylist.example")) == 1


def test_a_server_that_is_away_is_an_os_error() -> None:
    with serving(Mailroom()) as server:
        gone = Server(server.host, server.port)
    with pytest.raises(OSError, match="refused"):
        deliver(compose(mail("ada@example.org"), "<1@streamq.example>"), gone)


@pytest.mark.parametrize("email", [mail("ada@example.org", subject="two\nlines"), mail("nobody"), mail("")])
def test_an_email_that_cannot_be_written_is_refused(email: Email) -> None:
    with pytest.raises(RefusedError):
        compose(email, "<1@streamq.example>")
