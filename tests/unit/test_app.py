"""The app: its arguments, its brokers, and that nothing is connected before it is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import cast

import pytest

import streamq as sq
from streamq.model.ports import Clients


def test_its_name_is_checked() -> None:
    for name in ("", "a.b", "a b", "shop!"):
        with pytest.raises(sq.ConfigError, match=r"app name .* is not usable: use letters, digits, '_' and '-'"):
            sq.App(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bootstrap_servers": ""}, "bootstrap_servers is '': '' is no broker: use host:port, several with commas"),
        ({"bootstrap_servers": []}, "bootstrap_servers is []"),
        ({"bootstrap_servers": "kafka:port"}, "'kafka:port' is no broker"),
        ({"bootstrap_servers": "kafka:99999"}, "'kafka:99999' is no broker"),
        ({"bootstrap_servers": "a:1,,b:2"}, "'' is no broker"),
        ({"bootstrap_servers": "http://kafka:1/x"}, "is no broker"),
        ({"group_protocol": "eager"}, "group_protocol is 'eager': use 'classic' or 'consumer' (KIP-848)"),
        ({"publish_timeout_s": -1}, "publish_timeout_s is -1: use seconds, a number of at least 0"),
        ({"publish_timeout_s": "30"}, "publish_timeout_s is '30'"),
    ],
)
def test_an_argument_that_cannot_work_is_refused(arguments: dict[str, object], message: str) -> None:
    make = cast("Callable[..., sq.App]", sq.App)
    with pytest.raises(sq.ConfigError) as error:
        make("shop", **arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("kafka:9092", "kafka:9092"),
        ("kafka", "kafka"),
        ("a:1, b:2", "a:1,b:2"),
        (["a:1", "b:2"], "a:1,b:2"),
        ("SASL_SSL://a.example.org:9093", "SASL_SSL://a.example.org:9093"),
        ("[::1]:9092", "[::1]:9092"),
    ],
)
def test_brokers_may_be_given_in_several_ways(given: str | list[str], expected: str) -> None:
    assert sq.App("shop", bootstrap_servers=given).bootstrap_servers == expected


def test_brokers_come_from_the_argument_else_the_environment_else_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    app = sq.App("shop")
    monkeypatch.delenv("STREAMQ_BOOTSTRAP_SERVERS", raising=False)
    assert app.bootstrap_servers == "localhost:9092"
    monkeypatch.setenv("STREAMQ_BOOTSTRAP_SERVERS", "kafka-1:9092,kafka-2:9092")
    assert app.bootstrap_servers == "kafka-1:9092,kafka-2:9092"
    assert sq.App("shop", bootstrap_servers="other:1").bootstrap_servers == "other:1"
    monkeypatch.setenv("STREAMQ_BOOTSTRAP_SERVERS", "kafka:x")
    with pytest.raises(sq.ConfigError, match=r"environment variable STREAMQ_BOOTSTRAP_SERVERS is 'kafka:x'"):
        assert app.bootstrap_servers


def test_connect_overrides_the_brokers_and_none_changes_nothing() -> None:
    app = sq.App("shop", bootstrap_servers="a:1")
    app.connect(bootstrap_servers=None)
    assert app.bootstrap_servers == "a:1"
    app.connect(bootstrap_servers="b:2")
    assert app.bootstrap_servers == "b:2"
    with pytest.raises(sq.ConfigError, match="bootstrap_servers is 'c:x'"):
        app.connect(bootstrap_servers="c:x")


def test_clients_can_be_replaced_and_given_back() -> None:
    first, second = cast("Clients", object()), cast("Clients", object())
    app = sq.App("shop", clients=first)
    assert app.clients is first
    app.use(second)
    assert app.clients is second


def test_connecting_elsewhere_leaves_clients_that_were_given() -> None:
    app = sq.App("shop", clients=cast("Clients", object()), bootstrap_servers="a:1")
    app.connect(bootstrap_servers="b:2")
    assert app.clients.description == "b:2"


def test_its_declarations_cannot_be_changed_from_outside() -> None:
    app = sq.App("shop")
    topics = cast("dict[str, object]", app.topics)
    with pytest.raises(TypeError):
        topics["orders"] = 5


def test_importing_and_declaring_loads_no_kafka_client_and_no_command_line() -> None:
    program = (
        "import sys, streamq as sq\n"
        "app = sq.App('shop')\n"
        "def charge(order: dict, ctx: sq.Context) -> None: ...\n"
        "app.processor(app.topic('orders', value=dict))(charge)\n"
        "heavy = {'typer', 'rich', 'fastavro', 'pydantic', 'confluent_kafka', 'prometheus_client', 'streamq.testing'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
