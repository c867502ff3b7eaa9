"""What goes wrong in an in-memory cluster, and when: as a test says, never by chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from streamq.model.errors import BrokerError, OutcomeUnknownError, RetriableError

HANG: Final = math.inf
"""A delay that lasts until `Faults.release`."""

AdminCall = Literal[
    "group_offsets",
    "list_offsets",
    "delete_records",
    "describe_topics",
    "list_topics",
    "create_topic",
    "delete_topics",
    "add_partitions",
    "topic_config",
    "alter_topic_config",
    "list_groups",
    "describe_group",
    "set_group_offsets",
    "delete_group",
]


@dataclass(slots=True)
class Fault:
    """What befalls the next `left` calls of one kind. `happens`: the call takes effect although its answer is an error.
    With a delay, call and answer both come later by so much."""

    left: int
    name: str | None = None
    error: BrokerError | None = None
    happens: bool = False
    delay_s: float = 0.0


def _lost(what: str) -> BrokerError:
    return OutcomeUnknownError(f"{what}: the answer got lost (injected)", code="REQUEST_TIMED_OUT")


def _refused(what: str) -> BrokerError:
    return RetriableError(f"{what}: refused (injected)", code="NOT_ENOUGH_REPLICAS")


class Faults:
    """Faults to come, first in, first out. Each names how many calls it befalls; the calls after them go well.

    `topic=None` is any topic, `call=None` any question to the admin.
    """

    def __init__(self) -> None:
        self._produces: list[Fault] = []
        self._commits: list[Fault] = []
        self._transactions: list[Fault] = []
        self._admin: list[Fault] = []
        self._hanging: list[Callable[[], None]] = []

    # Producing

    def refuse_produces(self, count: int = 1, *, topic: str | None = None, error: BrokerError | None = None) -> None:
        """The next produces are not written, and reported so."""
        self._produces.append(Fault(count, topic, error or _refused("produce")))

    def lose_produce_reports(self, count: int = 1, *, topic: str | None = None, written: bool = True) -> None:
        """The next produces are of unknown outcome (`OutcomeUnknownError`); in truth they are `written` or not."""
        self._produces.append(Fault(count, topic, _lost("produce"), written))

    def delay_produces(self, delay_s: float, count: int = 1, *, topic: str | None = None) -> None:
        """The next produces are written and reported later by `delay_s`, those behind them in the same partition
        likewise; `HANG`: at `release`, or at the producer's delivery time-out, not written."""
        self._produces.append(Fault(count, topic, delay_s=delay_s))

    # Committing

    def refuse_commits(self, count: int = 1, *, error: BrokerError | None = None) -> None:
        """The next commits are not taken, and answered so for each of their partitions."""
        self._commits.append(Fault(count, None, error or _refused("commit")))

    def lose_commit_answers(self, count: int = 1, *, applied: bool = True) -> None:
        """The next commits are of unknown outcome (`OutcomeUnknownError`); in truth they are `applied` or not."""
        self._commits.append(Fault(count, None, _lost("commit"), applied))

    def delay_commits(self, delay_s: float, count: int = 1) -> None:
        """The next commits reach the coordinator later by `delay_s`, and are answered then: one that is stale by then
        is refused; `HANG`: at `release`."""
        self._commits.append(Fault(count, delay_s=delay_s))

    # Transactions

    def refuse_transactions(self, count: int = 1, *, error: BrokerError | None = None) -> None:
        """The next transactions are aborted after all was sent, and nobody is named as the culprit."""
        self._transactions.append(Fault(count, None, error or _refused("transaction")))

    def lose_transaction_answers(self, count: int = 1, *, committed: bool = True) -> None:
        """The next transactions are of unknown outcome; in truth they are `committed`, or stay open until a session
        begins or their time is over."""
        self._transactions.append(Fault(count, None, _lost("transaction"), committed))

    def delay_decisions(self, delay_s: float, count: int = 1) -> None:
        """The next transactions are committed, and that is seen later by `delay_s`; `HANG`: at `release`."""
        self._transactions.append(Fault(count, delay_s=delay_s))

    # The admin

    def refuse_admin(self, count: int = 1, *, call: AdminCall | None = None, error: BrokerError | None = None) -> None:
        """The next questions to the admin are answered with an error; nothing happens."""
        self._admin.append(Fault(count, call, error or _refused("admin")))

    def delay_admin(self, delay_s: float, count: int = 1, *, call: AdminCall | None = None) -> None:
        """The next questions to the admin are answered later by `delay_s`. One that blocks gives up at its time-out."""
        self._admin.append(Fault(count, call, delay_s=delay_s))

    # Ending

    def clear(self) -> None:
        """No further faults; what hangs already goes on hanging."""
        for faults in (self._produces, self._commits, self._transactions, self._admin):
            faults.clear()

    def release(self) -> None:
        """Let go on what hangs, in the order in which it was called."""
        hanging, self._hanging = self._hanging, []
        for go_on in hanging:
            go_on()

    # What the cluster asks

    def hang(self, go_on: Callable[[], None]) -> None:
        """Keep this until `release`."""
        self._hanging.append(go_on)

    def next_produce(self, topic: str) -> Fault | None:
        """What befalls this produce."""
        return _take(self._produces, topic)

    def next_commit(self) -> Fault | None:
        """What befalls this commit."""
        return _take(self._commits, None)

    def next_transaction(self) -> Fault | None:
        """What befalls this transaction."""
        return _take(self._transactions, None)

    def next_admin(self, call: AdminCall) -> Fault | None:
        """What befalls this question."""
        return _take(self._admin, call)


def _take(faults: list[Fault], name: str | None) -> Fault | None:
    for fault in faults:
        if fault.name is None or fault.name == name:
            fault.left -= 1
            if fault.left <= 0:
                faults.remove(fault)
            return fault
    return None
