"""E-mails: all arrive once through real SMTP, in the recipient's order; a refused address is a dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import streamq as sq
from tests.topologies.kafka_runs import connected, reasons, wait_until_settled, worker
from topologies.emails import app, emails, pipeline
from topologies.emails.records import Email
from topologies.emails.server import Mailroom, serving

RECIPIENTS = ["ada@example.org", "ben@example.org", "eve@greylist.example"]


def make_emails(each: int) -> list[Email]:
    """E-mails to all recipients in turns, and one to an address that nobody has."""
    mails = [Email(to, f"Part {number}", "Hello") for number in range(each) for to in RECIPIENTS]
    return [*mails, Email("nobody@refused.example", "Hello?", "Hello")]


@pytest.fixture
def mailroom(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailroom]:
    """A server on this machine, set as the topology's."""
    room = Mailroom()
    with serving(room) as server:
        monkeypatch.setenv(pipeline.SERVER, f"{server.host}:{server.port}")
        yield room


def check_inboxes(mailroom: Mailroom, each: int) -> None:
    """Every recipient has every part, in order."""
    for recipient in RECIPIENTS:
        subjects = [message["Subject"] for message in mailroom.inbox(recipient)]
        assert subjects == [f"Part {number}" for number in range(each)]


def test_on_the_harness(mailroom: Mailroom) -> None:
    with sq.testing.harness(app) as h:
        for mail in make_emails(5):
            h.publish(emails, mail, key=mail.to)
        h.run_until_idle()
        (letter,) = h.dead_letters("send")
    assert letter.reason == "rejected"
    assert letter.key == "nobody@refused.example"
    assert letter.error_message == "550 5.1.1 no such user here"
    check_inboxes(mailroom, 5)


def test_a_server_that_stays_away_uses_up_the_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Mailroom()) as gone:
        pass
    monkeypatch.setenv(pipeline.SERVER, f"{gone.host}:{gone.port}")
    with sq.testing.harness(app) as h:
        h.publish(emails, Email("ada@example.org", "Hello", "Hello"), key="ada@example.org")
        h.run_until_idle()
        (letter,) = h.dead_letters("send")
    assert (letter.reason, letter.attempts, letter.error_type) == ("attempts", 6, "ConnectionRefusedError")


@pytest.mark.parametrize("value", ["localhost", ":25", "localhost:smtp"])
def test_a_server_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(pipeline.SERVER, value)
    with pytest.raises(sq.ConfigError, match=f"SMTP_SERVER is '{value}': use host:port"):
        pipeline.smtp_server()


@pytest.mark.kafka
def test_on_kafka(kafka_bootstrap: str, mailroom: Mailroom, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with connected(app, kafka_bootstrap):
        for publication in [app.publish(emails, mail, key=mail.to) for mail in make_emails(20)]:
            publication.result(30)
        with worker("topologies.emails:app", kafka_bootstrap, log) as process:
            wait_until_settled(app, ["send"], process, log)
        assert reasons(app, "send") == {"rejected": 1}
    check_inboxes(mailroom, 20)
