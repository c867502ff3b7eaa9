"""A payment service with a will of its own: slow, away at times, and sometimes its answer gets lost.

It stands in for a provider on the network and keeps its books apart from the warehouse's. What goes wrong is drawn from
the seed, the idempotency key and the number of the call, so that a run can be repeated.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from topologies.orders.database import Database

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS charge (
    idempotency_key TEXT PRIMARY KEY, customer TEXT NOT NULL, amount_cents INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS call (idempotency_key TEXT PRIMARY KEY, count INTEGER NOT NULL);
"""


class PaymentUnavailableError(Exception):
    """The service is overloaded; nothing was charged. Try again after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"payment service is unavailable, try again in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class PaymentTimeoutError(Exception):
    """No answer came: the money may or may not have been taken. Ask again with the same idempotency key."""


class CardDeclinedError(Exception):
    """The bank says no, today and tomorrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureModel:
    """How often what goes wrong: shares of all calls, and of all customers for `declined`."""

    seed: int = 2013
    unavailable: float = 0.10
    answer_lost: float = 0.08
    declined: float = 0.04
    latency_s: float = 0.002
    retry_after_s: float = 0.2

    def call(self, idempotency_key: str, number: int) -> float:
        """The lot of one call, from 0 to 1."""
        return _lot(f"{self.seed}:{idempotency_key}:{number}")

    def declines(self, customer: str) -> bool:
        """Whether this customer's bank says no."""
        return _lot(f"{self.seed}:card:{customer}") < self.declined


class PaymentService:
    """Charges each idempotency key once, however often it is asked."""

    def __init__(self, path: Path, failures: FailureModel) -> None:
        self._database = Database(path, _SCHEMA)
        self._failures = failures

    async def charge(self, idempotency_key: str, customer: str, amount_cents: int) -> str:
        """Take the money and return the charge's id; the same one for the same key.

        Raises:
            PaymentUnavailableError: nothing was charged; try again later.
            PaymentTimeoutError: it is unknown whether it was charged; ask again with the same key.
            CardDeclinedError: it will never be charged.
        """
        await asyncio.sleep(self._failures.latency_s)
        return await asyncio.to_thread(self._charge, idempotency_key, customer, amount_cents)

    def charges(self, customer: str) -> dict[str, int]:
        """What the customer paid: cents by idempotency key."""
        with self._database.transaction() as db:
            rows = db.execute("SELECT idempotency_key, amount_cents FROM charge WHERE customer = ?", (customer,))
            return {str(key): int(cents) for key, cents in rows}

    def calls(self) -> int:
        """How often it was asked."""
        with self._database.transaction() as db:
            return int(db.execute("SELECT coalesce(sum(count), 0) FROM call").fetchone()[0])

    def close(self) -> None:
        """Close the books."""
        self._database.close()

    def _charge(self, idempotency_key: str, customer: str, amount_cents: int) -> str:
        lot = self._failures.call(idempotency_key, self._count_call(idempotency_key))
        if lot < self._failures.unavailable:
            raise PaymentUnavailableError(self._failures.retry_after_s)
        if self._failures.declines(customer):
            raise CardDeclinedError(f"the bank of customer {customer} declined {amount_cents} cents")
        with self._database.transaction() as db:
            db.execute("INSERT OR IGNORE INTO charge VALUES (?, ?, ?)", (idempotency_key, customer, amount_cents))
        if lot < self._failures.unavailable + self._failures.answer_lost:
            raise PaymentTimeoutError(f"no answer to the charge {idempotency_key}")
        return f"ch_{idempotency_key}"

    def _count_call(self, idempotency_key: str) -> int:
        with self._database.transaction() as db:
            row = db.execute(
                "INSERT INTO call VALUES (?, 1) ON CONFLICT (idempotency_key) DO UPDATE SET count = count + 1 "
                "RETURNING count",
                (idempotency_key,),
            ).fetchone()
            return int(row[0])


def _lot(text: str) -> float:
    """From 0 to below 1, the same for the same text everywhere."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48
