"""One transactional id as its user sees it: a session is begun where none stands, and what ends one is told once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from streamq.model.clock import Clock
from streamq.model.errors import BrokerError, RetriableError
from streamq.model.ports import TransactionPort
from streamq.model.transactions import Batch, Membership, OutcomeUnknown, TransactionResult

logger = logging.getLogger(__name__)

BEGIN_S: Final = 2.0
"""What one attempt to begin a session may take: nothing can be stopped meanwhile."""
PAUSE_S: Final = 0.5
"""Between two attempts to begin one."""
TELL_S: Final = 5.0
"""A predecessor's transaction may take some seconds to end: nothing that an operator needs to know."""

Came = TransactionResult | BrokerError
"""What a batch came to. A BrokerError: the session is over, and whether the batch took effect is unknown."""


class Sending(NamedTuple):
    """A batch, and who sends it."""

    batch: Batch
    membership: Membership


class Session:
    """Used by one thread. Connects when a session is first begun."""

    def __init__(self, make: Callable[[], TransactionPort], clock: Clock, name: str) -> None:
        self._make = make
        self._clock = clock
        self._name = name
        self._port: TransactionPort | None = None
        self._refused_since: float | None = None
        self._told = False
        self.stands = False

    def begin(self) -> bool:
        """Begin a session, anew where one stands. False: not yet, again after a pause. Blocks for at most `BEGIN_S`.

        Raises:
            BrokerError: repeating does not help.
            ConfigError: a setting is not usable.
        """
        self.stands = False
        if self._port is None:
            self._port = self._make()
        try:
            self._port.begin_session(BEGIN_S)
        except RetriableError as error:
            self._not_yet(error)
            return False
        self._begun()
        return True

    def run(self, sending: Sending) -> Came:
        """Carry out one transaction in the session that stands. Blocks for some milliseconds, where brokers do not
        answer for some 10 s."""
        if self._port is None or not self.stands:
            return RetriableError(f"{self._name}: no session was begun")
        self.stands = False
        try:
            result = self._port.run(sending.batch, sending.membership)
        except BrokerError as error:
            return error
        self.stands = not isinstance(result, OutcomeUnknown)
        return result

    def close(self) -> None:
        """Release the connection. Idempotent."""
        self.stands = False
        if self._port is not None:
            self._port.close()

    def _not_yet(self, error: BrokerError) -> None:
        now = self._clock.monotonic()
        if self._refused_since is None:
            self._refused_since = now
        if not self._told and now - self._refused_since >= TELL_S:
            self._told = True
            logger.warning(
                "Transactions cannot begin: failed records that are to be parked wait at the head of their lanes, and "
                "partitions with something parked are not committed; it is tried again",
                extra={"event": "session_refused", "processor": self._name, "error": str(error)},
            )

    def _begun(self) -> None:
        self.stands = True
        self._refused_since = None
        if self._told:
            self._told = False
            logger.info("Transactions can begin again", extra={"event": "session_begun", "processor": self._name})
