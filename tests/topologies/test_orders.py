"""Orders: each order that can be paid is reserved, charged and shipped once, in its customer's order, however often the
payment service fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import streamq as sq
from tests.topologies.kafka_runs import connected, reasons, wait_until_settled, worker
from topologies.orders import app, orders, pipeline, shipped
from topologies.orders.payments import FailureModel
from topologies.orders.records import Order

CUSTOMERS = [f"customer-{number}" for number in range(20)]
DECLINED = {customer for customer in CUSTOMERS if FailureModel().declines(customer)}


def make_orders(each: int) -> list[Order]:
    """Orders of all customers in turns; the last of each customer is for more than there is."""
    return [
        Order(f"{customer}/{number}", customer, "lamp", 1 if number < each - 1 else 10_000, 4_900)
        for number in range(each)
        for customer in CUSTOMERS
    ]


def check_books(tasks: Sequence[Order]) -> None:
    """Warehouse and payment service agree on what was paid and shipped."""
    warehouse, payments = pipeline.warehouse(pipeline.folder()), pipeline.payments(pipeline.folder())
    for customer in CUSTOMERS:
        wanted = [task.order_id for task in tasks if task.customer == customer and task.quantity == 1]
        paid = [] if customer in DECLINED else wanted
        assert warehouse.parcels(customer) == paid
        assert payments.charges(customer) == dict.fromkeys(paid, 4_900)
    kept = sum(task.quantity == 1 and task.customer not in DECLINED for task in tasks)
    assert warehouse.available("lamp") == 5_000 - kept
    # The service failed often, or this would prove nothing.
    assert payments.calls() > 1.1 * sum(task.quantity == 1 for task in tasks)


def expected_dead_letters(tasks: Sequence[Order]) -> tuple[int, int]:
    """How many `reserve` and `charge` reject: too much for the warehouse, declined by the bank."""
    too_many = sum(task.quantity > 1 for task in tasks)
    return too_many, sum(task.quantity == 1 and task.customer in DECLINED for task in tasks)


@pytest.fixture(autouse=True)
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Books of this test's own, and lamps on the shelf."""
    monkeypatch.setenv(pipeline.FOLDER, str(tmp_path / "books"))
    pipeline.warehouse(pipeline.folder()).stock_up("lamp", 5_000)
    yield
    pipeline.warehouse(pipeline.folder()).close()
    pipeline.payments(pipeline.folder()).close()


def test_some_cards_are_declined() -> None:
    assert 0 < len(DECLINED) < len(CUSTOMERS) / 2


def test_on_the_harness() -> None:
    tasks = make_orders(10)
    with sq.testing.harness(app) as h:
        for task in tasks:
            h.publish(orders, task, key=task.customer)
        h.run_until_idle()
        too_many, declined = expected_dead_letters(tasks)
        assert Counter(letter.reason for letter in h.dead_letters("reserve")) == {"rejected": too_many}
        assert Counter(letter.reason for letter in h.dead_letters("charge")) == {"rejected": declined}
        assert h.dead_letters("ship") == []
        assert len(h.records(shipped)) == len(tasks) - too_many - declined
    check_books(tasks)


def test_a_nonsensical_order_is_rejected_with_what_is_wrong() -> None:
    with sq.testing.harness(app) as h:
        h.publish(orders, Order("1", "ada", "lamp", 0, 4_900), key="ada")
        h.run_until_idle()
        (letter,) = h.dead_letters("reserve")
    assert letter.error_message == "order 1: quantity 0, price 4900 cents"


@pytest.mark.kafka
def test_on_kafka(kafka_bootstrap: str, tmp_path: Path) -> None:
    tasks = make_orders(20)
    log = tmp_path / "worker.log"
    with connected(app, kafka_bootstrap):
        for publication in [app.publish(orders, task, key=task.customer) for task in tasks]:
            publication.result(30)
        with worker("topologies.orders:app", kafka_bootstrap, log) as process:
            wait_until_settled(app, ["reserve", "charge", "ship"], process, log)
        too_many, declined = expected_dead_letters(tasks)
        assert reasons(app, "reserve") == {"rejected": too_many}
        assert reasons(app, "charge") == {"rejected": declined}
        assert reasons(app, "ship") == {}
    check_books(tasks)
