"""Wrong usage: the message names the field, its value and what to do; the exit code is 2, and no traceback is shown."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from streamq.cli.main import main
from streamq.model.errors import ConfigError
from streamq.model.records import TopicPartition

from .conftest import Call, Shop

REPLAY = ("replay", "shop:app", "charge")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("publish", "shop:app", "typo", "--value", "{}"), "topic 'typo' is not one of app 'shop': it declares orders"),
        (("publish", "shop:app", "orders"), "use either --value for one record or --file for many"),
        (("publish", "shop:app", "orders", "--value", "{}", "--file", "-"), "use either --value for one record"),
        (
            ("publish", "shop:app", "orders", "--file", "/nowhere.jsonl"),
            "--file /nowhere.jsonl cannot be read: No such",
        ),
        (("publish", "shop:app", "orders", "--file", "/"), "--file / cannot be read: Is a directory"),
        (("publish", "shop:app", "orders", "--value", "{}", "--header", "x"), "--header is 'x': use NAME=VALUE"),
        (("publish", "shop:app", "orders", "--value", "{}", "--header", "=x"), "--header is '=x': use NAME=VALUE"),
        (("publish", "shop:app", "counts", "--value", "x", "--key", "five"), "key is 'five': topic counts has whole"),
        (("lag", "nowhere:app"), "module 'nowhere' was not found"),
        (("lag", "shop:nothing"), "has no 'nothing': use `shop:app`"),
        (("lag", "shop:app", "--processor", "nobody"), "processor 'nobody' is not one of app 'shop': it has 'charge'"),
        (("workers", "shop:app", "--processor", "nobody"), "processor 'nobody' is not one of app 'shop'"),
        (("dlq", "list", "shop:app", "nobody"), "processor 'nobody' is not one of app 'shop'"),
        (("dlq", "show", "shop:app", "charge", "here"), "place is 'here': use PARTITION:OFFSET as `streamq dlq list`"),
        (
            ("dlq", "show", "shop:app", "charge", "0:0"),
            "no dead letter stands at 0:0 of shop.charge.dlq: there are none",
        ),
        (("replay", "shop:app", "nobody", "--key", "k"), "processor 'nobody' is not one of app 'shop'"),
        (REPLAY, "say what to replay: --from and --to, --from-offset and --to-offset, or --key"),
        (
            (*REPLAY, "--from", "2026-11-20T08:00"),
            "add one, for instance 2026-11-20T08:00Z for UTC or 2026-11-20T08:00+",
        ),
        ((*REPLAY, "--to", "2026-11-20T08:00"), "--to is '2026-11-20T08:00', a time without a zone"),
        ((*REPLAY, "--from", "yesterday"), "--from is 'yesterday': use ISO 8601 with a zone, for instance 2026-11-20T"),
        ((*REPLAY, "--from", "2026-11-21T08:00Z", "--to", "2026-11-20T08:00Z"), "is not before --to 2026-11-20T08:00"),
        (
            (*REPLAY, "--from", "2999-01-01T00:00Z"),
            "the range holds no record of topic orders: retained are offsets 0:0",
        ),
        ((*REPLAY, "--from", "2026-11-21T08:00Z", "--from-offset", "0:1"), "use either --from or --from-offset"),
        ((*REPLAY, "--to", "2026-11-21T08:00Z", "--to-offset", "0:1"), "use either --to or --to-offset"),
        ((*REPLAY, "--from-offset", "0:9", "--to-offset", "0:3"), "--from-offset 0:9 is not below --to-offset 0:3"),
        ((*REPLAY, "--from-offset", "7:0"), "--from-offset names partition 7: the topic has 0 to 1"),
        ((*REPLAY, "--from-offset", "zero"), "--from-offset is 'zero': use PARTITION:OFFSET, for instance 0:1200"),
        ((*REPLAY, "--from-offset", "0:-1"), "--from-offset is '0:-1': use PARTITION:OFFSET"),
        ((*REPLAY, "--key", "k", "--name", "a b"), "--name is 'a b': use 1 to 60 letters"),
        ((*REPLAY, "--from-offset", "0:0", "--concurrency", "-1"), "concurrency is -1"),
    ],
)
def test_the_message_names_field_value_and_remedy(
    shop: Shop, call: Call, arguments: tuple[str, ...], message: str
) -> None:
    shop.cluster.create_topic("orders", 2)
    shop.cluster.append(TopicPartition("orders", 0), b'{"amount": 1}')
    answer = call(*arguments)
    assert answer.code == 2, answer
    assert answer.err.startswith("error: ")
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert shop.done == [], "nothing was run"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("lag",), "Missing argument 'APP'"),
        (("lag", "shop:app", "--interval", "0"), "Invalid value for '--interval'"),
        (("dlq", "list", "shop:app", "charge", "--reason", "typo"), "'typo' is not one of 'rejected', 'attempts'"),
        (("dlq", "list", "shop:app", "charge", "--limit", "0"), "Invalid value for '--limit'"),
        (("publish", "shop:app", "orders", "--value", "{}", "--partition", "-1"), "Invalid value for '--partition'"),
    ],
)
def test_options_that_cannot_be_are_refused(shop: Shop, call: Call, arguments: tuple[str, ...], message: str) -> None:
    answer = call(*arguments)
    assert answer.code == 2
    assert message in " ".join(answer.err.replace("│", " ").split())


@pytest.mark.parametrize("arguments", [("lag", "shop:app"), (*REPLAY, "--key", "k")])
def test_a_missing_topic_says_how_to_create_it(shop: Shop, call: Call, arguments: tuple[str, ...]) -> None:
    answer = call(*arguments)
    assert answer.code == 2
    assert "topic orders does not exist: create it with `streamq topics create`" in answer.err


def test_brokers_that_are_away_fail_the_operation(shop: Shop, call: Call) -> None:
    shop.cluster.away()
    answer = call("lag", "shop:app")
    assert answer.code == 1
    assert answer.err.startswith("error: ")
    shop.cluster.back()


def test_debug_shows_where_an_error_comes_from(shop: Shop, call: Call) -> None:
    with pytest.raises(ConfigError, match="is not one of app"):
        main(("--debug", "lag", "shop:app", "--processor", "nobody"))


def test_a_module_without_an_app_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("empty")
    module.__dict__["app"] = "text"
    monkeypatch.setitem(sys.modules, "empty", module)
    answer = call("topics", "list", "empty:app")
    assert answer.code == 2
    assert "has 'app', but that is a str, no App" in answer.err


def test_help_is_there_for_every_command(call: Call) -> None:
    text = call("--help")
    assert text.code == 0
    for command in ("broker", "worker", "publish", "topics", "lag", "replay", "dlq", "workers", "demo"):
        assert command in text.out
        assert call(command, "--help").code == 0
    assert call("--version").out.startswith("streamq ")
