"""Order fulfilment: reserve, charge, ship, as three processors over three topics.

    streamq worker topologies.orders:app

A customer's orders run in the order in which they came in; one customer's failing card holds up nobody else.
"""

from topologies.orders.pipeline import app, charge, charged, orders, reserve, reserved, ship, shipped

__all__ = ["app", "charge", "charged", "orders", "reserve", "reserved", "ship", "shipped"]
