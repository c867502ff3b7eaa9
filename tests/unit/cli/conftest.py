"""Commands run in this process, on an app whose cluster is in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import msgspec
import pytest

import streamq as sq
from streamq.cli.main import main
from streamq.testing import MemoryCluster


class Order(msgspec.Struct):
    """What is worked on."""

    amount: float


class Answer(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Call = Callable[..., Answer]


@dataclass
class Shop:
    """The app `shop:app`: a topic `orders` of two partitions, its processor `charge`, and what that has done."""

    app: sq.App
    cluster: MemoryCluster
    done: list[tuple[float, bool]]

    def publish(self, amount: float, key: str | None = None) -> None:
        """One order, confirmed."""
        self.app.publish("orders", Order(amount), key=key).result(5.0)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """An app that the commands find as `shop:app`."""
    app = sq.App("shop", publish_timeout_s=5.0)
    orders = app.topic("orders", value=Order, partitions=2)
    app.topic("counts", value=bytes, key=int)
    done: list[tuple[float, bool]] = []

    @app.processor(orders, retry=sq.RetryPolicy(max_attempts=2, backoff_s=0.01))
    def charge(order: Order, ctx: sq.Context) -> None:
        done.append((order.amount, ctx.is_replay))
        if order.amount < 0:
            raise sq.Reject("negative amount")

    module = ModuleType("shop")
    module.__dict__["app"] = app
    monkeypatch.setitem(sys.modules, "shop", module)
    cluster = MemoryCluster()
    app.use(cluster)
    yield Shop(app, cluster, done)
    app.use(None)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `streamq` with these arguments, as its entry point does."""

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Answer(code, out, err)

    return run
