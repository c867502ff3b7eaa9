"""What stands in the topics, one struct a step. Money is whole cents."""

from __future__ import annotations

import msgspec


class Order(msgspec.Struct, frozen=True):
    """A customer wants something."""

    order_id: str
    customer: str
    sku: str
    quantity: int
    unit_price_cents: int


class Reserved(msgspec.Struct, frozen=True):
    """The goods are set aside; `amount_cents` is to be paid."""

    order_id: str
    customer: str
    sku: str
    quantity: int
    amount_cents: int


class Charged(msgspec.Struct, frozen=True):
    """The payment service took the money."""

    order_id: str
    customer: str
    sku: str
    quantity: int
    amount_cents: int
    charge_id: str


class Shipped(msgspec.Struct, frozen=True):
    """The parcel is on its way."""

    order_id: str
    customer: str
    tracking: str
