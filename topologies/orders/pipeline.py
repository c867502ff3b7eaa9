"""The app: orders come in, goods are set aside, money is taken, parcels leave. Everything is keyed by customer."""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path

import streamq as sq
from topologies.orders.payments import CardDeclinedError, FailureModel, PaymentService, PaymentUnavailableError
from topologies.orders.records import Charged, Order, Reserved, Shipped
from topologies.orders.warehouse import Warehouse

FOLDER = "ORDERS_FOLDER"
DEFAULT_FOLDER = ".streamq/orders"
PARTITIONS = 6

app = sq.App("orders", version="1")
orders = app.topic("orders", value=Order, key=str, partitions=PARTITIONS)
reserved = app.topic("orders-reserved", value=Reserved, key=str, partitions=PARTITIONS)
charged = app.topic("orders-charged", value=Charged, key=str, partitions=PARTITIONS)
shipped = app.topic("orders-shipped", value=Shipped, key=str, partitions=PARTITIONS)


@app.processor(orders, concurrency=16)
def reserve(order: Order, ctx: sq.Context) -> None:
    """Set the goods aside."""
    if order.quantity < 1 or order.unit_price_cents < 0:
        raise sq.Reject(f"order {order.order_id}: quantity {order.quantity}, price {order.unit_price_cents} cents")
    if not warehouse(folder()).reserve(order.order_id, order.sku, order.quantity):
        raise sq.Reject(f"order {order.order_id}: not enough of {order.sku} in stock")
    amount_cents = order.quantity * order.unit_price_cents
    step = Reserved(order.order_id, order.customer, order.sku, order.quantity, amount_cents)
    ctx.publish(reserved, step, key=order.customer)


@app.processor(
    reserved, concurrency=64, timeout_s=10, retry=sq.RetryPolicy(max_attempts=8, backoff_s=0.1, max_backoff_s=2.0)
)
async def charge(order: Reserved, ctx: sq.Context) -> None:
    """Take the money, once: the order's id is the idempotency key of every attempt.

    A lost answer is no case of its own: the exception makes a retry, and the retry finds the charge.
    """
    try:
        charge_id = await payments(folder()).charge(order.order_id, order.customer, order.amount_cents)
    except PaymentUnavailableError as error:
        raise sq.RetryLater(error.retry_after_s) from error
    except CardDeclinedError as error:
        await asyncio.to_thread(warehouse(folder()).release, order.order_id)
        raise sq.Reject(str(error)) from error
    step = Charged(order.order_id, order.customer, order.sku, order.quantity, order.amount_cents, charge_id)
    await ctx.publish(charged, step, key=order.customer)


@app.processor(charged, concurrency=16)
def ship(order: Charged, ctx: sq.Context) -> None:
    """Hand over the parcel."""
    tracking = warehouse(folder()).ship(order.order_id, order.customer)
    ctx.publish(shipped, Shipped(order.order_id, order.customer, tracking), key=order.customer)


def folder() -> Path:
    """Where warehouse and payment service keep their books: `ORDERS_FOLDER`, else below the current folder."""
    return Path(os.environ.get(FOLDER) or DEFAULT_FOLDER)


@cache
def warehouse(where: Path) -> Warehouse:
    """The warehouse, opened once in a process."""
    return Warehouse(where / "warehouse.sqlite")


@cache
def payments(where: Path) -> PaymentService:
    """The payment service, opened once in a process."""
    return PaymentService(where / "payments.sqlite", FailureModel())
