"""Carries out an owner's transactions, one after the other, off the critical path of its ticks.

idle ── send ──► beginning a session, where none stands ──► sending ──► over: the result waits to be taken ──► idle
idle ── decide ► beginning a session, anew ────────────────────────────► idle
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from streamq.model.clock import Clock, Deadline
from streamq.model.errors import BrokerError, InvariantError, StreamqError
from streamq.model.ports import TransactionPort
from streamq.model.transactions import Batch, Membership
from streamq.runtime.transacting import PAUSE_S, Came, Sending, Session


class Transactor:
    """The owner's handle of one thread, which starts, and connects, with the first `send` or `decide`: a worker without
    a failing key pays nothing. `arrived` is called on that thread when what was under way is over.

    Owner thread only.
    """

    def __init__(
        self,
        make: Callable[[], TransactionPort],
        clock: Clock,
        name: str,
        arrived: Callable[[], None] | None = None,
    ) -> None:
        self._session = Session(make, clock, name)
        self._arrived = arrived
        self._thread = threading.Thread(target=self._run, name=f"{name}-transactor", daemon=True)
        self._started = False
        # Under the condition's lock: what is asked for, and how far it is.
        self._changed = threading.Condition()
        self._under_way = False
        self._anew = False
        self._sending: Sending | None = None
        self._stopping = False
        self._results: deque[Came] = deque()
        self._failure: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a batch is under way or not taken yet, or a session is being begun."""
        return self._under_way or bool(self._results)

    def send(self, batch: Batch, membership: Membership) -> None:
        """Have a batch carried out, in a session that is begun first where none stands: as long as nobody answers it is
        tried again. Never blocks.

        Raises:
            InvariantError: this is busy, or closed.
        """
        if self.busy or self._stopping:
            raise InvariantError("a transaction is sent while another is under way, not taken yet, or all is closed")
        self._ask(Sending(batch, membership), anew=False)

    def decide(self) -> None:
        """Begin a session now, so that what a predecessor with the same id left open is decided. Never blocks. While
        something is under way it does nothing: that has begun a session, or does.

        Raises:
            InvariantError: this is closed.
        """
        if self._stopping:
            raise InvariantError("a session is begun where all is closed")
        if not self._under_way:
            self._ask(None, anew=True)

    def take(self) -> Came | None:
        """What the batch came to, once; None while there is nothing. A BrokerError: the session is over, or could not
        begin, and whether the batch took effect is unknown; the next `send` begins a new one. Never blocks.

        Raises:
            ConfigError: a setting is not usable.
            InvariantError: a bug of streamq ended the thread.
        """
        if self._failure is not None:
            raise self._failure
        return self._results.popleft() if self._results else None

    def withdraw(self) -> bool:
        """Take back the batch under way as long as no session has begun for it. True: nothing of it was or will be
        sent, and `take` will not tell of it. Never blocks."""
        with self._changed:
            if self._sending is None:
                return False
            self._sending = None
            return True

    def wait(self, timeout_s: float) -> bool:
        """Block until nothing is under way, at most `timeout_s`. Whether that is so; `take` then has the result."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout_s)

    def close(self, timeout_s: float) -> None:
        """End the thread; blocks at most `timeout_s`. What was not sent yet is not sent any more. Idempotent."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._started:
            self._thread.join(timeout_s)

    def _ask(self, sending: Sending | None, *, anew: bool) -> None:
        with self._changed:
            self._sending, self._anew, self._under_way = sending, anew, True
            self._changed.notify_all()
        if not self._started:
            self._started = True
            self._thread.start()

    # Runs on the thread.

    def _run(self) -> None:
        try:
            while self._await_work():
                self._over(self._carry_out())
        except StreamqError as error:
            self._failure = error
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._session.close()
            self._over(None)

    def _await_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._under_way or self._stopping)
            return not self._stopping

    def _carry_out(self) -> Came | None:
        try:
            if not self._begin():
                return None
        except BrokerError as error:
            return error
        with self._changed:
            sending, self._sending = self._sending, None
            if sending is None or self._stopping:
                return None
        return self._session.run(sending)

    def _begin(self) -> bool:
        """Whether a session stands; not, if all is closed before one could begin."""
        if self._session.stands and not self._anew:
            return True
        while not self._session.begin():
            with self._changed:
                if self._changed.wait_for(lambda: self._stopping, PAUSE_S):
                    return False
        return True

    def _over(self, came: Came | None) -> None:
        with self._changed:
            if came is not None:
                self._results.append(came)
            self._under_way, self._sending = False, None
            self._changed.notify_all()
        if self._arrived is not None:
            self._arrived()


class InlineTransactor:
    """See `Transactor`, with the same methods, all on the caller's thread: `send` has the result before it returns. A
    session that cannot begin is tried again by `take` and `wait`. For tests, where everything happens in a known order.
    """

    def __init__(
        self,
        make: Callable[[], TransactionPort],
        clock: Clock,
        name: str,
        arrived: Callable[[], None] | None = None,
    ) -> None:
        self._session = Session(make, clock, name)
        self._clock = clock
        self._arrived = arrived
        self._under_way = False
        self._anew = False
        self._again_at = 0.0
        self._sending: Sending | None = None
        self._stopping = False
        self._results: deque[Came] = deque()

    @property
    def busy(self) -> bool:
        """Whether a session is being begun, or a batch not taken yet."""
        return self._under_way or bool(self._results)

    def send(self, batch: Batch, membership: Membership) -> None:
        """Carry out a batch."""
        if self.busy or self._stopping:
            raise InvariantError("a transaction is sent while another is under way, not taken yet, or all is closed")
        self._ask(Sending(batch, membership), anew=False)

    def decide(self) -> None:
        """Begin a session."""
        if self._stopping:
            raise InvariantError("a session is begun where all is closed")
        if not self._under_way:
            self._ask(None, anew=True)

    def take(self) -> Came | None:
        """What the batch came to, once."""
        self._advance()
        return self._results.popleft() if self._results else None

    def withdraw(self) -> bool:
        """Take back a batch for which no session has begun."""
        withdrawn, self._sending = self._sending is not None, None
        return withdrawn

    def wait(self, timeout_s: float) -> bool:
        """Let the clock move on until nothing is under way."""
        deadline = Deadline(self._clock, timeout_s)
        self._advance()
        while self._under_way and not deadline.expired():
            self._clock.sleep(min(PAUSE_S, deadline.remaining_s()))
            self._advance()
        return not self._under_way

    def close(self, timeout_s: float) -> None:
        """Release the connection."""
        self._stopping, self._under_way, self._sending = True, False, None
        self._session.close()

    def _ask(self, sending: Sending | None, *, anew: bool) -> None:
        self._sending, self._anew, self._under_way = sending, anew, True
        self._again_at = self._clock.monotonic()
        self._advance()

    def _advance(self) -> None:
        if not self._under_way:
            return
        try:
            if not self._begin():
                return
        except BrokerError as error:
            self._over(error)
            return
        sending, self._sending, self._under_way = self._sending, None, False
        self._over(None if sending is None else self._session.run(sending))

    def _begin(self) -> bool:
        if self._session.stands and not self._anew:
            return True
        if self._clock.monotonic() < self._again_at:
            return False
        begun = self._session.begin()
        self._again_at = self._clock.monotonic() + PAUSE_S
        return begun

    def _over(self, came: Came | None) -> None:
        if came is not None:
            self._results.append(came)
        self._under_way, self._sending = False, None
        if self._arrived is not None:
            self._arrived()


AnyTransactor = Transactor | InlineTransactor
