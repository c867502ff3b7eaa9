"""The payment service fails as it is told to, and charges once whatever happens to its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from topologies.orders.payments import (
    CardDeclinedError,
    FailureModel,
    PaymentService,
    PaymentTimeoutError,
    PaymentUnavailableError,
)
from topologies.orders.warehouse import Warehouse


@contextmanager
def service(
    tmp_path: Path, *, unavailable: float = 0, answer_lost: float = 0, declined: float = 0
) -> Iterator[PaymentService]:
    """A service with these shares of failure and no latency."""
    failures = FailureModel(unavailable=unavailable, answer_lost=answer_lost, declined=declined, latency_s=0)
    with closing(PaymentService(tmp_path / "payments.sqlite", failures)) as payments:
        yield payments


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    """An empty one."""
    with closing(Warehouse(tmp_path / "warehouse.sqlite")) as warehouse:
        yield warehouse


def test_one_key_is_charged_once(tmp_path: Path) -> None:
    with service(tmp_path) as payments:
        first = asyncio.run(payments.charge("order-1", "ada", 500))
        assert asyncio.run(payments.charge("order-1", "ada", 500)) == first
        assert payments.charges("ada") == {"order-1": 500}
        assert payments.calls() == 2


def test_a_lost_answer_has_charged(tmp_path: Path) -> None:
    with service(tmp_path, answer_lost=1) as payments:
        with pytest.raises(PaymentTimeoutError, match="order-1"):
            asyncio.run(payments.charge("order-1", "ada", 500))
        assert payments.charges("ada") == {"order-1": 500}


def test_unavailable_and_declined_have_not(tmp_path: Path) -> None:
    with service(tmp_path, unavailable=1) as payments, pytest.raises(PaymentUnavailableError):
        asyncio.run(payments.charge("order-1", "ada", 500))
    with service(tmp_path, declined=1) as payments, pytest.raises(CardDeclinedError, match="ada"):
        asyncio.run(payments.charge("order-1", "ada", 500))
    with service(tmp_path) as payments:
        assert payments.charges("ada") == {}


def test_failures_come_from_the_seed_alone() -> None:
    lots = [FailureModel(seed=7).call("order-1", number) for number in range(1000)]
    assert lots == [FailureModel(seed=7).call("order-1", number) for number in range(1000)]
    assert 0.07 < sum(lot < 0.1 for lot in lots) / 1000 < 0.13


def test_the_warehouse_answers_an_order_once_and_for_all(warehouse: Warehouse) -> None:
    warehouse.stock_up("lamp", 3)
    assert warehouse.reserve("1", "lamp", 2)
    assert warehouse.reserve("1", "lamp", 2)
    assert not warehouse.reserve("2", "lamp", 2)
    assert warehouse.available("lamp") == 1
    warehouse.release("1")
    warehouse.release("1")
    assert warehouse.available("lamp") == 3
    # Repeats after the release neither take the goods again nor change a refusal.
    assert warehouse.reserve("1", "lamp", 2)
    assert not warehouse.reserve("2", "lamp", 2)
    assert warehouse.available("lamp") == 3


def test_an_order_is_shipped_once(warehouse: Warehouse) -> None:
    tracking = warehouse.ship("1", "ada")
    assert warehouse.ship("1", "ada") == tracking
    assert warehouse.ship("2", "ada") != tracking
    assert warehouse.parcels("ada") == ["1", "2"]
