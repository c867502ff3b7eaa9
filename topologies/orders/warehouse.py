"""The warehouse: stock, reservations, parcels. Every step may be repeated with the same order id and then changes
nothing: records come at least once."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from topologies.orders.database import Database

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, available INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS reservation (
    order_id TEXT PRIMARY KEY, sku TEXT NOT NULL, quantity INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('held', 'released', 'refused'))
);
CREATE TABLE IF NOT EXISTS parcel (number INTEGER PRIMARY KEY, order_id TEXT UNIQUE NOT NULL, customer TEXT NOT NULL);
"""


class Warehouse:
    """Stock and what is set aside of it. Callable from any thread; blocks on the file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA)

    def stock_up(self, sku: str, quantity: int) -> None:
        """Put goods on the shelf."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO stock VALUES (?, ?) ON CONFLICT (sku) DO UPDATE SET available = available + ?",
                (sku, quantity, quantity),
            )

    def available(self, sku: str) -> int:
        """How much of it is free."""
        with self._database.transaction() as db:
            row = db.execute("SELECT available FROM stock WHERE sku = ?", (sku,)).fetchone()
            return 0 if row is None else int(row[0])

    def reserve(self, order_id: str, sku: str, quantity: int) -> bool:
        """Set goods aside; False where there is not enough. The first answer to an order stays its answer."""
        with self._database.transaction() as db:
            known = db.execute("SELECT state FROM reservation WHERE order_id = ?", (order_id,)).fetchone()
            if known is not None:
                return bool(known[0] != "refused")
            taken = db.execute(
                "UPDATE stock SET available = available - ? WHERE sku = ? AND available >= ?", (quantity, sku, quantity)
            ).rowcount
            state = "held" if taken else "refused"
            db.execute("INSERT INTO reservation VALUES (?, ?, ?, ?)", (order_id, sku, quantity, state))
            return bool(taken)

    def release(self, order_id: str) -> None:
        """Put reserved goods back on the shelf, once."""
        with self._database.transaction() as db:
            row = db.execute(
                "UPDATE reservation SET state = 'released' WHERE order_id = ? AND state = 'held' "
                "RETURNING sku, quantity",
                (order_id,),
            ).fetchone()
            if row is not None:
                db.execute("UPDATE stock SET available = available + ? WHERE sku = ?", (row[1], row[0]))

    def ship(self, order_id: str, customer: str) -> str:
        """Hand over a parcel and return its tracking number, the same one for the same order."""
        with self._database.transaction() as db:
            db.execute("INSERT OR IGNORE INTO parcel (order_id, customer) VALUES (?, ?)", (order_id, customer))
            number = _one(db, "SELECT number FROM parcel WHERE order_id = ?", order_id)
            return f"NY{number:08d}"

    def parcels(self, customer: str) -> list[str]:
        """The customer's orders that left, in the order in which they left."""
        with self._database.transaction() as db:
            rows = db.execute("SELECT order_id FROM parcel WHERE customer = ? ORDER BY number", (customer,))
            return [str(row[0]) for row in rows]

    def close(self) -> None:
        """Close the books."""
        self._database.close()


def _one(db: sqlite3.Connection, query: str, value: str) -> int:
    return int(db.execute(query, (value,)).fetchone()[0])
